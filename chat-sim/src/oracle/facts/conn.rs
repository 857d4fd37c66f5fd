//! Where a connection stands as its client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Ask, Moment, Request};
use crate::frame::Frame;
use crate::oracle::HubId;

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) user: String,
    pub(crate) plain: bool,
    pub(crate) hub: HubId,
    pub(crate) opened: Moment,
    pub(crate) room: String,
    pub(crate) start: Start,
    /// Whether it was to be told from the beginning who is there.
    pub(crate) presence: bool,
    /// The rooms that it is in, as the client was told.
    pub(crate) rooms: BTreeMap<String, Joined>,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// The last seq that a plain client saw.
    pub(crate) plain_last: u64,
    /// With which code the hub closes it.
    pub(crate) code: Option<u16>,
    /// Whether the client was told so in words.
    pub(crate) bye: bool,
    /// Whether it is a WebSocket.
    pub(crate) socket: bool,
    /// When the hub began to serve it.
    pub(crate) served: Option<Moment>,
    /// When the hub last gave it something to send.
    pub(crate) handed: Moment,
    /// For how long the user's identity holds.
    pub(crate) expires: Option<Duration>,
    /// When the user was sent away.
    pub(crate) kicked: Option<Moment>,
    /// With which codes it may be closed for what it did, and since when.
    pub(crate) provoked: BTreeMap<u16, Moment>,
    /// The longest that the hub waited for the client to take something.
    pub(crate) slowest: Duration,
    /// When it last waited for longer than a moment.
    pub(crate) dawdled: Option<Moment>,
    /// Whether the client still has it.
    pub(crate) open: bool,
}

/// Where a connection stands in a room.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What comes next; unknown before the first of the last few.
    pub(crate) next: Option<u64>,
    /// The log's head when it joined: what is up to there is history.
    pub(crate) head: u64,
    /// When the join was asked for.
    pub(crate) asked: Moment,
    pub(crate) start: Start,
    /// Whether a gap frame has to come first.
    pub(crate) gap_due: bool,
    /// Who is there, if the client asked.
    pub(crate) presence: Option<Roster>,
}

/// Who is in a room, as a client was told.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// When it was first told.
    pub(crate) since: Option<Moment>,
    pub(crate) online: u64,
    pub(crate) users: BTreeSet<String>,
}

impl Roster {
    fn take(&mut self, frame: &Frame, now: Moment) {
        self.since.get_or_insert(now);
        self.online = frame.online;
        if let Some(users) = &frame.users {
            self.users = users.iter().map(|user| user.id.clone()).collect();
        }
        for id in frame.left.iter().flatten() {
            self.users.remove(id);
        }
        let came = frame.came.iter().flatten();
        self.users.extend(came.map(|user| user.id.clone()));
    }
}

/// Where a join begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Live,
    Since(String, u64),
    Last(u64),
}

impl Conn {
    /// When the request was sent that this frame answers.
    pub(crate) fn asked(&self, frame: &Frame) -> Moment {
        let request = frame.answers().and_then(|id| self.requests.get(&id));
        request.map_or(self.opened, |request| request.sent)
    }

    /// Whether the user's identity held no more at that time.
    pub(crate) fn expired(&self, at: Duration) -> bool {
        self.served
            .zip(self.expires)
            .is_some_and(|(served, span)| at >= served.at + span)
    }

    /// What the hub took and didn't answer yet.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Request> {
        let requests = self.requests.values();
        requests.filter(|request| request.read.is_some() && request.answered.is_none())
    }

    /// How the join began that this frame answers, and whether it asked who is there.
    pub(crate) fn start_of(&self, frame: &Frame) -> (Start, bool) {
        match frame.answers().and_then(|id| self.requests.get(&id)) {
            Some(Request {
                ask: Ask::Join { start, presence },
                ..
            }) => (start.clone(), *presence),
            _ => (self.start.clone(), self.presence),
        }
    }

    /// Takes in what the client got.
    pub(super) fn take(&mut self, frame: &Frame, now: Moment) {
        if self.plain {
            self.plain_last = frame.seq;
            return;
        }
        match frame.t.as_str() {
            "hello" => {
                for room in &frame.rooms {
                    self.join(room, (self.start.clone(), self.presence), self.opened);
                }
            }
            "joined" => self.join(frame, self.start_of(frame), self.asked(frame)),
            "left" => {
                self.rooms.remove(&frame.room_id);
            }
            "presence" => {
                let joined = self.rooms.get_mut(&frame.room_id);
                if let Some(roster) = joined.and_then(|joined| joined.presence.as_mut()) {
                    roster.take(frame, now);
                }
            }
            "gap" => {
                if let Some(joined) = self.rooms.get_mut(&frame.room_id) {
                    joined.gap_due = false;
                    joined.next = Some(frame.to.unwrap_or(joined.head) + 1);
                }
            }
            _ if frame.is_entry() => {
                if let Some(joined) = self.rooms.get_mut(&frame.room_id) {
                    joined.next = Some(frame.seq + 1);
                }
            }
            _ => {}
        }
    }

    fn join(&mut self, room: &Frame, (start, presence): (Start, bool), asked: Moment) {
        let next = match &start {
            Start::Live => Some(room.head + 1),
            Start::Since(_, seq) => Some(seq + 1),
            Start::Last(_) => None,
        };
        let joined = Joined {
            next,
            head: room.head,
            asked,
            start,
            gap_due: room.resume == "gap",
            presence: presence.then(Roster::default),
        };
        self.rooms.insert(room.room_id.clone(), joined);
    }
}
