//! Files that go away while they are open, and paths that are none.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{chain, epoch, room, say};
use roomcast_core::{Appended, MessageStore, PageLimit, StoreError, StoreErrorKind};
use roomcast_sqlite::SqliteStore;

/// A store with a message in the room `r`.
async fn begin(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.unwrap();
    store.create_room(&room("r"), epoch()).await.unwrap();
    store.append(&room("r"), 0, &[say("first")]).await.unwrap();
    store
}

async fn second(store: &SqliteStore) -> Result<Appended, StoreError> {
    store.append(&room("r"), 1, &[say("second")]).await
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn assert_lost<T: std::fmt::Debug>(what: &str, result: Result<T, StoreError>) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{what}: {error}");
    let text = chain(&error);
    assert!(text.contains("deleted, moved or replaced"), "{what}: {text}");
}

async fn refuses_everything(store: &SqliteStore) {
    let r = room("r");
    assert_lost("append", second(store).await);
    assert_lost("create_room", store.create_room(&room("new"), epoch()).await);
    assert_lost("room", store.room(&r).await);
    assert_lost("log", store.log(&r, 0, PageLimit::entries(9)).await);
    assert_lost("search", store.search().unwrap().search(&r, "first", None, 9).await);
    assert_lost("health", store.health().await);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_acknowledged_into_a_deleted_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = begin(&path).await;
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(beside(&path, ending)).unwrap();
    }
    refuses_everything(&store).await;
    // Not even when there is another file of that name.
    let other = begin(&path).await;
    refuses_everything(&store).await;
    // The first one leaves the other's log alone.
    store.close().await.unwrap();
    assert!(beside(&path, "-wal").exists());
    assert_eq!(second(&other).await.unwrap().head, 2);
    other.close().await.unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.room(&room("r")).await.unwrap().unwrap().head, 2);
}

/// What isn't in the database itself yet goes with the write-ahead log.
#[cfg(unix)]
#[tokio::test]
async fn nothing_is_acknowledged_into_a_deleted_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = begin(&path).await;
    std::fs::remove_file(beside(&path, "-wal")).unwrap();
    refuses_everything(&store).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_moved_file_is_used_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = begin(&path).await;
    let away = folder.path().join("away.db");
    std::fs::rename(&path, &away).unwrap();
    refuses_everything(&store).await;
    std::fs::rename(&away, &path).unwrap();
    store.health().await.unwrap();
    assert_eq!(second(&store).await.unwrap().head, 2);
    // A folder that is moved takes the file along.
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let store = begin(&inner.join("chat.db")).await;
    std::fs::rename(&inner, folder.path().join("outer")).unwrap();
    refuses_everything(&store).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("chat.db"), folder.path().join("link.db"));
    begin(&path).await.close().await.unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = SqliteStore::open(&link).await.unwrap();
    assert_eq!(second(&store).await.unwrap().head, 2);
    std::fs::remove_file(&path).unwrap();
    refuses_everything(&store).await;
}

/// Many writers while the file is deleted: a moment later none is told that its message is stored.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_deleted_under_load_ends_the_acknowledgements() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        writers.spawn(async move {
            let room = room(&format!("r{n}"));
            let mut head = store.create_room(&room, epoch()).await.unwrap().head;
            loop {
                match store.append(&room, head, &[say("hi")]).await {
                    Ok(appended) => head = appended.head,
                    Err(error) => return error,
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while acknowledged.load(Ordering::Relaxed) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(&path).unwrap();
    let errors = tokio::time::timeout(Duration::from_secs(10), writers.join_all())
        .await
        .unwrap();
    for error in errors {
        let text = chain(&error);
        assert!(text.contains("deleted, moved or replaced"), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file:{}?mode=memory", folder.path().join("chat.db").display());
    for path in [
        "",
        ":memory:",
        "file::memory:",
        "file:chat?mode=memory&cache=shared",
        &address,
    ] {
        let error = SqliteStore::open(path).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Refused, "{path}");
        assert!(error.to_string().contains("MemoryStore"), "{path}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The interleaving: a store is open; another one is opened in the same process, and looks at the file's header; a
/// third party opens and closes the file. Closing a descriptor of the file lets go of all locks that the process has on
/// it, so that the third party would take itself for the last one and delete the write-ahead log.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_store_leaves_the_locks_of_the_first() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let locks = || {
        let inode = format!(":{} ", std::fs::metadata(&path).unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().filter(|lock| lock.contains(&inode)).count()
    };
    let store = begin(&path).await;
    let before = locks();
    let other = SqliteStore::open(&path).await.unwrap();
    assert_eq!(locks(), before);
    other.close().await.unwrap();
    assert_eq!(locks(), before);
    store.close().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn any_name_of_a_file_will_do() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "a b.db",
        "100%.db",
        "what?#.db",
        "%41.db",
        "é🦀.db",
        "a&b=c.db",
        "'\"\\.db",
        "x:y.db",
    ] {
        let path = folder.path().join(name);
        begin(&path).await.close().await.unwrap();
        let store = SqliteStore::open(&path).await.unwrap();
        assert_eq!(second(&store).await.unwrap().head, 2, "{name}");
        assert!(path.exists(), "{name}");
    }
}
