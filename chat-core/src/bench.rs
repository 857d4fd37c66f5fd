//! Doors for the micro-benchmarks, to parts that are private. Exists only with the feature `bench`.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::log::{Frame, LogState};
use crate::outbox::{Item, Items, Outbox};
use crate::session::Session;
use crate::{Bytes, Entry, Limits, Message, Protocol, QueueLimit, User, wire};

/// Encodes a message as members get it.
#[must_use]
pub fn encode(message: &Message) -> Bytes {
    wire::message(message)
}

/// Reads a frame of `chat.v1.json`; whether it was understood.
#[must_use]
pub fn decode(text: &[u8]) -> bool {
    wire::parse_v1(text).is_ok()
}

/// Reads a plain connection's message; whether it was understood.
#[must_use]
pub fn decode_plain(text: &[u8]) -> bool {
    wire::parse_plain(text).is_ok()
}

/// A room in memory, with members that take what they are sent and send it nowhere.
pub struct Crowd {
    room: LogState,
    members: Vec<Arc<Session>>,
    taken: Items,
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").finish_non_exhaustive()
    }
}

impl Crowd {
    /// A room of so many members.
    #[must_use]
    pub fn new(user: &User, members: usize) -> Self {
        let limits = Limits::default();
        let mut room = LogState::new(limits.tail);
        let members = (0..members).map(|_| {
            let session = Arc::new(Session {
                user: user.clone(),
                protocol: Protocol::V1,
                outbox: Outbox::new(limits.send_queue),
            });
            let member = room
                .attach(session.clone(), 0, false)
                .expect("a room that isn't broken");
            // It has seen everything, and follows the live stream from now on.
            room.catch_up(member, 1, limits.tail);
            session
        });
        let members = members.collect();
        Self {
            room,
            members,
            taken: Items::default(),
        }
    }

    /// Sends the room's next message to all members, of whom each takes it. Returns how many have taken it.
    pub fn hear(&mut self, message: Message) -> usize {
        let entry = Entry::Message(message);
        let frame = Frame::of(&entry);
        self.room
            .enter(vec![(entry, frame)])
            .expect("the messages of a room come in order");
        let taken = &mut self.taken;
        self.members.iter().map(|member| take(&member.outbox, taken)).sum()
    }
}

/// What waits for one connection.
#[derive(Debug)]
pub struct Queue {
    outbox: Outbox,
    taken: Items,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(limit: QueueLimit) -> Self {
        Self {
            outbox: Outbox::new(limit),
            taken: Items::default(),
        }
    }

    /// Pushes so many frames, and takes all of them at once. Returns how many were taken.
    pub fn pass(&mut self, frame: &Bytes, count: usize) -> usize {
        for _ in 0..count {
            self.outbox.push(Item::Reply(frame.clone()));
        }
        take(&self.outbox, &mut self.taken)
    }
}

fn take(outbox: &Outbox, into: &mut Items) -> usize {
    let _ = pin!(outbox.take(into, false)).poll(&mut Context::from_waker(Waker::noop()));
    std::iter::from_fn(|| into.pop_front()).count()
}
