//! Futures that are dropped before they are ready.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use roomcast_core::{Entry, HistoryRange, MessageStore, Outcome, PageLimit};

use super::make::*;
use crate::StoreHarness;

/// Polls a future that many times, with a moment between for the store to go on. Says whether it became ready.
async fn poll_times(future: impl Future, times: usize) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..times {
        // Not within an `.await`: the future must not be woken or polled by anybody else.
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    false
}

/// An append that is dropped after any number of polls leaves a prefix of its batch in the log, or nothing; the room goes on, and
/// what is offered again isn't stored twice.
pub async fn a_dropped_append_leaves_a_prefix(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    for polls in 0..40 {
        let name = format!("r{polls}");
        let batch: Vec<_> = (0..8).map(|n| say_once("hi", &n.to_string())).collect();
        let room = filled(&*store, &name, &[say("first")]).await;
        let ready = poll_times(store.append(&room, 1, &batch), polls).await;

        // What was dropped may still be on its way, so this writer isn't alone.
        let after = [say("after")];
        insist(&store, &room, &after).await;
        let ids: Vec<_> = whole_log(&*store, &room).await.iter().skip(1).map(Entry::id).collect();
        let own: Vec<_> = ids.iter().copied().filter(|id| *id != after[0].id).collect();
        assert!(
            own.iter().eq(batch.iter().map(|entry| &entry.id).take(own.len())),
            "after {polls} polls the log holds a prefix of the batch"
        );
        assert!(!ready || own.len() == batch.len());

        let again: Vec<_> = (0..8).map(|n| say_once("hi", &n.to_string())).collect();
        for (first, outcome) in batch.iter().zip(insist(&store, &room, &again).await) {
            match outcome {
                Outcome::Stored { .. } => assert!(!own.contains(&first.id)),
                Outcome::Duplicate { id, .. } => assert_eq!(id, first.id),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            whole_log(&*store, &room).await.len(),
            10,
            "after {polls} polls each is there once"
        );
    }
}

/// A room whose creation was dropped is there with one epoch, or not there.
pub async fn a_dropped_create_room_can_be_repeated(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    for polls in 0..20 {
        let room = room(&format!("r{polls}"));
        poll_times(store.create_room(&room, epoch("dropped")), polls).await;
        let kept = store.create_room(&room, epoch("again")).await.unwrap();
        assert_eq!(store.create_room(&room, epoch("later")).await.unwrap(), kept);
        assert_eq!(append(&*store, &room, &[say("hi")]).await, [stored(1)]);
    }
}

/// Dropped reads leave nothing behind that later ones would wait for.
pub async fn dropped_reads_have_no_effect(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say("hi");
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    for round in 0..200 {
        let polls = round % 3;
        poll_times(store.log(&room, 0, PageLimit::entries(9)), polls).await;
        poll_times(store.history(&room, HistoryRange::Newest, 9), polls).await;
        poll_times(store.message(&room, first.id), polls).await;
        poll_times(store.room(&room), polls).await;
        poll_times(store.rooms(None, 9), polls).await;
        poll_times(store.health(), polls).await;
    }
    assert_eq!(whole_log(&*store, &room).await.len(), 1);
    assert_eq!(append(&*store, &room, &[say("ho")]).await, [stored(2)]);
}

/// Many appends that are dropped at once, as when a hub is shut down hard, don't keep others waiting.
pub async fn a_crowd_of_dropped_appends_blocks_nobody(harness: &dyn StoreHarness) {
    let store: Arc<dyn MessageStore> = harness.open().await;
    for n in 0..300 {
        let room = filled(&*store, &format!("r{}", n % 10), &[]).await;
        let head = head(&*store, &room).await;
        poll_times(store.append(&room, head, &[say("dropped")]), 1).await;
    }
    for n in 0..10 {
        let room = room(&format!("r{n}"));
        insist(&store, &room, &[say("after")]).await;
        let log = whole_log(&*store, &room).await;
        assert!(log.len() <= 31);
    }
}
