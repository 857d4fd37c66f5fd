//! What is true: the logs as the store has them, and where each connection stands as its client sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConnId, Event, HubId};
use crate::frame::Frame;
use crate::tally::Tally;

/// A moment: two events at the same time still come one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) at: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) now: Moment,
    pub(crate) logs: BTreeMap<String, Log>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) hubs: Vec<Hub>,
    pub(crate) tally: Tally,
    levels: BTreeMap<(String, String), Vec<(Moment, Level)>>,
}

/// A room's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) epoch: String,
    pub(crate) floor: u64,
    records: Vec<Record>,
}

/// An entry, also when retention has removed it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) change: Change,
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Message {
        nonce: Option<String>,
        /// What it says from when on; nothing once deleted.
        versions: Vec<(Moment, Option<String>)>,
    },
    Edit {
        target: u64,
        msg: String,
        content: String,
    },
    Delete {
        target: u64,
        msg: String,
    },
}

/// What a user may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Nothing,
    Live,
    History,
}

/// One life of a hub.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(crate) draining: Option<Moment>,
    pub(crate) drained: bool,
    /// When its store last failed it.
    pub(crate) fault: Moment,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) user: String,
    pub(crate) plain: bool,
    pub(crate) hub: HubId,
    pub(crate) opened: Moment,
    pub(crate) room: String,
    pub(crate) start: Start,
    /// The rooms that it is in, as the client was told.
    pub(crate) rooms: BTreeMap<String, Joined>,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// The last seq that a plain client saw.
    pub(crate) plain_last: u64,
    pub(crate) code: Option<u16>,
    /// The longest that the hub waited for the client to take something.
    pub(crate) slowest: Duration,
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
}

/// Where a join begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Live,
    Since(String, u64),
    Last(u64),
}

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) room: String,
    pub(crate) ask: Ask,
    /// When it was sent, when the hub took it and when the hub answered.
    pub(crate) sent: Moment,
    pub(crate) read: Option<Moment>,
    pub(crate) answered: Option<Moment>,
    /// How many others waited for their answer when the hub took it.
    pub(crate) ahead: usize,
}

