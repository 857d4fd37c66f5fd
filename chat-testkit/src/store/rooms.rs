//! Rooms: their beginning, and their list.

use std::collections::HashSet;
use std::sync::Arc;

use roomcast_core::{HistoryPage, HistoryRange, LogPage, MessageId, Nonce, PageLimit, RoomHead, RoomId};

use super::make::*;
use crate::StoreHarness;

/// A room begins empty, with the epoch that was given; beginning it again changes nothing.
pub async fn a_room_keeps_its_first_epoch(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = room("r");
    let begun = store.create_room(&room, epoch("first")).await.unwrap();
    let mut expected = RoomHead {
        epoch: epoch("first"),
        head: 0,
        floor: 0,
    };
    assert_eq!(begun, expected);
    assert_eq!(store.create_room(&room, epoch("second")).await.unwrap(), expected);
    append(&*store, &room, &[say("hi")]).await;
    expected.head = 1;
    assert_eq!(store.create_room(&room, epoch("third")).await.unwrap(), expected);
    assert_eq!(store.room(&room).await.unwrap(), Some(expected));
    assert_eq!(whole_log(&*store, &room).await.len(), 1);
}

/// If several begin a room at the same time, all get the epoch that was stored.
pub async fn a_race_to_create_a_room_has_one_epoch(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    for round in 0..10 {
        let room = room(&format!("r{round}"));
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let (store, room) = (Arc::clone(&store), room.clone());
                tokio::spawn(async move { store.create_room(&room, epoch(&format!("e{n}"))).await.unwrap().epoch })
            })
            .collect();
        let mut epochs = HashSet::new();
        for task in tasks {
            epochs.insert(task.await.unwrap());
        }
        assert_eq!(epochs.len(), 1, "{epochs:?}");
        let kept = store.room(&room).await.unwrap().unwrap().epoch;
        assert!(epochs.contains(&kept), "{kept:?} is stored, {epochs:?} was told");
    }
}

/// A room that was never begun has nothing, reading doesn't begin it, and appending to it is refused.
pub async fn an_unknown_room_is_empty_and_takes_nothing(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    filled(&*store, "other", &[say("hi")]).await;
    let room = room("r");
    assert_eq!(store.room(&room).await.unwrap(), None);
    let nothing = LogPage {
        entries: Vec::new(),
        floor: 0,
        head: 0,
    };
    for after in [0, 1, u64::MAX] {
        assert_eq!(store.log(&room, after, PageLimit::entries(9)).await.unwrap(), nothing);
    }
    let nothing = HistoryPage {
        messages: Vec::new(),
        more: false,
    };
    for range in [HistoryRange::Newest, HistoryRange::Before(9), HistoryRange::After(0)] {
        assert_eq!(store.history(&room, range, 9).await.unwrap(), nothing);
    }
    assert_eq!(store.message(&room, MessageId::from_u128(1)).await.unwrap(), None);
    let nonce = Nonce::new("n").unwrap();
    assert_eq!(store.sent(&room, user("ann").id(), &nonce).await.unwrap(), None);
    for expected in [0, 1] {
        assert_refused(
            "an append to no room",
            store.append(&room, expected, &[say("hi")]).await,
        );
    }
    assert_eq!(store.room(&room).await.unwrap(), None);
    assert_eq!(store.rooms(None, 9).await.unwrap().len(), 1);
}

/// The list of rooms is in the order of the names' bytes, whatever their script, and pages anywhere.
pub async fn rooms_are_listed_in_order(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    assert_eq!(store.rooms(None, 9).await.unwrap(), []);
    let names = [
        "b",
        "a",
        "B",
        "a-",
        "a.b",
        "ab",
        "aB",
        "é",
        "e\u{301}",
        "z",
        "10",
        "9",
        "~",
        "🦀",
        "\u{ffee}",
        "ß",
        "ss",
        "[x]",
        "{x}",
        "$where",
        "a'b",
        "a\"b",
        "*",
        "中文",
        "עברית",
    ];
    for (n, name) in names.iter().enumerate() {
        let entries: Vec<_> = (0..n).map(|_| say("hi")).collect();
        filled(&*store, name, &entries).await;
    }
    let mut sorted = names.map(|name| name.to_owned());
    sorted.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for limit in [1, 2, 3, names.len(), usize::MAX] {
        for start in 0..=names.len() {
            let after = start.checked_sub(1).map(|n| room(&sorted[n]));
            let page = store.rooms(after.as_ref(), limit).await.unwrap();
            let told: Vec<_> = page.iter().map(|info| info.id.as_str()).collect();
            let end = start.saturating_add(limit).min(names.len());
            assert_eq!(told, &sorted[start..end], "after {after:?}, at most {limit}");
            for info in page {
                let n = names.iter().position(|name| *name == info.id.as_str()).unwrap();
                assert_eq!(
                    (info.head.head, info.head.floor, info.head.epoch),
                    (n as u64, 0, epoch("e"))
                );
            }
        }
    }
    assert_eq!(store.rooms(None, 0).await.unwrap(), []);
    let between = RoomId::new("a0").unwrap();
    assert_eq!(
        store.rooms(Some(&between), 1).await.unwrap()[0].id,
        room("aB"),
        "a0 is no room, but a place"
    );
}
