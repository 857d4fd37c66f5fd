//! A database of SQLite whose rows hold anything: what the store reads of it is sound and whole, or an error that says that it is
//! damaged.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use roomcast_core::{
    Entry, HistoryPage, HistoryRange, LogPage, MAX_SEQ, Message, MessageId, MessageStore, PageLimit, RoomId,
    StoreError, StoreErrorKind, search_words,
};
use roomcast_sqlite::{SqliteStore, Synchronous};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// A column's value: what belongs there, or anything.
#[derive(Debug, Clone, Arbitrary)]
enum Cell {
    Right,
    Null,
    Integer(i64),
    Small(i8),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Where a cell may be wrong: most are right.
#[derive(Debug, Arbitrary)]
struct Wrong {
    column: u8,
    cell: Cell,
}

#[derive(Debug, Arbitrary)]
struct Row {
    kind: u8,
    content: Option<String>,
    data: Option<u8>,
    reply: bool,
    edited: bool,
    deleted: bool,
    /// Which message before this one is changed.
    back: u8,
    wrong: Vec<Wrong>,
    missing: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    floor: u8,
    room: Vec<Wrong>,
    rows: Vec<Row>,
    after: u64,
    entries: u8,
    bytes: u16,
    words: String,
}

struct Database {
    runtime: tokio::runtime::Runtime,
    store: SqliteStore,
    writer: Connection,
    _folder: tempfile::TempDir,
}

const COLUMNS: [&str; 17] = [
    "key",
    "room",
    "seq",
    "kind",
    "id",
    "user_id",
    "user_name",
    "at",
    "message",
    "target",
    "content",
    "data",
    "reply_to",
    "edited_at",
    "deleted",
    "nonce",
    "fingerprint",
];

/// One for the whole process: a file in memory, where there is such a place. Its tables take whatever they are given.
fn open() -> Database {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let folder = folder.expect("a folder");
    let path = folder.path().join("chat.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let settings = SqliteStore::builder(&path).synchronous(Synchronous::Normal).readers(1);
    let store = runtime.block_on(settings.open()).expect("a new store");
    let writer = Connection::open(&path).expect("the file is there");
    writer
        .execute_batch(
            "PRAGMA synchronous = OFF;
             DROP TABLE entries;
             DROP TABLE rooms;
             CREATE TABLE rooms (key INTEGER PRIMARY KEY, id UNIQUE, epoch, head, floor, oldest);
             CREATE TABLE entries (key INTEGER PRIMARY KEY, room, seq, kind, id UNIQUE, user_id, user_name, at, message,
                 target, content, data, reply_to, edited_at, deleted DEFAULT 0, nonce, fingerprint, UNIQUE (room, seq));
             CREATE UNIQUE INDEX nonces ON entries (room, user_id, nonce) WHERE nonce IS NOT NULL;
             CREATE INDEX oldest ON rooms (oldest) WHERE oldest IS NOT NULL;",
        )
        .expect("tables without types");
    Database {
        runtime,
        store,
        writer,
        _folder: folder,
    }
}

thread_local! {
    static DATABASE: RefCell<Option<Database>> = const { RefCell::new(None) };
}

fuzz_target!(|input: Input| {
    DATABASE.with_borrow_mut(|database| {
        let database = database.get_or_insert_with(open);
        let stored = fill(&database.writer, &input);
        database.runtime.block_on(read(&database.store, &input, &stored));
    });
});

/// The id of the entry at this place.
fn id(seq: usize) -> MessageId {
    MessageId::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + seq as u128)
}

fn blob(id: MessageId) -> Value {
    Value::Blob(id.as_u128().to_be_bytes().to_vec())
}

/// What is in the database.
struct Stored {
    /// No cell is wrong and no row is missing.
    whole: bool,
    /// The places that were filled, from the floor on.
    head: usize,
    /// What each message says, if its row is as it should be.
    said: Vec<Option<String>>,
}

fn put(row: &mut [Value], wrong: &[Wrong]) -> bool {
    for Wrong { column, cell } in wrong {
        let column = usize::from(*column) % row.len();
        row[column] = match cell {
            Cell::Right => continue,
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Small(number) => Value::Integer(i64::from(*number)),
            Cell::Real(number) => Value::Real(*number),
            Cell::Text(text) => Value::Text(text.clone()),
            Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
        };
    }
    wrong.iter().all(|wrong| matches!(wrong.cell, Cell::Right))
}

fn fill(writer: &Connection, input: &Input) -> Stored {
    let count = input.rows.len().min(30);
    let floor = usize::from(input.floor % 4);
    let mut stored = Stored {
        whole: true,
        head: floor + count,
        said: vec![None; floor + count + 1],
    };
    writer
        .execute_batch(
            "BEGIN IMMEDIATE; DELETE FROM entries; DELETE FROM rooms; INSERT INTO words (words) VALUES ('delete-all');",
        )
        .expect("a transaction");
    let mut room = [
        Value::Integer(1),
        Value::Text("r".into()),
        Value::Text("e1".into()),
        Value::Integer(stored.head as i64),
        Value::Integer(floor as i64),
        Value::Null,
    ];
    stored.whole &= put(&mut room, &input.room);
    let sql = "INSERT OR IGNORE INTO rooms (key, id, epoch, head, floor, oldest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    // A key that is no number is refused by SQLite itself.
    stored.whole &= matches!(
        writer
            .prepare_cached(sql)
            .and_then(|mut row| row.execute(params_from_iter(&room))),
        Ok(1)
    );
    for (at, row) in input.rows.iter().take(count).enumerate() {
        let seq = floor + at + 1;
        let target = seq
            .checked_sub(usize::from(row.back) + 1)
            .filter(|target| *target > floor);
        let kind = target.map_or(0, |_| i64::from(row.kind % 3));
        let message = kind == 0;
        let text = row.content.clone().unwrap_or_default();
        let mut cells = COLUMNS.map(|_| Value::Null);
        cells[..8].clone_from_slice(&[
            Value::Integer(seq as i64),
            Value::Integer(1),
            Value::Integer(seq as i64),
            Value::Integer(kind),
            blob(id(seq)),
            Value::Text("ann".into()),
            Value::Text("Ann".into()),
            Value::Integer(1_795_338_000_123),
        ]);
        cells[14] = Value::Integer(0);
        match (message, row.deleted) {
            (true, true) => cells[14] = Value::Integer(1),
            (true, false) => {
                cells[10] = Value::Text(text.clone());
                cells[11] = row.data.map_or(Value::Null, |data| {
                    Value::Text(format!(r#"{{"n":{data},"x":[1.5e-7]}}"#))
                });
                cells[12] = if row.reply { blob(id(1)) } else { Value::Null };
                cells[13] = if row.edited {
                    Value::Integer(1_795_338_000_124)
                } else {
                    Value::Null
                };
                cells[15] = Value::Text(format!("n{seq}"));
                cells[16] = Value::Blob(vec![0; 16]);
            }
            (false, _) => {
                cells[8] = blob(id(target.unwrap_or_default()));
                cells[9] = Value::Integer(target.unwrap_or_default() as i64);
            }
        }
        let right = put(&mut cells, &row.wrong);
        let sql = format!(
            "INSERT OR IGNORE INTO entries VALUES ({})",
            ["?"; COLUMNS.len()].join(", ")
        );
        let done = !row.missing
            && matches!(
                writer
                    .prepare_cached(&sql)
                    .and_then(|mut row| row.execute(params_from_iter(&cells))),
                Ok(1)
            );
        stored.whole &= right && done;
        // The index finds it as it should be, whatever the row now holds.
        let terms: BTreeSet<String> = search_words(&text).collect();
        if message && !row.deleted && !terms.is_empty() {
            let mut index = writer
                .prepare_cached("INSERT INTO words (rowid, terms) VALUES (?1, ?2)")
                .expect("a table");
            index
                .execute((seq as i64, format!("#1 {}", Vec::from_iter(terms).join(" "))))
                .expect("a row of the index");
        }
        if right && done && message && !row.deleted {
            stored.said[seq] = Some(text);
        }
    }
    writer.execute_batch("COMMIT").expect("it is committed");
    stored
}

/// The error says what is wrong, and that trying again is of no use.
fn checked<T>(read: Result<T, StoreError>, stored: &Stored) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!stored.whole, "a sound database: {error:?}");
            assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
            let text = error.to_string();
            assert!(
                !text.is_empty() && text != "a thread of the store has ended",
                "{error:?}"
            );
            None
        }
    }
}

