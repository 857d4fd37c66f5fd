//! Removes the oldest entries of rooms, between the writer's commits.
//!
//! Its pace: while no call waits, [`SLICE`] at a time. While calls wait it takes a fifth of the time at most, unless what
//! it owes has grown too much: then it removes a little more than was added, however long that takes, so that the bounds
//! hold at any speed of writing.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use roomcast_core::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use crate::append::{run, unwritten};
use crate::builder::{OwnClock, Retention};
use crate::error::Chain;
use crate::keys;
use crate::read::query;
use crate::row;
use crate::shared::Shared;
use crate::words::{Changes, Removal, merge};

/// For how long one run removes, about.
const SLICE: Duration = Duration::from_millis(5);
/// How long no call must have come for the time to count as nobody's.
const IDLE: Duration = Duration::from_millis(1);
/// How long to wait after a run while calls wait, in multiples of how long the run took.
const REST: u32 = 4;
/// How many entries may be owed before a run doesn't care for the time.
const OWED: usize = 256;
/// The most entries that are removed before the time is looked at.
const ENTRIES_AT_ONCE: usize = 64;
/// The most rooms that are looked for at once.
const ROOMS_AT_ONCE: usize = 256;
/// After how many removals the index is merged, at least.
const NOTED: u64 = 64;
/// The wait after a failure; it doubles with each further one, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Rooms whose age has come. Idle rooms cost nothing.
pub(crate) const OLD: &str = "SELECT key FROM rooms WHERE oldest < ?1 ORDER BY oldest LIMIT ?2";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Sweep {
    retention: Retention,
    clock: OwnClock,
    /// The rooms that may hold too much, in turn.
    rooms: VecDeque<Room>,
    /// The keys of those.
    known: HashSet<i64>,
    /// How far the walk through all rooms has come; `None` if it isn't under way.
    walk: Option<i64>,
    /// When to look for old entries.
    look: Option<Instant>,
    /// How many entries were added to rooms that hold too much, and not yet made up for.
    owed: usize,
    /// When the last run ended, and how long it took.
    last: Option<(Instant, Duration)>,
    /// Until when to wait after a failure, and how long the next wait is.
    paused: Option<Instant>,
    pause: Duration,
    /// How many removals the index has only noted.
    noted: u64,
    purge: Purge,
}

/// Whether the index is being merged, to forget what it has only noted as removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purge {
    No,
    /// It may be worth it.
    Consider,
    Begin,
    GoOn,
}

#[derive(Debug, Clone, Copy)]
struct Room {
    key: i64,
    /// Whether removing has begun: then it goes on down to the bound.
    begun: bool,
}

impl Sweep {
    /// Begins with a walk: the bound may be another one than the last time.
    pub(crate) fn new(retention: Retention, clock: OwnClock) -> Self {
        Self {
            retention,
            clock,
            rooms: VecDeque::new(),
            known: HashSet::new(),
            walk: retention.max_entries.map(|_| 0),
            look: retention.max_age.map(|_| Instant::now()),
            owed: 0,
            last: None,
            paused: None,
            pause: PAUSE.0,
            noted: 0,
            purge: Purge::No,
        }
    }

    /// A room got `added` entries and now holds `kept`.
    pub(crate) fn grew(&mut self, room: i64, kept: u64, added: usize) {
        if self.excess(kept, false) > 0 {
            self.push(room);
            self.owed = self.owed.saturating_add(added);
        }
    }

