//! Numbers and order.

use roomcast_core::{Appended, Entry, PageLimit, RoomHead};

use super::make::*;
use crate::StoreHarness;

/// The first entry has the seq 1, each further one 1 more, over several calls; and the head says so.
pub async fn appends_are_numbered_densely_from_1(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    for (call, first) in [(1, 1), (2, 2), (5, 4), (1, 9)] {
        let entries: Vec<_> = (0..call).map(|_| say("hi")).collect();
        let expected: Vec<_> = (first..).take(call).map(stored).collect();
        assert_eq!(append(&*store, &room, &entries).await, expected);
    }
    let expected = RoomHead {
        epoch: epoch("e"),
        head: 9,
        floor: 0,
    };
    assert_eq!(store.room(&room).await.unwrap(), Some(expected));
    let seqs: Vec<_> = whole_log(&*store, &room).await.iter().map(Entry::seq).collect();
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
}

/// The log gives the entries of one call in the order in which they were given, whatever their ids and times.
pub async fn a_batch_keeps_its_order(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let mut entries: Vec<_> = (0..20).map(|n| say(&format!("message {n}"))).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    let room = filled(&*store, "r", &entries).await;
    let expected: Vec<_> = (1..)
        .zip(&entries)
        .map(|(seq, entry)| Entry::Message(as_message(&room, seq, entry)))
        .collect();
    assert_eq!(whole_log(&*store, &room).await, expected);
}

/// A batch far larger than a hub makes is stored as a whole.
pub async fn a_thousand_entries_go_into_one_append(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let mut entries: Vec<_> = (0..600).map(|n| say_once("hi", &n.to_string())).collect();
    entries.extend((0..400).map(|n| edit(entries[n].id, "ho")).collect::<Vec<_>>());
    let room = filled(&*store, "r", &entries).await;
    let log = whole_log(&*store, &room).await;
    assert_eq!(log.len(), 1000);
    assert!(log.iter().zip(&entries).all(|(stored, given)| stored.id() == given.id));
}

/// An append that expects another head, lower or higher, stores nothing and says what the head is.
pub async fn another_head_than_expected_stores_nothing(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[say("one"), say("two"), say("three")]).await;
    for expected in [0, 1, 2, 4, 5, 1 << 53, i64::MAX as u64, 1 << 63, u64::MAX] {
        let appended = store.append(&room, expected, &[say("no"), say("no")]).await.unwrap();
        let nothing = Appended {
            outcomes: Vec::new(),
            head: 3,
        };
        assert_eq!(appended, nothing, "expecting {expected}");
    }
    assert_eq!(whole_log(&*store, &room).await.len(), 3);
}

/// An append of no entries changes nothing.
pub async fn an_empty_append_changes_nothing(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[say("one")]).await;
    for expected in [0, 1, 2] {
        let appended = store.append(&room, expected, &[]).await.unwrap();
        assert_eq!((appended.outcomes, appended.head), (Vec::new(), 1));
    }
}

/// Each room has its own numbers and entries.
pub async fn rooms_do_not_mix(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    // Names that are the same to a collation which ignores case, accents' forms or trailing characters.
    let names = ["r", "R", "r.", "rr", "é", "e\u{301}"];
    for name in names {
        filled(&*store, name, &[]).await;
    }
    for round in 1..=3 {
        for name in names {
            let message = say(&format!("{name} {round}"));
            assert_eq!(
                append(&*store, &room(name), &[message]).await,
                [stored(round)],
                "{name}"
            );
        }
    }
    for name in names {
        let log = whole_log(&*store, &room(name)).await;
        let said: Vec<_> = log.iter().map(content).collect();
        assert_eq!(said, [1, 2, 3].map(|round| format!("{name} {round}")));
    }
}

fn content(entry: &Entry) -> &str {
    match entry {
        Entry::Message(message) => message.content.as_deref().unwrap(),
        other => panic!("not a message: {other:?}"),
    }
}

/// What one call stored, a read that begins after it sees, by every method.
pub async fn reads_follow_writes(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    for seq in 1..=50 {
        let new = say("hi");
        append(&*store, &room, std::slice::from_ref(&new)).await;
        let message = as_message(&room, seq, &new);
        assert_eq!(store.message(&room, new.id).await.unwrap().as_ref(), Some(&message));
        let page = store.log(&room, seq - 1, PageLimit::entries(9)).await.unwrap();
        assert_eq!((page.head, page.entries), (seq, vec![Entry::Message(message)]));
        assert_eq!(store.rooms(None, 9).await.unwrap()[0].head.head, seq);
    }
}