fn sound(message: &Message, stored: &Stored) {
    assert!((1..=MAX_SEQ).contains(&message.seq), "{message:?}");
    assert_eq!(message.room_id.as_str(), "r");
    if message.deleted {
        let says = message.content.is_some() || message.data.is_some() || message.reply_to.is_some();
        assert!(!says, "deleted, and told: {message:?}");
    }
    let text = serde_json::to_string(message).expect("a message is JSON");
    let again: Message = serde_json::from_str(&text).expect("which is a message");
    assert_eq!(&again, message);
    if stored.whole {
        assert_eq!(message.content.as_ref(), stored.said[message.seq as usize].as_ref());
        assert_eq!(message.deleted, message.content.is_none());
        assert_eq!(message.id, id(message.seq as usize));
    }
}

fn sound_page(page: &HistoryPage, range: HistoryRange, limit: usize, stored: &Stored) {
    assert!(page.messages.len() <= limit);
    assert!(page.messages.is_sorted_by(|a, b| a.seq < b.seq), "{page:?}");
    for message in &page.messages {
        sound(message, stored);
        assert!(match range {
            HistoryRange::Newest => true,
            HistoryRange::Before(seq) => message.seq < seq,
            HistoryRange::After(seq) => message.seq > seq,
        });
    }
}

