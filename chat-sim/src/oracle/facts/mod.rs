//! What is true: the logs as the store has them, and where each connection stands as its client sees it.

mod conn;
mod log;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConnId, Event};
use crate::bus::BusFault;
use crate::tally::Tally;
pub(crate) use conn::{Conn, Roster, Start};
pub(crate) use log::{Change, Log, Record, Said, Text};
pub(crate) use request::{Answer, Ask, Call, Request};

/// A moment: two events at the same time still come one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) at: Duration,
}

/// A client that takes at once what it is sent keeps nobody waiting for longer.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(300);

#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) now: Moment,
    pub(crate) logs: BTreeMap<String, Log>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) calls: Vec<Call>,
    pub(crate) hubs: Vec<Hub>,
    pub(crate) tally: Tally,
    levels: BTreeMap<(String, String), Vec<(Moment, Level)>>,
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
    pub(crate) crashed: bool,
    /// When its store last failed it.
    pub(crate) fault: Moment,
    /// How many calls of the embedding server it has under way.
    pub(crate) calls: usize,
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

    /// Whether the user didn't have this level in the room at some moment since then.
    pub(crate) fn lacked(&self, user: &str, room: &str, level: Level, since: Moment) -> bool {
        let changes = self.levels.get(&(user.to_owned(), room.to_owned()));
        changes.is_none_or(|changes| {
            changes
                .iter()
                .enumerate()
                .any(|(n, (_, had))| *had < level && changes.get(n + 1).is_none_or(|(until, _)| *until > since))
        })
    }

    fn count(&mut self, event: &Event<'_>) {
        let tally = &mut self.tally;
        tally.events += 1;
        match event {
            Event::Committed { .. } => tally.entries += 1,
            Event::Opening { .. } => tally.connections += 1,
            Event::Served { socket: true, .. } => tally.sockets += 1,
            Event::Asked { .. } | Event::Kicked { .. } => tally.calls += 1,
            Event::StoreFault { .. } => tally.store_faults += 1,
            Event::Noticed { .. } => tally.notices += 1,
            Event::BusFault { what, .. } => match what {
                BusFault::Lost => tally.notices_lost += 1,
                BusFault::Repeated => tally.notices_repeated += 1,
                BusFault::Delayed => tally.notices_delayed += 1,
                BusFault::Mangled => tally.notices_mangled += 1,
                BusFault::Cut => tally.cuts += 1,
                BusFault::Healed => {}
            },
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
                if log.epoch.is_empty() {
                    log.changed = now;
                }
                log.epoch = epoch.to_owned();
            }
            Event::Committed { room, record, .. } => {
                if let Some(log) = self.logs.get_mut(room) {
                    log.add(now, record.clone());
                }
            }
            Event::Trimmed { room, floor } => {
                if let Some(log) = self.logs.get_mut(room)
                    && log.floor != floor
                {
                    log.floor = floor;
                    log.changed = now;
                }
            }
            Event::Started { .. } => self.hubs.push(Hub::default()),
            Event::Opening {
                user,
                plain,
                hub,
                room,
                start,
                presence,
                expires,
            } => self.conns.push(Conn {
                user: user.to_owned(),
                plain,
                hub,
                opened: now,
                room: room.to_owned(),
                start: start.clone(),
                presence,
                rooms: BTreeMap::new(),
                requests: BTreeMap::new(),
                plain_last: 0,
                code: None,
                bye: false,
                socket: false,
                served: None,
                handed: Moment::default(),
                expires,
                kicked: None,
                provoked: BTreeMap::new(),
                slowest: Duration::ZERO,
                dawdled: None,
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
            Event::Served { conn, socket } => {
                self.conns[conn].served = Some(now);
                self.conns[conn].socket = socket;
            }
            Event::Handed { conn, .. } => self.conns[conn].handed = now,
            Event::Provoked { conn, codes } => {
                for code in codes {
                    self.conns[conn].provoked.entry(*code).or_insert(now);
                }
            }
            Event::Kicked { hub, user } | Event::SentAway { hub, user } => {
                let theirs = |conn: &&mut Conn| conn.open && conn.hub == hub && conn.user == user;
                for conn in self.conns.iter_mut().filter(theirs) {
                    conn.kicked.get_or_insert(now);
                }
            }
            Event::Asked { call } => {
                self.hubs[call.hub].calls += 1;
                self.calls.push(Call {
                    asked: now,
                    ..call.clone()
                });
            }
            Event::Told { call, .. } => {
                let hub = self.calls[call].hub;
                self.hubs[hub].calls -= 1;
            }
            Event::Wrote { conn, frame } => {
                self.conns[conn].bye |= frame.t == "bye";
                let answered = frame.answers().and_then(|id| self.conns[conn].requests.get_mut(&id));
                if let Some(request) = answered {
                    request.answered = Some(now);
                }
            }
            Event::Closing { conn, code } => self.conns[conn].code = Some(code),
            Event::Received { conn, frame } => self.conns[conn].take(frame, now),
            Event::Ended { conn } => self.conns[conn].open = false,
            Event::Level { user, room, level } => {
                let changes = self.levels.entry((user.to_owned(), room.to_owned())).or_default();
                changes.push((now, level));
            }
            Event::StoreFault { hub } => self.hubs[hub].fault = now,
            Event::Draining { hub } => self.hubs[hub].draining = Some(now),
            Event::Crashed { hub } => self.hubs[hub].crashed = true,
            Event::Drained { hub, .. } => self.hubs[hub].drained = true,
            Event::WriteTook { conn, took } => {
                let conn = &mut self.conns[conn];
                conn.slowest = conn.slowest.max(took);
                if took >= A_MOMENT {
                    conn.dawdled = Some(now);
                }
            }
            Event::StoreCall { .. }
            | Event::BusIsGood
            | Event::Announced { .. }
            | Event::Noticed { .. }
            | Event::BusFault { .. }
            | Event::Closed { .. }
            | Event::Bytes { .. }
            | Event::Garbled { .. }
            | Event::Appending { .. }
            | Event::Held { .. } => {}
        }
    }
}
