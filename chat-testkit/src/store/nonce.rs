//! Sends that may be repeated.

use roomcast_core::{Change, MessageStore, NewEntry, Nonce, Outcome, RoomId, Sent, User, UserName};

use super::make::*;
use crate::StoreHarness;

/// Which message ann sent with this nonce.
async fn sent(store: &dyn MessageStore, room: &RoomId, nonce: &str) -> Option<Sent> {
    sent_by(store, room, "ann", nonce).await
}

async fn sent_by(store: &dyn MessageStore, room: &RoomId, name: &str, nonce: &str) -> Option<Sent> {
    let nonce = Nonce::new(nonce).unwrap();
    store.sent(room, user(name).id(), &nonce).await.unwrap()
}

/// What `sent` tells of this entry, which has a nonce and stands at this place.
fn known(entry: &NewEntry, seq: u64) -> Option<Sent> {
    let Change::Message {
        nonce: Some((_, fingerprint)),
        ..
    } = entry.change
    else {
        panic!("{entry:?} has no nonce");
    };
    Some(Sent {
        id: entry.id,
        seq,
        fingerprint,
    })
}

async fn one(store: &dyn MessageStore, room: &RoomId, entry: NewEntry) -> Outcome {
    append(store, room, &[entry]).await[0]
}

/// A repeated nonce gets the first one's id and seq and takes no number, however much was stored since.
pub async fn a_repeated_nonce_gets_the_first_place(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let room = filled(&*store, "r", &[say("before"), first.clone()]).await;
    let duplicate = Outcome::Duplicate { id: first.id, seq: 2 };
    assert_eq!(one(&*store, &room, say_once("hi", "n")).await, duplicate);
    append(&*store, &room, &[say("after"), edit(first.id, "ho")]).await;
    assert_eq!(
        one(&*store, &room, say_once("hi", "n")).await,
        duplicate,
        "after an edit, too"
    );
    assert_eq!(head(&*store, &room).await, 4);
    // The user's name as people read it may have changed between the two.
    let mut renamed = say_once("hi", "n");
    renamed.user = User::new(renamed.user.id().clone(), UserName::new("Ann B.").unwrap());
    assert_eq!(one(&*store, &room, renamed).await, duplicate);
}

/// A nonce tells which message it was sent with, whatever became of it, and whatever else was offered with the nonce since.
pub async fn a_nonce_tells_which_message_it_sent(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let room = filled(&*store, "r", &[say("before"), first.clone(), say_once("ho", "m")]).await;
    assert_eq!(sent(&*store, &room, "n").await, known(&first, 2));
    assert_eq!(sent(&*store, &room, "other").await, None);
    append(&*store, &room, &[say_once("ho", "n"), edit(first.id, "ho")]).await;
    assert_eq!(sent(&*store, &room, "n").await, known(&first, 2));
}

/// A nonce that comes again with another fingerprint is a conflict, and nothing is stored.
pub async fn a_nonce_with_other_content_conflicts(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    assert_eq!(one(&*store, &room, say_once("ho", "n")).await, Outcome::NonceConflict);
    let duplicate = Outcome::Duplicate { id: first.id, seq: 1 };
    assert_eq!(
        one(&*store, &room, say_once("hi", "n")).await,
        duplicate,
        "the first one stays"
    );
    assert_eq!(whole_log(&*store, &room).await.len(), 1);
}

/// Two entries of one call are told apart like those of two calls, and what is behind them gets the next numbers.
pub async fn nonces_count_within_one_append(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let batch = [
        say("before"),
        first.clone(),
        say_once("hi", "n"),
        say_once("ho", "n"),
        say("after"),
        say_once("hi", "n"),
    ];
    let room = filled(&*store, "r", &[]).await;
    let duplicate = Outcome::Duplicate { id: first.id, seq: 2 };
    let expected = [
        stored(1),
        stored(2),
        duplicate,
        Outcome::NonceConflict,
        stored(3),
        duplicate,
    ];
    assert_eq!(append(&*store, &room, &batch).await, expected);
    let ids: Vec<_> = whole_log(&*store, &room).await.iter().map(|entry| entry.id()).collect();
    assert_eq!(ids, [batch[0].id, first.id, batch[4].id]);
}