fn sound_log(page: &LogPage, after: u64, limit: PageLimit, stored: &Stored) {
    assert!(page.floor <= page.head && page.head <= MAX_SEQ, "{page:?}");
    let first = after.max(page.floor);
    for (entry, expected) in page.entries.iter().zip(first.saturating_add(1)..) {
        assert_eq!(entry.seq(), expected, "a hole");
        match entry {
            Entry::Message(message) => sound(message, stored),
            entry => {
                let target = entry.target().expect("a change has a target");
                assert!((1..=MAX_SEQ).contains(&target), "{entry:?}");
            }
        }
    }
    assert!(page.entries.len() <= limit.entries.max(1));
    assert_eq!(page.entries.is_empty(), first >= page.head, "{page:?}");
    assert!(
        page.entries.last().is_none_or(|last| last.seq() <= page.head),
        "{page:?}"
    );
    if stored.whole {
        assert_eq!(page.head, stored.head as u64);
    }
}

async fn read(store: &SqliteStore, input: &Input, stored: &Stored) {
    let room = RoomId::new("r").expect("a name");
    let limit = PageLimit {
        entries: usize::from(input.entries),
        bytes: usize::from(input.bytes),
    };
    let count = usize::from(input.entries);
    let head = checked(store.room(&room).await, stored);
    if let Some(Some(head)) = &head {
        assert!(head.floor <= head.head && head.head <= MAX_SEQ, "{head:?}");
    }
    for info in checked(store.rooms(None, count).await, stored).into_iter().flatten() {
        assert!(
            info.head.floor <= info.head.head && info.head.head <= MAX_SEQ,
            "{info:?}"
        );
    }
    for after in [0, input.after, input.after % 32] {
        if let Some(page) = checked(store.log(&room, after, limit).await, stored) {
            sound_log(&page, after, limit, stored);
        }
        for range in [
            HistoryRange::Newest,
            HistoryRange::Before(after),
            HistoryRange::After(after),
        ] {
            if let Some(page) = checked(store.history(&room, range, count).await, stored) {
                sound_page(&page, range, count, stored);
            }
        }
    }
    for seq in 0..=stored.head {
        if let Some(Some(message)) = checked(store.message(&room, id(seq)).await, stored) {
            assert_eq!(message.id, id(seq));
            sound(&message, stored);
        }
    }
    let search = store.search().expect("SQLite can search");
    if let Some(page) = checked(search.search(&room, &input.words, None, count).await, stored) {
        assert!(page.messages.len() <= count);
        for message in &page.messages {
            sound(message, stored);
            let said: Vec<String> = search_words(message.content.as_deref().unwrap_or_default()).collect();
            assert!(
                search_words(&input.words).all(|word| said.contains(&word)),
                "{message:?} for {:?}",
                input.words
            );
        }
        if stored.whole {
            let wanted: Vec<String> = search_words(&input.words).collect();
            let found = stored.said.iter().flatten().filter(|said| {
                let said: Vec<String> = search_words(said).collect();
                !wanted.is_empty() && wanted.iter().all(|word| said.contains(word))
            });
            let found = found.count();
            assert_eq!((page.messages.len(), page.more), (found.min(count), found > count));
        }
    }
    let _ = checked(store.health().await, stored);
}
