//! Several writers on one room.

use std::collections::HashSet;
use std::sync::Arc;

use roomcast_core::{Entry, Outcome};

use super::make::*;
use crate::StoreHarness;

/// Of several appends that expect the same head, one is stored.
pub async fn one_writer_wins_each_place(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    for round in 0..20 {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (store, room) = (Arc::clone(&store), room.clone());
                tokio::spawn(async move { store.append(&room, round, &[say("me")]).await })
            })
            .collect();
        let mut winners = 0;
        for writer in writers {
            // A store may be too busy for some; that isn't what is looked at here.
            let Ok(appended) = writer.await.unwrap() else { continue };
            assert!(appended.outcomes.is_empty() || appended.outcomes == [stored(round + 1)]);
            assert_eq!(appended.head, round + 1, "won or lost, the head is told");
            winners += appended.outcomes.len();
        }
        assert_eq!(winners, 1, "in round {round}");
    }
    assert_eq!(whole_log(&*store, &room).await.len(), 20);
}

/// Two writers that try again until they succeed: each entry is there once, in its writer's order, without holes.
pub async fn two_writers_share_a_room(harness: &dyn StoreHarness) {
    writers_share_a_room(harness, 2, 60).await;
}

/// The same with eight writers.
pub async fn eight_writers_share_a_room(harness: &dyn StoreHarness) {
    writers_share_a_room(harness, 8, 24).await;
}

async fn writers_share_a_room(harness: &dyn StoreHarness, writers: usize, each: usize) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, room) = (Arc::clone(&store), room.clone());
            tokio::spawn(async move {
                let entries: Vec<_> = (0..each)
                    .map(|n| by(&format!("w{writer}"), say(&n.to_string())))
                    .collect();
                let mut places = Vec::new();
                for batch in entries.chunks(1 + writer % 5) {
                    places.extend(insist(&store, &room, batch).await);
                }
                (entries, places)
            })
        })
        .collect();
    let mut expected = Vec::new();
    for task in tasks {
        let (entries, places) = task.await.unwrap();
        let seqs: Vec<_> = places
            .iter()
            .map(|outcome| match outcome {
                Outcome::Stored { seq, target: None } => *seq,
                other => panic!("not stored: {other:?}"),
            })
            .collect();
        assert!(
            seqs.is_sorted_by(|a, b| a < b),
            "a writer's entries keep their order: {seqs:?}"
        );
        expected.extend(
            seqs.into_iter()
                .zip(&entries)
                .map(|(seq, entry)| Entry::Message(as_message(&room, seq, entry))),
        );
    }
    expected.sort_by_key(Entry::seq);
    assert_eq!(
        whole_log(&*store, &room).await,
        expected,
        "what was acknowledged is what is there"
    );
}

/// Eight senders offer the same nonces at the same time, as after a reconnection to another node: one each is stored, and all are
/// told the same place.
pub async fn a_nonce_is_stored_once_in_a_race(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, room) = (Arc::clone(&store), room.clone());
            tokio::spawn(async move {
                let mut places = Vec::new();
                for n in 0..10 {
                    let outcome = insist(&store, &room, &[say_once("hi", &n.to_string())]).await;
                    places.extend(outcome.into_iter().map(|outcome| match outcome {
                        Outcome::Stored { seq, .. } | Outcome::Duplicate { seq, .. } => seq,
                        other => panic!("{other:?}"),
                    }));
                }
                places
            })
        })
        .collect();
    let mut told = HashSet::new();
    for task in tasks {
        told.insert(task.await.unwrap());
    }
    assert_eq!(told.len(), 1, "all are told the same places: {told:?}");
    assert_eq!(whole_log(&*store, &room).await.len(), 10);
}

/// Writers of different rooms don't disturb one another: none of them ever loses a place.
pub async fn writers_of_different_rooms_never_conflict(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let room = filled(&*store, &format!("r{n}"), &[]).await;
                for seq in 1..=20 {
                    assert_eq!(append(&*store, &room, &[say("hi")]).await, [stored(seq)]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
