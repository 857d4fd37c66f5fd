//! What is removed, when, and what it costs those who write.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use common::{delete, epoch, left_of, room, say, say_at, secret};
use roomcast_core::{Clock, MessageStore, PageLimit, RoomHead, RoomId, Timestamp};
use roomcast_sqlite::{Builder, Retention, SqliteStore};
use rusqlite::Connection;
use tempfile::TempDir;

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    (folder, path)
}

fn keeping(path: &PathBuf, entries: u64) -> Builder {
    SqliteStore::builder(path).retention(Retention {
        max_entries: Some(entries),
        max_age: None,
    })
}

fn aging(path: &PathBuf, age: Duration) -> Builder {
    SqliteStore::builder(path).retention(Retention {
        max_entries: None,
        max_age: Some(age),
    })
}

async fn head(store: &SqliteStore, room: &RoomId) -> RoomHead {
    store.room(room).await.unwrap().unwrap()
}

async fn until_floor(store: &SqliteStore, room: &RoomId, floor: u64) {
    let begun = Instant::now();
    while head(store, room).await.floor < floor {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            head(store, room).await
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A room of that many messages, the first with a time of its own.
async fn fill(store: &SqliteStore, name: &str, messages: u64) -> RoomId {
    let room = room(name);
    let mut head = store.create_room(&room, epoch()).await.unwrap().head;
    while head < messages {
        let entries: Vec<_> = (head..messages.min(head + 1000))
            .map(|n| say(&format!("number {n} and some usual words {}", secret(n))))
            .collect();
        head = store.append(&room, head, &entries).await.unwrap().head;
    }
    room
}

#[tokio::test]
async fn age_removes_the_oldest() {
    let (_folder, path) = file();
    let clock = ByHand(Arc::new(AtomicI64::new(3_600_000)));
    let age = Duration::from_secs(1);
    let store = aging(&path, age).clock(clock.clone()).open().await.unwrap();
    let (r, small) = (room("r"), room("small"));
    store.create_room(&r, epoch()).await.unwrap();
    store.create_room(&small, epoch()).await.unwrap();
    let mut entries: Vec<_> = (0..2500).map(|_| say_at(Timestamp::from_millis(0), "old")).collect();
    entries.push(say_at(clock.now(), "new"));
    // One that is old already stays while an older one of its room does.
    entries.push(say_at(Timestamp::from_millis(0), "late"));
    store.append(&r, 0, &entries).await.unwrap();
    let old = say_at(Timestamp::from_millis(0), "old");
    store.append(&small, 0, std::slice::from_ref(&old)).await.unwrap();
    until_floor(&store, &r, 2500).await;
    until_floor(&store, &small, 1).await;
    let page = store.log(&r, 0, PageLimit::entries(10)).await.unwrap();
    assert_eq!((page.entries.len(), page.head), (2, 2502));
    let found = store.search().unwrap().search(&r, "old", None, 10).await.unwrap();
    assert!(found.messages.is_empty());
    // A room that has become empty grows old again.
    assert_eq!(
        store
            .append(&small, 1, &[say_at(Timestamp::from_millis(0), "old")])
            .await
            .unwrap()
            .head,
        2
    );
    until_floor(&store, &small, 2).await;
    store.close().await.unwrap();
}

/// The interleaving: retention takes all that there is, and the index only notes it; what is written next would get the
/// keys from the beginning on. Then one key would stand for two messages in the index, and what is deleted of the second
/// would bring back the words of the first.
#[tokio::test]
async fn no_key_is_given_out_twice() {
    let (_folder, path) = file();
    let clock = ByHand::default();
    let settings = || aging(&path, Duration::from_secs(1)).clock(clock.clone());
    let mut store = settings().open().await.unwrap();
    let (r, small) = (room("r"), room("small"));
    store.create_room(&r, epoch()).await.unwrap();
    store.create_room(&small, epoch()).await.unwrap();
    let other = Connection::open(&path).unwrap();
    let keys = || -> (i64, i64) {
        let sql = "SELECT min(key), max(key) FROM entries";
        other.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let (mut last, mut removed) = (0, [0, 0]);
    for round in 0..3 {
        // The highest key of all is gone first, and then one that is lower.
        let now = round * 10_000;
        let first = say_at(Timestamp::from_millis(now + 5000), "stays longer");
        removed[0] = store.append(&small, removed[0], &[first]).await.unwrap().head;
        let second: Vec<_> = (0..100).map(|_| say_at(Timestamp::from_millis(now), "old")).collect();
        removed[1] = store.append(&r, removed[1], &second).await.unwrap().head;
        assert_eq!(keys(), (last + 1, last + 101));
        last += 101;
        clock.0.store(now + 2000, Ordering::Relaxed);
        until_floor(&store, &r, removed[1]).await;
        clock.0.store(now + 9000, Ordering::Relaxed);
        until_floor(&store, &small, removed[0]).await;
        if round == 1 {
            store.close().await.unwrap();
            store = settings().open().await.unwrap();
        }
    }
    store.close().await.unwrap();
}

/// The interleaving: a message that retention has taken, and the index has noted as gone in a newer tree; one with its key
/// and its words, which the index merges with the note; that one is deleted, and retention takes the rest of the room;
/// another room gets the key. Then the first one's words, of the first room, would stand for a message of the other one.
#[tokio::test]
async fn what_retention_took_brings_nobody_into_another_room() {
    let (_folder, path) = file();
    let clock = ByHand::default();
    let store = aging(&path, Duration::from_secs(1))
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    let (a, b, stays) = (room("a"), room("b"), room("stays"));
    for room in [&a, &b, &stays] {
        store.create_room(room, epoch()).await.unwrap();
    }
    // A large tree, with which small ones aren't merged soon.
    let later = Timestamp::from_millis(3_600_000);
    let many: Vec<_> = (0..20_000).map(|n| say_at(later, &format!("stays{n}"))).collect();
    store.append(&stays, 0, &many).await.unwrap();
    let mut head = 0;
    for _ in 0..30 {
        let entry = say_at(clock.now(), "secret");
        head = store.append(&a, head, &[entry]).await.unwrap().head;
    }
    clock.0.store(2000, Ordering::Relaxed);
    until_floor(&store, &a, head).await;

    let second = say_at(clock.now(), "secret");
    let id = second.id;
    head = store.append(&a, head, &[second]).await.unwrap().head;
    for _ in 0..30 {
        let entry = say_at(clock.now(), "usual");
        head = store.append(&a, head, &[entry]).await.unwrap().head;
    }
    head = store.append(&a, head, &[delete(id)]).await.unwrap().head;
    clock.0.store(5000, Ordering::Relaxed);
    until_floor(&store, &a, head).await;

    let said: Vec<_> = (0..40)
        .map(|n| say_at(clock.now(), &format!("secret of b {n}")))
        .collect();
    store.append(&b, 0, &said).await.unwrap();
    let found = store.search().unwrap().search(&a, "secret", None, 10).await.unwrap();
    assert_eq!(found.messages, []);
    // Nor does the index hold anything of that room.
    let sql = "SELECT count(*) FROM words WHERE words MATCH '\"#' || (SELECT key FROM rooms WHERE id = 'a') || '\"'";
    let held: i64 = Connection::open(&path)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(held, 0);
    store.close().await.unwrap();
}

/// A clock that stands still until it is put forward.
#[derive(Clone, Default)]
struct ByHand(Arc<AtomicI64>);

impl Clock for ByHand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A hub whose clock begins at 0 stamps entries that would be half a century old by the system's clock.
#[tokio::test]
async fn entries_grow_old_by_the_clock_that_was_set() {
    let (_folder, path) = file();
    let clock = ByHand::default();
    let age = Duration::from_secs(1);
    let store = aging(&path, age).clock(clock.clone()).open().await.unwrap();
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let at = |ms| say_at(Timestamp::from_millis(ms), "hi");
    store.append(&r, 0, &[at(0), at(500), at(1000)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(head(&store, &r).await.floor, 0);
    clock.0.store(1600, Ordering::Relaxed);
    until_floor(&store, &r, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(head(&store, &r).await.floor, 2);
}

/// The interleaving: the store is opened with a lower bound, and another process has the file locked when the first
/// removal begins. Nobody writes to the room afterwards.
#[tokio::test]
async fn a_removal_that_failed_is_tried_again() {
    let (_folder, path) = file();
    let store = SqliteStore::open(&path).await.unwrap();
    let r = fill(&store, "r", 1000).await;
    store.close().await.unwrap();

    // While it is locked, a store can be opened that has nothing to migrate.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = keeping(&path, 10)
        .busy_timeout(Duration::from_millis(10))
        .open()
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(head(&store, &r).await.floor, 0);
    other.execute_batch("ROLLBACK").unwrap();
    until_floor(&store, &r, 990).await;
    store.close().await.unwrap();
}

/// Writers that never pause: the room holds hardly more than it should at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_holds_at_full_speed() {
    const KEEP: u64 = 1000;
    const BATCH: u64 = 200;
    let (_folder, path) = file();
    let store = Arc::new(keeping(&path, KEEP).open().await.unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for name in ["a", "b", "c"] {
        let store = store.clone();
        writers.spawn(async move {
            let room = fill(&store, name, KEEP).await;
            let (mut head, mut most) = (KEEP, 0);
            for _ in 0..60 {
                let entries: Vec<_> = (0..BATCH).map(|n| say(&format!("number {n} of many words"))).collect();
                head = store.append(&room, head, &entries).await.unwrap().head;
                most = most.max(head - store.room(&room).await.unwrap().unwrap().floor);
            }
            most
        });
    }
    for most in writers.join_all().await {
        // The slack of an eighth, and what is written by three writers until it is made up for.
        assert!((KEEP..KEEP + KEEP / 8 + 6 * BATCH).contains(&most), "{most}");
    }
}

/// A file with far more than the bound: those who write meanwhile don't wait for the removal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lowering_the_bound_keeps_nobody_waiting() {
    const MESSAGES: u64 = 20_000;
    let (_folder, path) = file();
    let store = SqliteStore::open(&path).await.unwrap();
    let r = fill(&store, "r", MESSAGES).await;
    let other = fill(&store, "other", 1).await;
    store.close().await.unwrap();
    let store = keeping(&path, 100).open().await.unwrap();
    let (mut at, mut times) = (1, Vec::new());
    let begun = Instant::now();
    while head(&store, &r).await.floor < MESSAGES - 100 {
        let write = Instant::now();
        at = store.append(&other, at, &[say("hi")]).await.unwrap().head;
        times.push(write.elapsed());
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            head(&store, &r).await
        );
    }
    times.sort();
    let median = times[times.len() / 2];
    println!(
        "{MESSAGES} removed in {:?}; {} writes, median {median:?}",
        begun.elapsed(),
        times.len()
    );
    // The times of a busy machine vary; a run that isn't bounded takes half a second here.
    assert!(median < Duration::from_millis(100), "{median:?}");
    store.close().await.unwrap();
}

/// The words of what retention took are gone from the file once the index was merged, which comes to an end.
#[tokio::test]
async fn what_retention_took_is_purged_when_it_is_quiet() {
    let (_folder, path) = file();
    let store = keeping(&path, 100).open().await.unwrap();
    let r = fill(&store, "r", 5000).await;
    until_floor(&store, &r, 4900).await;
    let begun = Instant::now();
    loop {
        // Another connection sees what is committed, without closing the store.
        let copy = path.with_file_name("copy.db");
        let _ = std::fs::remove_file(&copy);
        let sql = format!("VACUUM INTO '{}'", copy.display());
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        let left = left_of(&[&copy], 0..4900).len();
        // A last few may wait for the next time.
        if left <= 64 {
            assert_eq!(left_of(&[&copy], 4900..5000).len(), 100);
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{left} left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It comes to rest: nothing is written any more.
    let other = Connection::open(&path).unwrap();
    let version = || -> i64 { other.query_row("PRAGMA data_version", [], |row| row.get(0)).unwrap() };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = version();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(version(), before);
    let found = store
        .search()
        .unwrap()
        .search(&r, "usual words", None, 1000)
        .await
        .unwrap();
    assert_eq!(found.messages.len(), 100);
    store.close().await.unwrap();
}
