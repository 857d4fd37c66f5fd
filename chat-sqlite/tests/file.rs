//! Files that aren't as they should be, and what is left in them.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{chain, delete, edit, epoch, left_of, room, say, secret};
use roomcast_core::{HistoryRange, MessageStore, PageLimit, StoreError, StoreErrorKind};
use roomcast_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    (folder, path)
}

/// A file with a room `r` of that many messages.
async fn fill(path: &Path, messages: u64) {
    let store = SqliteStore::open(path).await.unwrap();
    store.create_room(&room("r"), epoch()).await.unwrap();
    for head in 0..messages {
        store
            .append(&room("r"), head, &[say(&format!("message number {head}"))])
            .await
            .unwrap();
    }
    store.close().await.unwrap();
}

fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let (_folder, path) = file();
    fill(&path, 1).await;
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 7)
        .unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused);
    let text = error.to_string();
    assert!(text.contains("version 7") && text.contains("up to 3"), "{text}");
}

#[tokio::test]
async fn a_file_of_another_application_is_left_alone() {
    let (folder, path) = file();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE rooms (a)")
        .unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are my notes ".repeat(100)).unwrap();
    let short = folder.path().join("short.txt");
    std::fs::write(&short, "x").unwrap();
    for path in [path, text, short] {
        let before = std::fs::read(&path).unwrap();
        assert_eq!(kind(SqliteStore::open(&path).await), StoreErrorKind::Refused);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        3,
        "no file was added"
    );
}

#[tokio::test]
async fn a_folder_that_is_missing_is_refused() {
    let (folder, _) = file();
    let path = folder.path().join("missing/chat.db");
    assert_eq!(kind(SqliteStore::open(path).await), StoreErrorKind::Refused);
}

#[tokio::test]
async fn a_damaged_file_gives_errors_and_no_panic() {
    let (_folder, path) = file();
    fill(&path, 100).await;
    let whole = std::fs::read(&path).unwrap();
    let mut failures = 0;
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xA5);
        std::fs::write(&path, damaged).unwrap();
        let store = match SqliteStore::open(&path).await {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
                failures += 1;
                continue;
            }
        };
        let r = room("r");
        let search = store.search().unwrap();
        let errors = [
            store.log(&r, 0, PageLimit::entries(1000)).await.err(),
            store.history(&r, HistoryRange::Newest, 1000).await.err(),
            search.search(&r, "number", None, 1000).await.err(),
            store.append(&r, 100, &[say("more")]).await.err(),
        ];
        for error in errors.into_iter().flatten() {
            assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
            let text = chain(&error);
            assert!(text.matches("malformed").count() <= 1, "{text}");
            assert!(!text.contains("Error code"), "{text}");
            failures += 1;
        }
        store.close().await.unwrap();
    }
    assert!(failures > 3, "{failures}");
}

