//! The file: whose it is, which version, and how connections to it are set up.

use std::path::Path;
use std::time::Duration;

use roomcast_core::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::builder::{Builder, Synchronous};
use crate::error::{failed, refused};
use crate::words::index_all;

/// Marks the file as ours: "room" in ASCII.
const APPLICATION_ID: i32 = 0x726F_6F6D;

/// What leads from one version of the schema to the next; the version is how many of them were run. Those that have
/// been released never change.
const MIGRATIONS: &[Migration] = &[
    |transaction| transaction.execute_batch(V1).map_err(unmigrated),
    |transaction| {
        transaction.execute_batch(V2).map_err(unmigrated)?;
        index_all(transaction)
    },
    |transaction| transaction.execute_batch(V3).map_err(unmigrated),
];

type Migration = fn(&Transaction<'_>) -> Result<(), StoreError>;

/// `entries.key` rises with `seq` within a room, so that the rowids of `words` sort as the log does. An edit has no
/// content: it is read from the message, so that neither a later edit nor a deletion can miss a copy.
const V1: &str = "
CREATE TABLE rooms (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    head INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    key INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL, -- 0 message, 1 edit, 2 deletion
    id BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    at INTEGER NOT NULL,
    message BLOB, -- of an edit or deletion: the id of its message
    target INTEGER, -- and that message's seq
    content TEXT,
    data TEXT,
    reply_to BLOB,
    edited_at INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0,
    nonce TEXT,
    fingerprint BLOB,
    UNIQUE (room, seq)
) STRICT;
CREATE UNIQUE INDEX nonces ON entries (room, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5 (
    room, content, content = '', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

/// The index of words as [`words`](crate::words) explains it; its first one split texts in a way of its own. `facts`
/// says by which version of Unicode they were split, and the last of the [`keys`](crate::keys) that are gone.
const V2: &str = "
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (
    terms, content = '', columnsize = 0, detail = none, tokenize = \"ascii tokenchars '#'\"
);
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
";

/// `rooms.oldest` is when the oldest entry that the room holds was accepted, so that retention by age finds the rooms
/// that it concerns.
const V3: &str = "
ALTER TABLE rooms ADD COLUMN oldest INTEGER;
UPDATE rooms SET oldest = (SELECT at FROM entries WHERE room = rooms.key AND seq = rooms.floor + 1);
CREATE INDEX oldest ON rooms (oldest) WHERE oldest IS NOT NULL;
";

/// Opens the connection that writes, and brings the file up to date.
pub(crate) fn open_writer(settings: &Builder) -> Result<Connection, StoreError> {
    let new = check_owner(&settings.path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(&settings.path, flags, settings.busy_timeout)?;
    let cannot = |error| failed("the database can't be opened", error);
    let version = version(&connection).map_err(cannot)?;
    check_version(version)?;
    if new {
        // Before the change to WAL, so that the mark is in the file itself from the first byte on.
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(cannot)?;
    }
    use_wal(&connection, settings.busy_timeout).map_err(cannot)?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection
        .pragma_update(None, "synchronous", synchronous)
        .map_err(cannot)?;
    connection.pragma_update(None, "secure_delete", true).map_err(cannot)?;
    migrate(&mut connection)?;
    if let Some(pages) = settings.max_page_count {
        connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .map_err(cannot)?;
    }
    Ok(connection)
}

/// Opens a connection that can't write.
pub(crate) fn open_reader(settings: &Builder) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(&settings.path, flags, settings.busy_timeout)
}

fn connect(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let cannot = |error| failed("the database can't be opened", error);
    let connection = Connection::open_with_flags(path, flags).map_err(cannot)?;
    connection.busy_timeout(busy_timeout).map_err(cannot)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Looks whose file it is. Tells whether it is yet to be made.
fn check_owner(path: &Path) -> Result<bool, StoreError> {
    let unreadable = || format!("{} can't be read", path.display());
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() == 0 => return Ok(true),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(refused(unreadable()).with_source(error)),
    }
    match application_id(path) {
        Ok(APPLICATION_ID) => Ok(false),
        Ok(_) => Err(refused(format!("{} belongs to another application", path.display()))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(refused(format!("{} is not a database of SQLite", path.display())))
        }
        Err(error) => Err(failed(unreadable(), error)),
    }
}

/// What the file's header says. SQLite reads it as if nobody could change it: otherwise it might write to a file that
/// isn't ours. A descriptor of our own won't do, since closing it lets go of the locks on the file that other stores in
/// this process have.
fn application_id(path: &Path) -> rusqlite::Result<i32> {
    let mut address = "file:".to_owned();
    if cfg!(windows) {
        address.push('/');
    }
    for byte in std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .as_os_str()
        .as_encoded_bytes()
    {
        match byte {
            b'\\' if cfg!(windows) => address.push('/'),
            b'/' | b':' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                address.push(char::from(*byte))
            }
            other => address.push_str(&format!("%{other:02x}")),
        }
    }
    address.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(address, flags)?.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_version(version: usize) -> Result<(), StoreError> {
    if version > MIGRATIONS.len() {
        return Err(refused(format!(
            "the database has schema version {version}; this program knows versions up to {}",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

/// The change to WAL needs the file for itself and doesn't wait on its own: another process may be at the same.
fn use_wal(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let start = std::time::Instant::now();
    loop {
        let changed = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        match changed {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn unmigrated(error: rusqlite::Error) -> StoreError {
    failed("the database's schema can't be brought up to date", error)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection).map_err(unmigrated)? == MIGRATIONS.len() && unicode(connection)? == Some(own_unicode()) {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unmigrated)?;
    // Read again: another process may have been faster.
    let version = version(&transaction).map_err(unmigrated)?;
    check_version(version)?;
    for (migration, to) in MIGRATIONS[version..].iter().zip(version + 1..) {
        tracing::info!(to, "the database's schema is brought up to date");
        migration(&transaction)?;
    }
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len())
        .map_err(unmigrated)?;
    // What is a letter changes with Unicode, and so with the compiler. A word can only be removed from the index as it
    // was put in.
    let own = own_unicode();
    if unicode(&transaction)?.as_ref() != Some(&own) {
        if version == MIGRATIONS.len() {
            tracing::info!(unicode = own, "the words of all messages are indexed again");
            index_all(&transaction)?;
        }
        let sql = "INSERT INTO facts (name, value) VALUES ('unicode', ?1) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        transaction.execute(sql, [own]).map_err(unmigrated)?;
    }
    transaction.commit().map_err(unmigrated)
}

/// The version of Unicode by which the texts in the file were split into words.
fn unicode(connection: &Connection) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM facts WHERE name = 'unicode'";
    connection
        .query_row(sql, [], |row| row.get(0))
        .optional()
        .map_err(unmigrated)
}

fn own_unicode() -> String {
    let (major, minor, update) = char::UNICODE_VERSION;
    format!("{major}.{minor}.{update}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteStore, read};
    use roomcast_core::{MessageStore, RoomId};

    /// A file as the first version wrote it, with these messages in the room `r`.
    fn first_version(path: &Path, texts: &[&str]) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        use_wal(&connection, Duration::ZERO).unwrap();
        connection.execute_batch(V1).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let sql = "INSERT INTO rooms (id, epoch, head, floor) VALUES ('r', 'e', ?1, 0)";
        connection.execute(sql, [texts.len()]).unwrap();
        for (text, seq) in texts.iter().zip(1_i64..) {
            let sql = "INSERT INTO entries (room, seq, kind, id, user_id, user_name, at, content) \
                       VALUES (1, ?1, 0, ?2, 'ann', 'ann', ?1 * 1000, ?3)";
            connection
                .execute(sql, (seq, seq.to_be_bytes().repeat(2), text))
                .unwrap();
            let sql = "INSERT INTO words (rowid, room, content) VALUES (?1, '1', ?2)";
            connection.execute(sql, (seq, text)).unwrap();
        }
        connection
    }

    async fn found(store: &SqliteStore, text: &str) -> Vec<u64> {
        let room = RoomId::new("r").unwrap();
        let search = MessageStore::search(store).unwrap();
        let page = search.search(&room, text, None, 100).await.unwrap();
        page.messages.iter().map(|message| message.seq).collect()
    }

    #[tokio::test]
    async fn a_file_of_the_first_version_is_indexed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        drop(first_version(
            &path,
            &["plain Words", "re\u{301}sume\u{301}", "x\u{e000}y", "café"],
        ));
        for _ in 0..2 {
            let store = SqliteStore::open(&path).await.unwrap();
            assert_eq!(found(&store, "words").await, [1]);
            assert_eq!(found(&store, "re\u{301}sume\u{301}").await, [2]);
            assert_eq!(found(&store, "sume").await, [2]);
            assert_eq!(found(&store, "y x").await, [3]);
            assert_eq!(found(&store, "café").await, [4]);
            assert_eq!(found(&store, "cafe").await, [0; 0]);
            let page = read::log(
                &Connection::open(&path).unwrap(),
                &RoomId::new("r").unwrap(),
                0,
                roomcast_core::PageLimit::entries(9),
            );
            assert_eq!(page.unwrap().entries.len(), 4);
            let oldest: i64 = Connection::open(&path)
                .unwrap()
                .query_row("SELECT oldest FROM rooms", [], |row| row.get(0))
                .unwrap();
            assert_eq!(oldest, 1000);
            store.close().await.unwrap();
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let connection = first_version(&path, &["plain"]);
        connection
            .execute_batch("ALTER TABLE entries RENAME COLUMN content TO said")
            .unwrap();
        drop(connection);
        let error = open_writer(&Builder::new(path.clone())).unwrap_err();
        assert_eq!(error.kind(), roomcast_core::StoreErrorKind::Refused, "{error}");
        let connection = Connection::open(&path).unwrap();
        assert_eq!(version(&connection).unwrap(), 1);
        let sql = "SELECT rowid FROM words WHERE words MATCH 'plain'";
        assert_eq!(connection.query_row(sql, [], |row| row.get(0)), Ok(1));
    }

    #[tokio::test]
    async fn another_version_of_unicode_splits_all_texts_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        drop(first_version(&path, &["some words"]));
        SqliteStore::open(&path).await.unwrap().close().await.unwrap();
        // As if another version had taken the text for one word.
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO words (words) VALUES ('delete-all'); \
                 INSERT INTO words (rowid, terms) VALUES (1, '#1 somewords'); \
                 UPDATE facts SET value = '1.0.0' WHERE name = 'unicode'",
            )
            .unwrap();
        drop(connection);
        let store = SqliteStore::open(&path).await.unwrap();
        assert_eq!(found(&store, "words").await, [1]);
        assert_eq!(found(&store, "somewords").await, [0; 0]);
        store.close().await.unwrap();
        assert_eq!(unicode(&Connection::open(&path).unwrap()).unwrap(), Some(own_unicode()));
    }
}