impl Request {
    pub(crate) fn new(id: u64, room: &str, ask: Ask) -> Self {
        Self {
            id,
            room: room.to_owned(),
            ask,
            sent: Moment::default(),
            read: None,
            answered: None,
            ahead: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Send { nonce: Option<String>, content: String },
    Edit { msg: String, content: String },
    Delete { msg: String },
    Join(Start),
    Leave,
    History,
    Ping,
}

impl Ask {
    /// Whether it is to end up in the log.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Edit { .. } | Self::Delete { .. })
    }
}

impl Log {
    pub(crate) fn head(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn record(&self, seq: u64) -> Option<&Record> {
        self.records.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether the message said this at some moment that `recent` holds for the end of.
    pub(crate) fn said(&self, seq: u64, content: Option<&str>, recent: impl Fn(Moment) -> bool) -> bool {
        let Some(Change::Message { versions, .. }) = self.record(seq).map(|record| &record.change) else {
            return false;
        };
        versions.iter().enumerate().any(|(n, (_, said))| {
            said.as_deref() == content && versions.get(n + 1).is_none_or(|(until, _)| recent(*until))
        })
    }

    /// Whether a plain client is shown this entry.
    pub(crate) fn is_shown_plainly(&self, seq: u64) -> bool {
        seq > self.floor
            && matches!(self.record(seq).map(|record| &record.change),
                Some(Change::Message { versions, .. }) if versions.last().is_some_and(|(_, said)| said.is_some()))
    }
}

impl Facts {
    pub(crate) fn advance(&mut self, at: Duration) {
        self.now = Moment {
            step: self.now.step + 1,
            at,
        };
    }

    pub(crate) fn conn(&self, id: ConnId) -> &Conn {
        &self.conns[id]
    }

    pub(crate) fn log(&self, room: &str) -> Result<&Log, String> {
        self.logs.get(room).ok_or_else(|| format!("there is no room {room}"))
    }

    /// Whether the user had this level in the room at some moment since then.
    pub(crate) fn had(&self, user: &str, room: &str, level: Level, since: Moment) -> bool {
        let changes = self.levels.get(&(user.to_owned(), room.to_owned()));
        changes.is_some_and(|changes| {
            changes
                .iter()
                .enumerate()
                .any(|(n, (_, had))| *had >= level && changes.get(n + 1).is_none_or(|(until, _)| *until > since))
        })
    }

    fn count(&mut self, event: &Event<'_>) {
        let tally = &mut self.tally;
        tally.events += 1;
        match event {
            Event::Committed { .. } => tally.entries += 1,
            Event::Opening { .. } => tally.connections += 1,
            Event::StoreFault { .. } => tally.store_faults += 1,
            Event::Crashed { .. } => tally.kills += 1,
            Event::Draining { .. } => tally.drains += 1,
            _ => {}
        }
    }

    pub(crate) fn apply(&mut self, event: &Event<'_>) {
        let now = self.now;
        self.count(event);
        match *event {
            Event::Created { room, epoch } => {
                let log = self.logs.entry(room.to_owned()).or_default();
                log.epoch = epoch.to_owned();
            }
            Event::Committed { room, record, .. } => {
                if let Some(log) = self.logs.get_mut(room) {
                    log.add(now, record.clone());
                }
            }
            Event::Trimmed { room, floor } => {
                if let Some(log) = self.logs.get_mut(room) {
                    log.floor = floor;
                }
            }
            Event::Started { .. } => self.hubs.push(Hub::default()),
            Event::Opening {
                user,
                plain,
                hub,
                room,
                start,
            } => self.conns.push(Conn {
                user: user.to_owned(),
                plain,
                hub,
                opened: now,
                room: room.to_owned(),
                start: start.clone(),
                rooms: BTreeMap::new(),
                requests: BTreeMap::new(),
                plain_last: 0,
                code: None,
                slowest: Duration::ZERO,
                open: true,
            }),
            Event::Sent { conn, request } => {
                let mut request = request.clone();
                request.sent = now;
                self.conns[conn].requests.insert(request.id, request);
            }
            Event::Read { conn, request } => {
                let ahead = self.conns[conn].unanswered().count();
                if let Some(request) = self.conns[conn].requests.get_mut(&request) {
                    request.read = Some(now);
                    request.ahead = ahead;
                }
            }
            Event::Wrote { conn, frame } => {
                let answered = frame.answers().and_then(|id| self.conns[conn].requests.get_mut(&id));
                if let Some(request) = answered {
                    request.answered = Some(now);
                }
            }
            Event::Closing { conn, code } => self.conns[conn].code = Some(code),
            Event::Received { conn, frame } => self.conns[conn].take(frame),
            Event::Ended { conn } => self.conns[conn].open = false,
            Event::Level { user, room, level } => {
                let changes = self.levels.entry((user.to_owned(), room.to_owned())).or_default();
                changes.push((now, level));
            }
            Event::StoreFault { hub } => self.hubs[hub].fault = now,
            Event::Draining { hub } => self.hubs[hub].draining = Some(now),
            Event::Drained { hub, .. } => self.hubs[hub].drained = true,
            Event::WriteTook { conn, took } => {
                let slowest = &mut self.conns[conn].slowest;
                *slowest = (*slowest).max(took);
            }
            Event::StoreCall { .. } | Event::Crashed { .. } => {}
        }
    }
}

impl Log {
    fn add(&mut self, now: Moment, mut record: Record) {
        let version = match &mut record.change {
            Change::Message { versions, .. } => {
                versions.iter_mut().for_each(|(at, _)| *at = now);
                None
            }
            Change::Edit { target, content, .. } => Some((*target, Some(content.clone()))),
            Change::Delete { target, .. } => Some((*target, None)),
        };
        self.records.push(record);
        if let Some((target, said)) = version
            && let Some(Record {
                change: Change::Message { versions, .. },
                ..
            }) = self.records.get_mut(target as usize - 1)
        {
            versions.push((now, said));
        }
    }
}

impl Conn {
    /// When the request was sent that this frame answers.
    pub(crate) fn asked(&self, frame: &Frame) -> Moment {
        let request = frame.answers().and_then(|id| self.requests.get(&id));
        request.map_or(self.opened, |request| request.sent)
    }

    /// What the hub took and didn't answer yet.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Request> {
        let requests = self.requests.values();
        requests.filter(|request| request.read.is_some() && request.answered.is_none())
    }

    /// How the join began that this frame answers.
    pub(crate) fn start_of(&self, frame: &Frame) -> Start {
        match frame.answers().and_then(|id| self.requests.get(&id)) {
            Some(Request {
                ask: Ask::Join(start), ..
            }) => start.clone(),
            _ => self.start.clone(),
        }
    }

    fn take(&mut self, frame: &Frame) {
        if self.plain {
            self.plain_last = frame.seq;
            return;
        }
        match frame.t.as_str() {
            "hello" => {
                for room in &frame.rooms {
                    self.join(room, self.start.clone(), self.opened);
                }
            }
            "joined" => self.join(frame, self.start_of(frame), self.asked(frame)),
            "left" => {
                self.rooms.remove(&frame.room_id);
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

    fn join(&mut self, room: &Frame, start: Start, asked: Moment) {
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
        };
        self.rooms.insert(room.room_id.clone(), joined);
    }
}