    /// How long to wait for a call before the next run; `None` for any time.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let due = self.is_due() || self.purge != Purge::No;
        let next = if due { Some(now + IDLE) } else { self.look };
        let next = match self.paused {
            Some(until) => next.map(|next| next.max(until)),
            None => next,
        };
        next.map(|next| next.saturating_duration_since(now))
    }

    fn is_due(&self) -> bool {
        self.walk.is_some() || !self.rooms.is_empty()
    }

    /// Does a piece of the work, if it is time: `idle` says that no call waits. What fails is tried again later.
    pub(crate) fn run(&mut self, shared: &Shared, connection: &mut Connection, idle: bool) {
        let begun = Instant::now();
        if self.paused.is_some_and(|until| begun < until) {
            return;
        }
        let rested = self
            .last
            .is_none_or(|(end, took)| begun.duration_since(end) >= took.max(SLICE) * REST);
        if !(idle || rested || self.owed >= OWED) {
            return;
        }
        match shared.check_place().and_then(|()| self.work(connection, idle, begun)) {
            Ok(false) => {}
            Ok(true) => {
                let end = Instant::now();
                self.last = Some((end, end.duration_since(begun)));
                (self.paused, self.pause) = (None, PAUSE.0);
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), wait = ?self.pause, "old entries can't be removed now");
                self.paused = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE.1);
            }
        }
    }

    /// Tells whether there was anything to do.
    fn work(&mut self, connection: &mut Connection, idle: bool, begun: Instant) -> Result<bool, StoreError> {
        self.look_for_old(connection, begun)?;
        let walked = self.walk(connection)?;
        if self.rooms.is_empty() {
            self.owed = 0;
            return Ok(walked || (idle && self.purge(connection, begun)?));
        }
        self.remove(connection, begun)?;
        Ok(true)
    }

    /// Goes on with the walk that compares all rooms with the bound.
    fn walk(&mut self, connection: &Connection) -> Result<bool, StoreError> {
        let Some(after) = self.walk else { return Ok(false) };
        let sql = "SELECT key, head - floor FROM rooms WHERE key > ?1 ORDER BY key LIMIT ?2";
        let mut found: Vec<(i64, u64)> = Vec::new();
        query(connection, sql, (after, ROOMS_AT_ONCE), |rows| {
            while let Some(row) = rows.next().map_err(unwritten)? {
                found.push((row::get(row, 0)?, row::get(row, 1)?));
            }
            Ok(())
        })?;
        self.walk = found
            .last()
            .filter(|_| found.len() == ROOMS_AT_ONCE)
            .map(|(key, _)| *key);
        for (key, kept) in found {
            if self.excess(kept, false) > 0 {
                self.push(key);
            }
        }
        Ok(true)
    }

    fn look_for_old(&mut self, connection: &Connection, now: Instant) -> Result<(), StoreError> {
        let Some(age) = self.retention.max_age else {
            return Ok(());
        };
        if self.look.is_some_and(|at| now < at) {
            return Ok(());
        }
        let mut found = 0;
        query(connection, OLD, (self.cutoff(age), ROOMS_AT_ONCE), |rows| {
            while let Some(row) = rows.next().map_err(unwritten)? {
                let key = row::get(row, 0)?;
                found += 1;
                if self.known.insert(key) {
                    self.rooms.push_back(Room { key, begun: false });
                }
            }
            Ok(())
        })?;
        // Those that were found come first, before more are looked for.
        let interval = if found == ROOMS_AT_ONCE {
            SLICE
        } else {
            (age / 10).clamp(Duration::from_millis(100), Duration::from_secs(60))
        };
        self.look = Some(now + interval);
        Ok(())
    }

    /// Removes from the rooms in turn until the time is over and nothing is owed.
    fn remove(&mut self, connection: &mut Connection, begun: Instant) -> Result<(), StoreError> {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(unwritten)?;
        // A little more than was added, so that it gets less.
        let owed = self.owed + self.owed / 4;
        let (mut removed, mut index, mut done) = (0, Changes::default(), Vec::new());
        let mut turn = self.rooms.clone();
        while let Some(mut room) = turn.pop_front() {
            let count = self.trim(&transaction, room, &mut index)?;
            removed += count;
            if count < ENTRIES_AT_ONCE {
                done.push(room.key);
            } else {
                room.begun = true;
                // Several times in a row: going from room to room costs more.
                if removed % (ENTRIES_AT_ONCE * 4) == 0 {
                    turn.push_back(room);
                } else {
                    turn.push_front(room);
                }
            }
            if removed >= owed && begun.elapsed() >= SLICE {
                break;
            }
        }
        index.apply(&transaction, Removal::Note)?;
        transaction.commit().map_err(unwritten)?;
        self.rooms = turn;
        for key in done {
            self.known.remove(&key);
        }
        self.owed = self.owed.saturating_sub(removed);
        self.noted += removed as u64;
        if self.noted >= NOTED && self.purge == Purge::No {
            self.purge = Purge::Consider;
        }
        Ok(())
    }

    /// Removes some of the room's oldest entries, if there are too many or too old ones, and tells how many.
    fn trim(&self, connection: &Connection, room: Room, index: &mut Changes) -> Result<usize, StoreError> {
        let sql = "SELECT head, floor FROM rooms WHERE key = ?1";
        let (head, floor): (i64, i64) = query(connection, sql, [room.key], |rows| {
            rows.next()
                .map_err(unwritten)?
                .map_or(Ok((0, 0)), |row| Ok((row::get(row, 0)?, row::get(row, 1)?)))
        })?;
        let kept = u64::try_from(head - floor).unwrap_or(0);
        let count = self.excess(kept, room.begun).min(ENTRIES_AT_ONCE as u64);
        let mut count = usize::try_from(count).unwrap_or(ENTRIES_AT_ONCE);
        if let Some(age) = self.retention.max_age
            && count < ENTRIES_AT_ONCE
        {
            count = count.max(too_old(connection, room.key, floor, self.cutoff(age))?);
        }
        if count == 0 {
            return Ok(0);
        }
        let last = floor + row::seq(count as u64);
        let sql = "SELECT key, content FROM entries WHERE room = ?1 AND seq <= ?2 AND content IS NOT NULL";
        query(connection, sql, (room.key, last), |rows| {
            while let Some(row) = rows.next().map_err(unwritten)? {
                let content: String = row::get(row, 1)?;
                index.change(row::get(row, 0)?, room.key, Some(&content), None);
            }
            Ok(())
        })?;
        keys::remember(connection, room.key, last)?;
        let sql = "DELETE FROM entries WHERE room = ?1 AND seq <= ?2";
        run(connection, sql, (room.key, last))?;
        let sql = "UPDATE rooms SET floor = ?2, oldest = (SELECT at FROM entries WHERE room = ?1 AND seq = ?2 + 1) \
                   WHERE key = ?1";
        run(connection, sql, (room.key, last))?;
        Ok(count)
    }

    /// How many entries are too many. Some at a time, so that not every commit is followed by a removal.
    fn excess(&self, kept: u64, begun: bool) -> u64 {
        let Some(keep) = self.retention.max_entries else {
            return 0;
        };
        let excess = kept.saturating_sub(keep.max(1));
        let slack = if begun { 1 } else { (keep / 8).clamp(1, 256) };
        if excess >= slack { excess } else { 0 }
    }

    fn cutoff(&self, age: Duration) -> i64 {
        self.clock.now().minus(age).as_millis()
    }

    fn push(&mut self, key: i64) {
        if self.known.insert(key) {
            self.rooms.push_back(Room { key, begun: false });
        }
    }

    /// Has the index forget what it has only noted as removed, by merging its trees into one. That writes the whole index
    /// anew, so it is done once a quarter of it is to be forgotten, about, and a piece at a time.
    fn purge(&mut self, connection: &mut Connection, begun: Instant) -> Result<bool, StoreError> {
        if self.purge == Purge::No {
            return Ok(false);
        }
        if self.purge == Purge::Consider {
            let sql = "SELECT coalesce((SELECT max(key) FROM entries) - (SELECT min(key) FROM entries), 0)";
            let kept: u64 = query(connection, sql, [], |rows| {
                let row = rows.next().map_err(unwritten)?;
                row.map_or(Ok(0), |row| row::get(row, 0))
            })?;
            let worth = self.noted >= kept / 4;
            self.purge = if worth { Purge::Begin } else { Purge::No };
            return Ok(true);
        }
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(unwritten)?;
        let (mut next, mut noted) = (self.purge, self.noted);
        while next != Purge::No && begun.elapsed() < SLICE {
            if next == Purge::Begin {
                noted = 0;
            }
            let more = merge(&transaction, next == Purge::Begin)?;
            next = if more { Purge::GoOn } else { Purge::No };
        }
        transaction.commit().map_err(unwritten)?;
        (self.purge, self.noted) = (next, noted);
        Ok(true)
    }
}

/// How many of the oldest entries are from before `cutoff`, counted up to what is removed at once.
fn too_old(connection: &Connection, room: i64, floor: i64, cutoff: i64) -> Result<usize, StoreError> {
    let sql = "SELECT at FROM entries WHERE room = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    query(connection, sql, (room, floor, ENTRIES_AT_ONCE), |rows| {
        let mut count = 0;
        while let Some(row) = rows.next().map_err(unwritten)? {
            if row::get::<i64>(row, 0)? >= cutoff {
                break;
            }
            count += 1;
        }
        Ok(count)
    })
}
