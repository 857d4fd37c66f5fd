//! What a store lets go of in time.

use std::time::{Duration, Instant};

use roomcast_core::{Entry, HistoryRange, MessageStore, Nonce, Outcome, PageLimit, RoomHead, RoomId};

use super::make::*;
use crate::StoreHarness;

/// How long a store may take its time to remove what it need not keep.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the store has removed at least this.
async fn until_removed(store: &dyn MessageStore, room: &RoomId, seq: u64) -> RoomHead {
    let begun = Instant::now();
    loop {
        let head = store.room(room).await.unwrap().unwrap();
        if head.floor >= seq {
            return head;
        }
        assert!(begun.elapsed() < PATIENCE, "up to {seq} should be removed: {head:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Retention removes the oldest entries, says so, and keeps the newest; numbers go on.
pub async fn retention_removes_the_oldest(harness: &dyn StoreHarness) {
    let Some(store) = harness.open_bounded(20).await else {
        return;
    };
    let room = filled(&*store, "r", &[]).await;
    let small = filled(&*store, "small", &[say("hi"), say("ho")]).await;
    for _ in 0..10 {
        append(&*store, &room, &[0; 10].map(|_| say("hi"))).await;
    }
    let RoomHead { head, floor, .. } = until_removed(&*store, &room, 60).await;
    assert_eq!(head, 100);
    assert!(floor <= 80, "it keeps what it should: {floor}");
    // The store may still be removing: only what stands in one page is from one moment.
    let first = store.log(&room, 0, EVERYTHING).await.unwrap();
    assert!((floor..=80).contains(&first.floor), "{floor}, then {}", first.floor);
    let seqs: Vec<_> = first.entries.iter().map(Entry::seq).collect();
    assert_eq!(seqs, (first.floor + 1..=100).collect::<Vec<_>>());
    let mut lowest = first.floor;
    for after in 0..=first.floor {
        let page = store.log(&room, after, PageLimit::entries(1)).await.unwrap();
        assert_eq!(page.entries[0].seq(), page.floor + 1, "after {after}");
        assert!((lowest..=80).contains(&page.floor), "{lowest}, then {}", page.floor);
        lowest = page.floor;
    }
    assert_eq!(append(&*store, &room, &[say("hi")]).await, [stored(101)]);
    let untouched = store.room(&small).await.unwrap().unwrap();
    assert_eq!((untouched.head, untouched.floor), (2, 0));
    let listed = store.rooms(None, 1).await.unwrap();
    assert!(listed[0].head.floor >= floor);
}

/// With an entry go its message and its nonce; history ends where the log does.
pub async fn what_retention_removed_is_forgotten(harness: &dyn StoreHarness) {
    let Some(store) = harness.open_bounded(20).await else {
        return;
    };
    let first = say_once("hi", "n");
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    for _ in 0..10 {
        append(&*store, &room, &[0; 10].map(|_| say("hi"))).await;
    }
    let RoomHead { head, floor, .. } = until_removed(&*store, &room, 40).await;
    assert_eq!(store.message(&room, first.id).await.unwrap(), None);
    let nonce = Nonce::new("n").unwrap();
    assert_eq!(store.sent(&room, user("ann").id(), &nonce).await.unwrap(), None);
    let page = store.history(&room, HistoryRange::After(0), 1).await.unwrap();
    assert!(page.more && page.messages[0].seq > floor);
    let page = store.history(&room, HistoryRange::Newest, 1000).await.unwrap();
    assert!(!page.more && page.messages[0].seq > floor);
    let page = store.history(&room, HistoryRange::Before(floor), 9).await.unwrap();
    assert!(!page.more && page.messages.is_empty());
    let again = append(
        &*store,
        &room,
        &[edit(first.id, "no"), delete(first.id), say_once("ho", "n")],
    )
    .await;
    assert_eq!(again, [Outcome::NoTarget, Outcome::NoTarget, stored(head + 1)]);
}

/// An edit that outlives its message has its content no longer, or else the newest one.
pub async fn an_edit_may_outlive_its_message(harness: &dyn StoreHarness) {
    let Some(store) = harness.open_bounded(20).await else {
        return;
    };
    let first = say("old");
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    append(&*store, &room, &[0; 49].map(|_| say("hi"))).await;
    // Offered again until the store has let the message go: the last edit that it takes outlives the message.
    let mut last = None;
    for n in 0.. {
        let content = format!("newer {n}");
        match append(&*store, &room, &[edit(first.id, &content)]).await[0] {
            Outcome::Stored { seq, .. } => last = Some((seq, content)),
            Outcome::NoTarget => break,
            other => panic!("{other:?}"),
        }
        assert!(n < 10_000, "the message should be removed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let Some((seq, newest)) = last else { return };
    let page = store.log(&room, seq - 1, PageLimit::entries(1)).await.unwrap();
    match &page.entries[..] {
        [Entry::Edit(edit)] if edit.seq == seq => {
            assert_eq!((edit.message, edit.target), (first.id, 1));
            assert!(edit.content.is_none() || edit.content == Some(newest), "{edit:?}");
        }
        other => assert!(page.floor >= seq, "{other:?}"),
    }
}

/// How far retention has come is kept as well as the entries are.
pub async fn the_floor_outlives_a_restart(harness: &dyn StoreHarness) {
    let Some(store) = harness.open_bounded(20).await else {
        return;
    };
    let room = filled(&*store, "r", &[]).await;
    append(&*store, &room, &[0; 100].map(|_| say("hi"))).await;
    let before = until_removed(&*store, &room, 40).await;
    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    let after = store.room(&room).await.unwrap().unwrap();
    assert_eq!((after.head, &after.epoch), (100, &before.epoch));
    assert!(after.floor >= before.floor, "{after:?}");
    // The store may go on removing meanwhile; a page is from one moment.
    let page = store.log(&room, 0, PageLimit::entries(1)).await.unwrap();
    assert!(page.floor >= after.floor, "{page:?}");
    assert_eq!(page.entries[0].seq(), page.floor + 1);
}
