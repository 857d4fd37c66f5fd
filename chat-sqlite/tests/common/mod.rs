//! What the tests are made of.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use roomcast_core::{Change, Epoch, IdSource, MessageId, NewEntry, RandomIds, RoomId, SystemClock, Timestamp, User};

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(crate) fn epoch() -> Epoch {
    Epoch::new("e1").unwrap()
}

pub(crate) fn entry_at(at: Timestamp, change: Change) -> NewEntry {
    NewEntry {
        id: RandomIds.message_id(),
        user: User::named("ann").unwrap(),
        at,
        change,
    }
}

pub(crate) fn say(content: &str) -> NewEntry {
    say_at(roomcast_core::Clock::now(&SystemClock), content)
}

#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn say_at(at: Timestamp, content: &str) -> NewEntry {
    let change = Change::Message {
        content: Some(content.to_owned()),
        data: None,
        reply_to: None,
        nonce: None,
    };
    entry_at(at, change)
}

#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn delete(message: MessageId) -> NewEntry {
    entry_at(Timestamp::from_millis(0), Change::Delete { message })
}

#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn edit(message: MessageId, content: &str) -> NewEntry {
    let content = content.to_owned();
    entry_at(Timestamp::from_millis(0), Change::Edit { message, content })
}

/// An error with its causes, as a log shows it.
#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// A word that starts and ends like few others: the index keeps of a word what differs from the one before it.
#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn secret(number: u64) -> String {
    format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Which of the secrets are in the files, by their ends.
#[allow(dead_code, reason = "each test file takes what it needs")]
pub(crate) fn left_of(files: &[&Path], numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let bytes: Vec<u8> = files
        .iter()
        .flat_map(|file| std::fs::read(file).unwrap_or_default())
        .collect();
    let ends: HashSet<&[u8]> = bytes.windows(10).collect();
    numbers
        .filter(|number| ends.contains(&secret(*number).as_bytes()[6..]))
        .collect()
}
