//! Who knows what each client must see: the facts, and one file per promise.

mod bounded;
mod deleted;
mod durable;
mod event;
pub(crate) mod facts;
mod frames;
mod gaps;
mod news;
mod order;
mod permissions;
mod presence;
mod reasons;
mod resume;
mod shutdown;
mod verbs;

use std::time::Duration;

use roomcast_core::probe::Held;
use roomcast_core::{Bytes, Limits};

use crate::bus::{BusFault, Parcel};
use crate::frame::Frame;
use facts::{Answer, Call, Facts, Level, Record, Request, Start};

/// A connection, numbered in the order in which they were opened.
pub(crate) type ConnId = usize;

/// A call of the embedding server, numbered in the order in which they were made.
pub(crate) type CallId = usize;

/// One life of a hub: a restart gets another number.
pub(crate) type HubId = usize;

/// What happens in the world.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A room's log began.
    Created { room: &'a str, epoch: &'a str },
    /// An entry was stored; by no hub if a writer from elsewhere did it.
    Committed {
        hub: Option<HubId>,
        room: &'a str,
        seq: u64,
        record: &'a Record,
    },
    /// Retention removed everything up to here.
    Trimmed { room: &'a str, floor: u64 },
    /// A hub started.
    Started { hub: HubId },
    /// A client asks a hub to be let in.
    Opening {
        user: &'a str,
        plain: bool,
        hub: HubId,
        room: &'a str,
        start: &'a Start,
        presence: bool,
        expires: Option<Duration>,
    },
    /// The hub begins to serve it, on a WebSocket or on what carries whole frames.
    Served { conn: ConnId, socket: bool },
    /// The client sends a request, or for the first time the same as a new one.
    Sent { conn: ConnId, request: &'a Request },
    /// The hub took a request from the transport.
    Read { conn: ConnId, request: u64 },
    /// The hub gives frames to the transport, to be sent together.
    Handed { conn: ConnId, frames: &'a [Bytes] },
    /// The WebSocket wrote.
    Bytes { conn: ConnId, bytes: &'a [u8] },
    /// The client can't make out what it got.
    Garbled { conn: ConnId, what: &'a str },
    /// One of them is the transport's own now.
    Wrote { conn: ConnId, frame: &'a Frame },
    /// A write ended, well or not.
    WriteTook { conn: ConnId, took: Duration },
    /// The hub says goodbye.
    Closing { conn: ConnId, code: u16 },
    /// The client got a frame.
    Received { conn: ConnId, frame: &'a Frame },
    /// The client was told that the connection is closed.
    Closed { conn: ConnId, code: u16 },
    /// The client has no connection any more.
    Ended { conn: ConnId },
    /// The client does what it may be sent away for, with one of these codes.
    Provoked { conn: ConnId, codes: &'a [u16] },
    /// The embedding server sends a user away.
    Kicked { hub: HubId, user: &'a str },
    /// The embedding server asks a hub something.
    Asked { call: &'a Call },
    /// It is answered.
    Told { call: CallId, answer: &'a Answer },
    /// What a user may do in a room from now on.
    Level { user: &'a str, room: &'a str, level: Level },
    /// A hub calls its store.
    StoreCall { hub: HubId },
    /// A hub offers its store so many entries, which take about so many bytes in memory.
    Appending { hub: HubId, count: usize, bytes: usize },
    /// What a hub holds for others.
    Held { hub: HubId, held: &'a Held },
    /// The store did less than it should, or took long.
    StoreFault { hub: HubId },
    /// From now on the bus is good, and was so before, or has told every hub what it missed and left time to make up for it.
    BusIsGood,
    /// A hub tells the others.
    Announced { hub: HubId, what: &'a Parcel },
    /// A hub is told by the bus.
    Noticed { hub: HubId, what: &'a Parcel },
    /// It is told, for the first time, that this user is to be sent away.
    SentAway { hub: HubId, user: &'a str },
    /// Something goes wrong with what is to come to this hub by the bus, or with its way to the bus.
    BusFault { hub: HubId, what: BusFault },
    /// A shutdown begins.
    Draining { hub: HubId },
    /// A shutdown returned.
    Drained { hub: HubId, clean: bool, late: bool },
    /// A hub was killed.
    Crashed { hub: HubId },
}

/// One promise. It looks at each event before the facts take it in.
pub(crate) trait Promise: Send {
    /// The promise in a few words.
    fn name(&self) -> &'static str;

    /// Safety: whether this may happen.
    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String>;

    /// Liveness: what is still amiss once the faults are over and time has passed.
    fn settled(&self, _: &Facts) -> Result<(), String> {
        Ok(())
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// The facts and the promises.
pub(crate) struct Oracle {
    pub(crate) facts: Facts,
    promises: Vec<Box<dyn Promise>>,
}

impl Oracle {
    /// With a bus, hubs know of each other's users.
    pub(crate) fn new(limits: Limits, bus: bool) -> Self {
        let presence_users = limits.presence_users;
        Self {
            facts: Facts::default(),
            promises: vec![
                Box::new(order::Order),
                Box::new(gaps::NoSilentGap),
                Box::new(resume::Resume),
                Box::<durable::Durable>::default(),
                Box::new(bounded::Bounded::new(limits.clone())),
                Box::new(permissions::Permissions),
                Box::new(shutdown::Shutdown::new(limits.clone())),
                Box::new(deleted::DeletedIsGone),
                Box::<frames::WholeFrames>::default(),
                Box::new(reasons::Reasons),
                Box::new(verbs::Verbs::new(limits)),
                Box::<news::News>::default(),
                Box::new(presence::Presence::new(presence_users, bus)),
            ],
        }
    }

    pub(crate) fn see(&mut self, now: Duration, event: &Event<'_>) -> Result<(), Violation> {
        self.facts.advance(now);
        for promise in &mut self.promises {
            let name = promise.name();
            promise
                .see(event, &self.facts)
                .map_err(|what| Violation { promise: name, what })?;
        }
        self.facts.apply(event);
        Ok(())
    }

    /// What is still amiss.
    pub(crate) fn settled(&self) -> Result<(), Violation> {
        for promise in &self.promises {
            promise.settled(&self.facts).map_err(|what| Violation {
                promise: promise.name(),
                what,
            })?;
        }
        Ok(())
    }
}
