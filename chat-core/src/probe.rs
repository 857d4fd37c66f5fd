//! What a hub holds, counted anew: for the tests that compare it with the limits. Exists only with the feature `probe`.

use crate::log::Submission;
use crate::{Hub, NewEntry, RoomId, UserId};

/// What a hub holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Held {
    /// What waits for each connection.
    pub connections: Vec<(UserId, Queued)>,
    /// What each room in use holds.
    pub rooms: Vec<(RoomId, Room)>,
}

/// What waits to be sent to one connection. Pairs are messages and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// What rooms pushed and the writer hasn't taken.
    pub queued: (usize, usize),
    /// What rooms pushed and the writer took last.
    pub taken: (usize, usize),
    /// Both, as the queue has counted them.
    pub counted: (usize, usize),
    /// Bytes of answers that the writer hasn't taken.
    pub answers: usize,
    /// Bytes of answers that the writer took last.
    pub taken_answers: usize,
    /// Both, as the queue has counted them.
    pub counted_answers: usize,
    /// Bytes of what tells of rooms that were joined and left.
    pub others: usize,
    /// Pieces of whatever kind that the writer hasn't taken.
    pub items: usize,
    /// Messages that wait for their commit.
    pub in_flight: usize,
}

/// What a room holds. Pairs are messages and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// What waits for its commit.
    pub queue: (usize, usize),
    /// Its bytes as they were counted.
    pub counted_queue: usize,
    /// The newest entries.
    pub tail: (usize, usize),
    /// Their bytes as they were counted.
    pub counted_tail: usize,
    /// What other hubs told of too early.
    pub early: (usize, usize),
    /// Its bytes as they were counted.
    pub counted_early: usize,
    /// The last entry that is known here.
    pub head: u64,
    pub members: usize,
    /// Members that catch up.
    pub lagging: usize,
}

/// Looks at everything that the hub holds for others.
#[must_use]
pub fn held(hub: &Hub) -> Held {
    let engine = hub.engine();
    let sessions = engine.sessions();
    Held {
        connections: sessions
            .iter()
            .map(|session| (session.user.id().clone(), session.outbox.held()))
            .collect(),
        rooms: engine
            .rooms()
            .iter()
            .map(|room| (room.id.clone(), room.held()))
            .collect(),
    }
}

/// About what these take in memory while they wait for their commit.
#[must_use]
pub fn weigh(entries: &[NewEntry]) -> usize {
    entries.iter().map(|entry| Submission::weight(&entry.change)).sum()
}