#[tokio::test]
async fn damaged_rows_give_errors_and_no_panic() {
    let (_folder, path) = file();
    for damage in [
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE entries SET kind = 9 WHERE seq = 2",
        "UPDATE entries SET id = x'00' WHERE seq = 2",
        "UPDATE entries SET user_id = '' WHERE seq = 2",
        "UPDATE entries SET data = '[' WHERE seq = 2",
        "UPDATE rooms SET head = -1",
        "UPDATE rooms SET epoch = ''",
        "UPDATE rooms SET floor = 99",
        // Larger than any reader of JSON keeps exact.
        "UPDATE rooms SET head = 9007199254740992",
        "UPDATE entries SET seq = 9007199254740992 WHERE seq = 2",
        "UPDATE entries SET kind = 1, message = id, target = 0 WHERE seq = 2",
        "UPDATE entries SET kind = 2, message = id, target = 9007199254740992 WHERE seq = 2",
    ] {
        let _ = std::fs::remove_file(&path);
        fill(&path, 3).await;
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let store = SqliteStore::open(&path).await.unwrap();
        let page = store.log(&room("r"), 0, PageLimit::entries(10)).await;
        assert_eq!(kind(page), StoreErrorKind::Refused, "{damage}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn no_read_gives_out_a_seq_that_no_log_has() {
    let (_folder, path) = file();
    fill(&path, 3).await;
    let damage = "UPDATE entries SET seq = 9007199254740992 WHERE seq = 3; UPDATE entries SET seq = 0 WHERE seq = 1";
    Connection::open(&path).unwrap().execute_batch(damage).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    for range in [HistoryRange::Newest, HistoryRange::Before(1), HistoryRange::After(2)] {
        let page = store.history(&room("r"), range, 10).await;
        assert_eq!(kind(page), StoreErrorKind::Refused, "{range:?}");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_tombstone_that_somebody_wrote_to_says_nothing() {
    let (_folder, path) = file();
    fill(&path, 3).await;
    let damage = "UPDATE entries SET deleted = 1 WHERE seq = 2";
    Connection::open(&path).unwrap().execute_batch(damage).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let page = store.history(&room("r"), HistoryRange::Newest, 10).await.unwrap();
    assert!(page.messages[1].deleted && page.messages[1].content.is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_locked_file_is_unavailable_for_writes_only() {
    let (_folder, path) = file();
    fill(&path, 1).await;
    let patience = Duration::from_millis(50);
    let store = SqliteStore::builder(&path).busy_timeout(patience).open().await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.append(&room("r"), 1, &[say("hi")]).await;
    assert_eq!(kind(refused), StoreErrorKind::Unavailable);
    assert_eq!(store.room(&room("r")).await.unwrap().unwrap().head, 1);
    store.health().await.unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.append(&room("r"), 1, &[say("hi")]).await.unwrap().head, 2);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_reads_go_on() {
    let (_folder, path) = file();
    let store = SqliteStore::builder(&path).max_page_count(60).open().await.unwrap();
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let mut head = 0;
    let error = loop {
        match store.append(&r, head, &[say(&"long ".repeat(500))]).await {
            Ok(appended) => head = appended.head,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    assert_eq!(chain(&error), "the write failed: database or disk is full");
    assert!(head > 5, "{head}");
    let page = store.log(&r, 0, PageLimit::entries(1000)).await.unwrap();
    assert_eq!((page.head, page.entries.len() as u64), (head, head));
    let error = store.health().await.unwrap_err();
    assert_eq!(chain(&error), "the write failed: database or disk is full");
    // What is wrong with a call says nothing about the store.
    assert_eq!(
        kind(store.append(&room("none"), 0, &[say("hi")]).await),
        StoreErrorKind::Refused
    );
    assert_eq!(kind(store.health().await), StoreErrorKind::Refused);
    store.close().await.unwrap();
    // With more room, it goes on where it stood.
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.append(&r, head, &[say("again")]).await.unwrap().head, head + 1);
}

#[tokio::test]
async fn health_knows_of_a_table_that_is_damaged_for_writing_only() {
    let (_folder, path) = file();
    fill(&path, 3).await;
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE kept AS SELECT * FROM words_data WHERE id = 10; DELETE FROM words_data WHERE id = 10",
        )
        .unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    store.health().await.unwrap();
    let error = store.append(&room("r"), 3, &[say("hi")]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    assert_eq!(chain(&store.health().await.unwrap_err()), chain(&error));
    assert_eq!(store.room(&room("r")).await.unwrap().unwrap().head, 3);
    other
        .execute_batch("INSERT INTO words_data SELECT * FROM kept")
        .unwrap();
    assert_eq!(store.append(&room("r"), 3, &[say("hi")]).await.unwrap().head, 4);
    store.health().await.unwrap();
}

#[tokio::test]
async fn one_failing_append_of_a_batch_fails_alone() {
    let (_folder, path) = file();
    let store = SqliteStore::builder(&path).max_page_count(100).open().await.unwrap();
    for name in ["a", "b"] {
        store.create_room(&room(name), epoch()).await.unwrap();
    }
    let too_much = [say(&"x ".repeat(1_000_000))];
    let (one, two, hi) = (room("a"), room("b"), [say("hi")]);
    let nobody = room("nobody");
    let (a, b, c) = tokio::join!(
        store.append(&one, 0, &hi),
        store.append(&two, 0, &too_much),
        store.append(&nobody, 0, &hi),
    );
    assert_eq!(a.unwrap().head, 1);
    assert_eq!(kind(b), StoreErrorKind::Refused);
    assert_eq!(kind(c), StoreErrorKind::Refused);
    assert_eq!(store.room(&two).await.unwrap().unwrap().head, 0);
}

#[tokio::test]
async fn what_was_deleted_is_not_left_in_the_file() {
    let (_folder, path) = file();
    let store = SqliteStore::open(&path).await.unwrap();
    let (r, secret) = (room("r"), say("kwyjibo flibbertigibbet"));
    store.create_room(&r, epoch()).await.unwrap();
    store
        .append(&r, 0, &[say("before"), secret.clone(), say("after")])
        .await
        .unwrap();
    store.append(&r, 3, &[delete(secret.id)]).await.unwrap();
    store.close().await.unwrap();
    let left = std::fs::read(&path).unwrap();
    let holds = |text: &str| left.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("before"));
    assert!(!holds("kwyjibo") && !holds("gibbet"));
}

#[tokio::test]
async fn of_many_deletions_and_edits_nothing_is_left_in_the_file() {
    let (_folder, path) = file();
    let store = SqliteStore::open(&path).await.unwrap();
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let entries: Vec<_> = (0..3000).map(|n| say(&format!("all say {}", secret(n)))).collect();
    let mut head = 0;
    // In pieces of many sizes, so that the index gets many trees and merges them.
    let mut rest = &entries[..];
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(1 + head as usize % 97));
        head = store.append(&r, head, piece).await.unwrap().head;
        rest = later;
    }
    let mut changes = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        match number % 3 {
            0 => changes.push(delete(entry.id)),
            1 => changes.push(edit(entry.id, "all say more")),
            _ => {}
        }
    }
    for piece in changes.chunks(150) {
        head = store.append(&r, head, piece).await.unwrap().head;
    }
    let search = store.search().unwrap();
    for number in 0..30 {
        let page = search.search(&r, &secret(number), None, 9).await.unwrap();
        assert_eq!(page.messages.len(), usize::from(number % 3 == 2), "{number}");
    }
    let page = search.search(&r, "say", None, 9999).await.unwrap();
    assert_eq!(page.messages.len(), 2000);
    store.close().await.unwrap();
    assert_eq!(left_of(&[&path], (0..3000).filter(|number| number % 3 != 2)), [0; 0]);
    assert_eq!(
        left_of(&[&path], (0..3000).filter(|number| number % 3 == 2)).len(),
        1000
    );
}

/// A moment after the deletion, with the store open and in use: the database and its write-ahead log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_not_left_in_the_log_either() {
    for busy in [false, true] {
        let (_folder, path) = file();
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        let (r, other) = (room("r"), room("other"));
        store.create_room(&r, epoch()).await.unwrap();
        store.create_room(&other, epoch()).await.unwrap();
        let entries: Vec<_> = (0..20).map(|n| say(&format!("all say {}", secret(n)))).collect();
        store.append(&r, 0, &entries).await.unwrap();
        let log = path.with_file_name("chat.db-wal");
        assert_eq!(left_of(&[&path, &log], 0..20).len(), 20);
        let mut users = tokio::task::JoinSet::new();
        if busy {
            let (writer, reader) = (store.clone(), store.clone());
            users.spawn(async move {
                for head in 0.. {
                    writer.append(&other, head, &[say("more")]).await.unwrap();
                }
            });
            users.spawn(async move {
                loop {
                    reader.log(&room("r"), 0, PageLimit::entries(9)).await.unwrap();
                }
            });
        }
        let changes: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(n, entry)| match n % 2 {
                0 => delete(entry.id),
                _ => edit(entry.id, "all say more"),
            })
            .collect();
        store.append(&r, 20, &changes).await.unwrap();
        let begun = Instant::now();
        loop {
            let left = left_of(&[&path, &log], 0..20);
            if left.is_empty() {
                break;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(40),
                "busy: {busy}, left: {left:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("busy: {busy}, gone after {:?}", begun.elapsed());
        users.abort_all();
        while users.join_next().await.is_some() {}
        store.close().await.unwrap();
    }
}

/// The index holds more than it should: that the message of another room is of this one.
#[tokio::test]
async fn a_mistake_of_the_index_shows_no_other_room() {
    let (_folder, path) = file();
    let store = SqliteStore::open(&path).await.unwrap();
    for (name, text) in [("a", "hello"), ("b", "hello secret")] {
        store.create_room(&room(name), epoch()).await.unwrap();
        store.append(&room(name), 0, &[say(text)]).await.unwrap();
    }
    let sql = "INSERT INTO words (rowid, terms) SELECT e.key, '#' || r.key || ' hello' FROM entries e, rooms r";
    assert_eq!(Connection::open(&path).unwrap().execute(sql, []).unwrap(), 4);
    let found = store
        .search()
        .unwrap()
        .search(&room("a"), "hello", None, 10)
        .await
        .unwrap();
    assert_eq!(found.messages.len(), 1, "{found:?}");
    assert_eq!(found.messages[0].content.as_deref(), Some("hello"));
    store.close().await.unwrap();
}
