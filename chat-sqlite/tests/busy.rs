//! What is slow keeps nothing else waiting.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{epoch, room, say};
use roomcast_core::{MessageStore, Nonce, PageLimit, UserId};
use roomcast_sqlite::SqliteStore;
use tokio::task::JoinSet;

/// Searches that the index can't decide, each of which has to look at every message: many at once, more than there are
/// threads. Reads go on meanwhile; a search whose caller has gone ends, and those that wait behind it aren't begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_searches_keep_only_searches_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("chat.db")).await.unwrap());
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let long = "a".repeat(40_000);
    let entries: Vec<_> = (0..200).map(|n| say(&format!("{long}{n}"))).collect();
    store.append(&r, 0, &entries).await.unwrap();
    store.append(&r, 200, &[say("short")]).await.unwrap();

    let slow = Instant::now();
    let search = MessageStore::search(&*store).unwrap();
    assert!(
        search
            .search(&r, &format!("{long}x"), None, 10)
            .await
            .unwrap()
            .messages
            .is_empty()
    );
    let slow = slow.elapsed();

    let mut searches = JoinSet::new();
    for n in 0..100 {
        let (store, r, text) = (store.clone(), r.clone(), format!("{long}x{n}"));
        searches.spawn(async move {
            let found = MessageStore::search(&*store).unwrap().search(&r, &text, None, 10).await;
            assert!(found.unwrap().messages.is_empty());
        });
    }
    tokio::time::sleep(slow / 2).await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(store.room(&r).await.unwrap().unwrap().head, 201);
        assert_eq!(
            store.log(&r, 200, PageLimit::entries(9)).await.unwrap().entries.len(),
            1
        );
        store.health().await.unwrap();
    }
    let reads = begun.elapsed();
    while searches.try_join_next().is_some() {}
    assert!(!searches.is_empty(), "the searches take longer than the reads");
    assert!(
        reads < Duration::from_secs(5),
        "30 reads took {reads:?}, a search {slow:?}"
    );

    searches.abort_all();
    while searches.join_next().await.is_some() {}
    let begun = Instant::now();
    let page = search.search(&r, "short", None, 10).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    let next = begun.elapsed();
    assert!(
        next < slow * 10 + Duration::from_secs(1),
        "the next search took {next:?}, one {slow:?}"
    );
    println!("a slow search {slow:?}, 30 reads {reads:?}, a search behind the dropped ones {next:?}");
    store.close().await.unwrap();
}

/// Many members catch up, and their pages wait for the threads. What reads a single row goes before them: a join, say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_keep_no_single_row_waiting() {
    const PAGES: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("chat.db")).await.unwrap());
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let long = "a".repeat(40_000);
    let entries: Vec<_> = (0..200).map(|n| say(&format!("{long}{n}"))).collect();
    store.append(&r, 0, &entries).await.unwrap();
    let whole = PageLimit {
        entries: 200,
        bytes: usize::MAX,
    };

    let mut pages = JoinSet::new();
    for _ in 0..PAGES {
        let (store, r) = (store.clone(), r.clone());
        pages.spawn(async move {
            assert_eq!(store.log(&r, 0, whole).await.unwrap().entries.len(), 200);
        });
    }
    // All of them wait when the first is read.
    pages.join_next().await.unwrap().unwrap();
    let begun = Instant::now();
    assert_eq!(store.room(&r).await.unwrap().unwrap().head, 200);
    assert!(store.message(&r, entries[7].id).await.unwrap().is_some());
    let (user, nonce) = (UserId::new("ann").unwrap(), Nonce::new("n").unwrap());
    assert!(store.sent(&r, &user, &nonce).await.unwrap().is_none());
    store.health().await.unwrap();
    let rows = begun.elapsed();
    while let Some(page) = pages.try_join_next() {
        page.unwrap();
    }
    println!("4 rows in {rows:?}, {} of {PAGES} pages still to be read", pages.len());
    assert!(pages.len() > PAGES / 2, "{} of {PAGES} pages wait", pages.len());
    // Pages don't wait for ever.
    while let Some(page) = pages.join_next().await {
        page.unwrap();
    }
    store.close().await.unwrap();
}
