//! Opening, closing, and what lasts.

use roomcast_core::{HistoryRange, MessageId, Nonce, PageLimit};

use super::make::*;
use crate::StoreHarness;

/// An open store is healthy.
pub async fn an_open_store_is_healthy(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    store.health().await.unwrap();
    filled(&*store, "r", &[say("hi")]).await;
    store.health().await.unwrap();
}

/// After a close everything is refused, and nothing hangs; a second close is fine.
pub async fn a_closed_store_refuses(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[say("hi")]).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_refused("health", store.health().await);
    assert_refused("room", store.room(&room).await);
    assert_refused("create_room", store.create_room(&room, epoch("e")).await);
    assert_refused("rooms", store.rooms(None, 9).await);
    assert_refused("append", store.append(&room, 1, &[say("hi")]).await);
    assert_refused("log", store.log(&room, 0, PageLimit::entries(9)).await);
    assert_refused("history", store.history(&room, HistoryRange::Newest, 9).await);
    assert_refused("message", store.message(&room, MessageId::from_u128(1)).await);
    let nonce = Nonce::new("n").unwrap();
    assert_refused("sent", store.sent(&room, user("ann").id(), &nonce).await);
    if let Some(search) = store.search() {
        assert_refused("search", search.search(&room, "hi", None, 9).await);
    }
    store.close().await.unwrap();
}

/// What was stored before a close is there after it, exactly.
pub async fn everything_outlives_a_restart(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let (first, gone) = (say_once("one", "n"), say("two"));
    let room = filled(
        &*store,
        "r",
        &[first.clone(), gone.clone(), edit(first.id, "edited"), delete(gone.id)],
    )
    .await;
    filled(&*store, "empty", &[]).await;
    let log = store.log(&room, 0, EVERYTHING).await.unwrap();
    let history = store.history(&room, HistoryRange::Newest, 9).await.unwrap();
    let rooms = store.rooms(None, 9).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    assert_eq!(store.log(&room, 0, EVERYTHING).await.unwrap(), log);
    assert_eq!(store.history(&room, HistoryRange::Newest, 9).await.unwrap(), history);
    assert_eq!(store.rooms(None, 9).await.unwrap(), rooms);
    assert_eq!(
        append(&*store, &room, &[say("three"), edit(first.id, "again")]).await,
        [stored(5), changed(6, 1)]
    );
}
