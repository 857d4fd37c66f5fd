//! The rooms whose presence is somebody's concern.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::room::{Room, Tick};
use super::tell::Tell;
use super::{Presence, RETURN, Rules};
use crate::sync::Mutex;
use crate::{Bytes, Limits, MessageId, RoomId, User};

/// The rooms whose presence is somebody's concern, and when there is something to do in them.
///
/// Where a log's lock is held as well, that one was taken first: so a room's users are counted exactly, whenever the counting
/// begins.
#[derive(Debug)]
pub(crate) struct Registry {
    rules: Rules,
    random: AtomicU64,
    book: Mutex<Book>,
    /// How many rooms there are: while there are none, coming and going costs nothing.
    rooms: AtomicUsize,
    /// Told when something is due earlier than before.
    wake: Notify,
    /// Whether the task was started.
    begun: AtomicBool,
}

#[derive(Debug, Default)]
struct Book {
    rooms: HashMap<RoomId, Entry>,
    agenda: BTreeSet<(Instant, RoomId)>,
    /// The highest number that was told in a room that is nobody's concern any more.
    no: u64,
    draining: bool,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    /// Where it stands in the agenda.
    due: Option<Instant>,
}

impl Registry {
    pub(crate) fn new(limits: &Limits, bus: bool, seed: u64) -> Self {
        Self {
            rules: Rules {
                users: limits.presence_users,
                heartbeat: limits.presence_heartbeat,
                bus,
            },
            random: AtomicU64::new(seed),
            book: Mutex::default(),
            rooms: AtomicUsize::new(0),
            wake: Notify::new(),
            begun: AtomicBool::new(false),
        }
    }

    /// Whether no room is anybody's concern.
    fn is_idle(&self) -> bool {
        self.rooms.load(Ordering::Relaxed) == 0
    }

    /// Whether the task is to be started.
    pub(super) fn begin(&self) -> bool {
        !self.is_idle() && !self.begun.load(Ordering::Relaxed) && !self.begun.swap(true, Ordering::Relaxed)
    }

    /// How long what is told and asked lasts.
    pub(super) fn lasts(&self) -> Duration {
        self.rules.lasts()
    }

