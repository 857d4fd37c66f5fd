//! Small things to put into a store.

use roomcast_core::{
    Change, Clock, Epoch, IdSource, MessageId, NewEntry, Outcome, RandomIds, RoomId, SystemClock, Timestamp, User,
};

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> User {
    User::named(name).unwrap()
}

pub(crate) fn epoch() -> Epoch {
    Epoch::new("e1").unwrap()
}

pub(crate) fn entry(change: Change) -> NewEntry {
    NewEntry {
        id: RandomIds.message_id(),
        user: user("ann"),
        at: SystemClock.now(),
        change,
    }
}

pub(crate) fn say(content: &str) -> NewEntry {
    entry(Change::Message {
        content: Some(content.to_owned()),
        data: None,
        reply_to: None,
        nonce: None,
    })
}

pub(crate) fn say_at(at: Timestamp, content: &str) -> NewEntry {
    NewEntry { at, ..say(content) }
}

pub(crate) fn edit(message: MessageId, content: &str) -> NewEntry {
    let content = content.to_owned();
    entry(Change::Edit { message, content })
}

pub(crate) fn delete(message: MessageId) -> NewEntry {
    entry(Change::Delete { message })
}

pub(crate) fn stored(seq: u64) -> Outcome {
    Outcome::Stored { seq, target: None }
}