/// A nonce belongs to the user's id and to the room.
pub async fn nonces_belong_to_a_user_and_a_room(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[say_once("hi", "n")]).await;
    let other = filled(&*store, "other", &[]).await;
    for (seq, name) in (2..).zip(["bob", "Ann", "ann ", "an", "annn"]) {
        assert_eq!(
            one(&*store, &room, by(name, say_once("hi", "n"))).await,
            stored(seq),
            "{name}"
        );
    }
    assert_eq!(sent_by(&*store, &room, "cid", "n").await, None);
    assert_eq!(sent(&*store, &other, "n").await, None);
    let there = say_once("hi", "n");
    assert_eq!(one(&*store, &other, there.clone()).await, stored(1));
    assert_eq!(sent(&*store, &other, "n").await, known(&there, 1));
    for (seq, name) in (1..).zip(["ann", "bob", "Ann", "ann ", "an", "annn"]) {
        let found = sent_by(&*store, &room, name, "n").await;
        assert_eq!(found.map(|sent| sent.seq), Some(seq), "{name}");
    }
}

/// Nonces are compared exactly: no folding of case, no trimming, no normal forms, no end at a NUL.
pub async fn nonces_are_compared_exactly(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = filled(&*store, "r", &[]).await;
    let names = [
        "a",
        "A",
        " a",
        "a ",
        "a\0",
        "a\0b",
        "\0",
        "a\n",
        "é",
        "e\u{301}",
        "É",
        "ﬁ",
        "fi",
        "0",
        "00",
        "-1",
        "NULL",
        "'",
        "\"",
        "\u{feff}a",
        "a\u{200d}",
        "🦀",
        "%",
        "a%",
        "_",
        "\\",
        "\\0",
    ];
    for (seq, name) in (1..).zip(names) {
        assert_eq!(one(&*store, &room, say_once("hi", name)).await, stored(seq), "{name:?}");
    }
    let longest = "🦀".repeat(64);
    assert_eq!(
        one(&*store, &room, say_once("hi", &longest)).await,
        stored(names.len() as u64 + 1)
    );
    for (seq, name) in (1..).zip(names) {
        let found = sent(&*store, &room, name).await;
        assert_eq!(found.map(|sent| sent.seq), Some(seq), "{name:?}");
        let again = one(&*store, &room, say_once("hi", name)).await;
        assert!(
            matches!(again, Outcome::Duplicate { seq: first, .. } if first == seq),
            "{name:?}: {again:?}"
        );
    }
}

/// A deleted message's nonce is remembered with its tombstone: a late repetition doesn't bring the message back.
pub async fn a_tombstone_keeps_its_nonce(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let room = filled(&*store, "r", &[first.clone(), delete(first.id)]).await;
    let duplicate = Outcome::Duplicate { id: first.id, seq: 1 };
    assert_eq!(one(&*store, &room, say_once("hi", "n")).await, duplicate);
    assert_eq!(one(&*store, &room, say_once("ho", "n")).await, Outcome::NonceConflict);
    assert_eq!(sent(&*store, &room, "n").await, known(&first, 1));
    assert_eq!(whole_log(&*store, &room).await.len(), 2);
}

/// Nonces are as durable as their messages.
pub async fn nonces_outlive_a_restart(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let (kept, gone) = (say_once("hi", "kept"), say_once("hi", "gone"));
    let room = filled(&*store, "r", &[kept.clone(), gone.clone(), delete(gone.id)]).await;
    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    for (seq, entry, nonce) in [(1, kept, "kept"), (2, gone, "gone")] {
        assert_eq!(sent(&*store, &room, nonce).await, known(&entry, seq));
        let duplicate = Outcome::Duplicate { id: entry.id, seq };
        assert_eq!(one(&*store, &room, say_once("hi", nonce)).await, duplicate);
        assert_eq!(one(&*store, &room, say_once("ho", nonce)).await, Outcome::NonceConflict);
    }
    assert_eq!(head(&*store, &room).await, 3);
}