    /// A connection of this user came into the room, whose log is locked and has these users now. With `asks` it wants to be
    /// told; `listens` says whether notices of other hubs about the room get here by now.
    pub(crate) fn attached<'a>(
        &self,
        id: &RoomId,
        user: &User,
        asks: Option<Listens>,
        all: impl Iterator<Item = &'a User>,
    ) {
        if asks.is_none() && self.is_idle() {
            return;
        }
        let now = Instant::now();
        let mut book = self.book.lock();
        if book.rooms.contains_key(id) {
            self.change(&mut book, id, |room| room.came(user));
        } else if asks.is_some() {
            self.insert(&mut book, id, now, all);
        }
        if let Some(Listens(listens)) = asks {
            self.change(&mut book, id, |room| room.watch(listens, now));
        }
    }

    /// A connection of this user left the room, whose log is locked.
    pub(crate) fn detached(&self, id: &RoomId, user: &User, asked: bool) {
        if self.is_idle() {
            return;
        }
        self.change(&mut self.book.lock(), id, |room| {
            room.left(user.id());
            if asked {
                room.unwatch();
            }
        });
    }

    /// Another hub wants to know who is in the room, whose log is locked and has these users.
    pub(crate) fn asked<'a>(
        &self,
        id: &RoomId,
        (lasts, at_once): (Duration, bool),
        all: impl Iterator<Item = &'a User>,
    ) {
        let now = Instant::now();
        let mut book = self.book.lock();
        self.insert(&mut book, id, now, all);
        self.change(&mut book, id, |room| room.asked(lasts, at_once, now));
    }

    /// The embedding server wants to know who is in the room, whose log is locked and has these users. True if nobody here did
    /// before.
    pub(crate) fn hold<'a>(&self, id: &RoomId, Listens(listens): Listens, all: impl Iterator<Item = &'a User>) -> bool {
        let now = Instant::now();
        let until = now + self.rules.lasts();
        let mut book = self.book.lock();
        self.insert(&mut book, id, now, all);
        let before = book.rooms.get(id).is_none_or(|entry| entry.room.is_watched());
        self.change(&mut book, id, |room| room.hold(until, listens, now));
        !before
    }

    /// Another hub tells who is in the room.
    pub(crate) fn heard(&self, from: MessageId, id: &RoomId, tell: &Tell) {
        if self.is_idle() {
            return;
        }
        let now = Instant::now();
        self.change(&mut self.book.lock(), id, |room| room.hear(from, tell, now));
    }

    /// Whether somebody here wants to know who is in the room.
    pub(crate) fn is_watched(&self, id: &RoomId) -> bool {
        !self.is_idle()
            && self
                .book
                .lock()
                .rooms
                .get(id)
                .is_some_and(|entry| entry.room.is_watched())
    }

    /// Notices of other hubs about the room get here from now on.
    pub(crate) fn listens(&self, id: &RoomId) {
        if !self.is_idle() {
            let now = Instant::now();
            self.change(&mut self.book.lock(), id, |room| room.listens(now));
        }
    }

    /// Notices of other hubs may have been lost.
    pub(crate) fn missed(&self) {
        let mut ids: Vec<_> = self.book.lock().rooms.keys().cloned().collect();
        ids.sort_unstable();
        ids.iter().for_each(|id| self.listens(id));
    }

    /// What a member of the room is to be told next who was told this version; see [`View::next_frame`](super::view::View).
    pub(crate) fn next_frame(&self, id: &RoomId, version: u64) -> Option<(Bytes, u64)> {
        self.book.lock().rooms.get_mut(id)?.room.next_frame(id, version)
    }

    pub(super) fn look(&self, id: &RoomId, now: Instant) -> Result<Presence, Option<Instant>> {
        let book = self.book.lock();
        book.rooms.get(id).ok_or(None)?.room.look(now)
    }

    /// The hub stops, and its clients are told to come back within this time: what is to be told to other hubs, the last that
    /// they hear.
    pub(crate) fn drain(&self, back: Duration) -> Vec<(RoomId, Tell)> {
        let now = Instant::now();
        let mut book = self.book.lock();
        book.draining = true;
        book.agenda.clear();
        self.rooms.store(0, Ordering::Relaxed);
        let rooms = std::mem::take(&mut book.rooms);
        drop(book);
        let mut goodbyes: Vec<_> = rooms
            .into_iter()
            .filter_map(|(id, mut entry)| Some((id, entry.room.goodbye(back + RETURN, now)?)))
            .collect();
        goodbyes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        goodbyes
    }

    /// Ready when [`tick`](Self::tick) has something to do.
    pub(super) async fn is_due(&self) {
        loop {
            let first = self.book.lock().agenda.first().map(|(due, _)| *due);
            match first {
                None => self.wake.notified().await,
                Some(due) if due <= Instant::now() => return,
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, self.wake.notified()).await;
                }
            }
        }
    }

    /// Does what is due in one room.
    pub(super) fn tick(&self, now: Instant) -> Option<(RoomId, Tick)> {
        let mut book = self.book.lock();
        let (due, id) = book.agenda.pop_first()?;
        if due > now {
            book.agenda.insert((due, id));
            return None;
        }
        let chance = crate::hub::part(&self.random);
        let entry = book.rooms.get_mut(&id)?;
        entry.due = None;
        let tick = entry.room.tick(&id, now, chance);
        if tick.over {
            let no = entry.room.no();
            book.no = book.no.max(no);
            book.rooms.remove(&id);
            self.rooms.store(book.rooms.len(), Ordering::Relaxed);
        } else {
            self.change(&mut book, &id, |_| {});
        }
        Some((id, tick))
    }

    fn insert<'a>(&self, book: &mut Book, id: &RoomId, now: Instant, all: impl Iterator<Item = &'a User>) {
        if book.draining || book.rooms.contains_key(id) {
            return;
        }
        let room = Room::new(self.rules, all, book.no, now);
        book.rooms.insert(id.clone(), Entry { room, due: None });
        self.rooms.store(book.rooms.len(), Ordering::Relaxed);
    }

    /// Changes something about the room, if it is somebody's concern, and has it done in time what there is to do then.
    fn change(&self, book: &mut Book, id: &RoomId, change: impl FnOnce(&mut Room)) {
        let Some(entry) = book.rooms.get_mut(id) else { return };
        change(&mut entry.room);
        let due = entry.room.due();
        let before = std::mem::replace(&mut entry.due, due);
        if before == due {
            return;
        }
        if let Some(before) = before {
            book.agenda.remove(&(before, id.clone()));
        }
        if let Some(due) = due {
            let first = book.agenda.first().is_none_or(|(first, _)| due < *first);
            book.agenda.insert((due, id.clone()));
            if first {
                self.wake.notify_one();
            }
        }
    }
}

/// Whether notices of other hubs about a room get here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listens(pub(crate) bool);
