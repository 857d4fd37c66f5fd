//! What the checks are made of.

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{
    Appended, Change, Entry, Epoch, Fingerprint, IdSource, Message, MessageId, MessageStore, NewEntry, Nonce, Outcome,
    PageLimit, RandomIds, RoomId, StoreError, StoreErrorKind, Timestamp, User,
};

pub(super) const EVERYTHING: PageLimit = PageLimit {
    entries: usize::MAX,
    bytes: usize::MAX,
};

pub(super) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(super) fn user(name: &str) -> User {
    User::named(name).unwrap()
}

pub(super) fn epoch(name: &str) -> Epoch {
    Epoch::new(name).unwrap()
}

/// An entry by `ann` with a new id.
pub(super) fn entry(change: Change) -> NewEntry {
    NewEntry {
        id: RandomIds.message_id(),
        user: user("ann"),
        at: Timestamp::from_millis(1_795_338_000_123),
        change,
    }
}

pub(super) fn say(content: &str) -> NewEntry {
    entry(Change::Message {
        content: Some(content.to_owned()),
        data: None,
        reply_to: None,
        nonce: None,
    })
}

/// A message with this nonce; the fingerprint is of the content.
pub(super) fn say_once(content: &str, nonce: &str) -> NewEntry {
    let fingerprint = content.bytes().fold(7, |sum: u128, byte| {
        sum.wrapping_mul(u128::MAX / 5).wrapping_add(byte.into())
    });
    entry(Change::Message {
        content: Some(content.to_owned()),
        data: None,
        reply_to: None,
        nonce: Some((Nonce::new(nonce).unwrap(), Fingerprint::from_u128(fingerprint))),
    })
}

pub(super) fn edit(message: MessageId, content: &str) -> NewEntry {
    entry(Change::Edit {
        message,
        content: content.to_owned(),
    })
}

pub(super) fn delete(message: MessageId) -> NewEntry {
    entry(Change::Delete { message })
}

pub(super) fn by(name: &str, mut entry: NewEntry) -> NewEntry {
    entry.user = user(name);
    entry
}

pub(super) fn stored(seq: u64) -> Outcome {
    Outcome::Stored { seq, target: None }
}

pub(super) fn changed(seq: u64, target: u64) -> Outcome {
    let target = Some(target);
    Outcome::Stored { seq, target }
}

/// What a message is once it is stored at this place.
pub(super) fn as_message(room: &RoomId, seq: u64, entry: &NewEntry) -> Message {
    let mut message = Message::new(entry.id, room.clone(), seq, entry.user.clone(), entry.at);
    let Change::Message {
        content,
        data,
        reply_to,
        ..
    } = &entry.change
    else {
        panic!("not a message: {entry:?}")
    };
    message.content.clone_from(content);
    message.data.clone_from(data);
    message.reply_to = *reply_to;
    message
}

/// A room with these entries in it.
pub(super) async fn filled(store: &dyn MessageStore, name: &str, entries: &[NewEntry]) -> RoomId {
    let room = room(name);
    store.create_room(&room, epoch("e")).await.unwrap();
    append(store, &room, entries).await;
    room
}

/// Appends at the head, which nobody else moves, and gives the outcomes.
pub(super) async fn append(store: &dyn MessageStore, room: &RoomId, entries: &[NewEntry]) -> Vec<Outcome> {
    let head = head(store, room).await;
    let Appended { outcomes, head: after } = store.append(room, head, entries).await.unwrap();
    assert_eq!(
        outcomes.len(),
        entries.len(),
        "nobody else writes, so every entry has an outcome"
    );
    let new = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Stored { .. }));
    assert_eq!(after, head + new.count() as u64, "the head after {outcomes:?}");
    outcomes
}

pub(super) async fn head(store: &dyn MessageStore, room: &RoomId) -> u64 {
    store.room(room).await.unwrap().expect("the room exists").head
}

/// Everything that the log holds, read page by page, of the bytes that pages have by default.
pub(super) async fn whole_log(store: &dyn MessageStore, room: &RoomId) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut after = 0;
    loop {
        let page = store.log(room, after, PageLimit::entries(200)).await.unwrap();
        assert!(
            after >= page.head || !page.entries.is_empty(),
            "a page before the head has an entry"
        );
        for entry in page.entries {
            assert_eq!(entry.seq(), after.max(page.floor) + 1, "the log has no holes");
            after = entry.seq();
            entries.push(entry);
        }
        if after >= page.head {
            return entries;
        }
    }
}

/// What a writer does who isn't alone: appends all entries however often another comes between or the
/// store is busy. Gives the outcomes.
pub(super) async fn insist(store: &Arc<dyn MessageStore>, room: &RoomId, entries: &[NewEntry]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut head = 0;
    for _ in 0..10_000 {
        match store.append(room, head, &entries[outcomes.len()..]).await {
            Ok(appended) => {
                outcomes.extend(appended.outcomes);
                head = appended.head;
            }
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("append failed: {error:?}"),
        }
        if outcomes.len() == entries.len() {
            return outcomes;
        }
    }
    panic!("10,000 tries were not enough to append {} entries", entries.len())
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(what: &str, result: Result<T, StoreError>) {
    match result {
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Refused, "{what}: {error:?}"),
        Ok(value) => panic!("{what} is not refused but gives {value:?}"),
    }
}
