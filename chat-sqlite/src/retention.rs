//! Removes the oldest entries of rooms, a bounded number at a time. Runs between the writer's commits, so that it keeps
//! nobody waiting for long.

use std::collections::BTreeSet;
use std::time::Duration;

use roomcast_core::{Clock, StoreError, SystemClock};
use rusqlite::{Connection, TransactionBehavior};

use crate::append::{run, unwritten};
use crate::builder::Retention;
use crate::read::query;
use crate::row;
use crate::words::{Changes, Removal};

/// The most entries that one run removes.
const ENTRIES_PER_RUN: usize = 1000;
/// The most rooms that one run looks at.
const ROOMS_PER_RUN: usize = 256;

/// What is to be looked at.
#[derive(Debug)]
pub(crate) struct Sweep {
    retention: Retention,
    /// The names of rooms that may have grown too long.
    grown: BTreeSet<String>,
    /// How far the walk through all rooms has come; `None` if it isn't under way.
    walk: Option<i64>,
}

impl Sweep {
    /// Begins with a walk: the bounds may be other ones than the last time.
    pub(crate) fn new(retention: Retention) -> Self {
        let mut sweep = Self {
            retention,
            grown: BTreeSet::new(),
            walk: None,
        };
        sweep.walk_all();
        sweep
    }

    /// How often to look at all rooms: age comes without any write.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let age = self.retention.max_age?;
        Some((age / 10).clamp(Duration::from_millis(100), Duration::from_secs(60)))
    }

    pub(crate) fn walk_all(&mut self) {
        if self.retention.max_entries.is_some() || self.retention.max_age.is_some() {
            self.walk.get_or_insert(0);
        }
    }

    /// The room got new entries.
    pub(crate) fn grew(&mut self, room: &str) {
        if self.retention.max_entries.is_some() && !self.grown.contains(room) {
            self.grown.insert(room.to_owned());
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.walk.is_some() || !self.grown.is_empty()
    }

    /// Does a bounded piece of the work. After a failure, what was to be done waits for the next occasion.
    pub(crate) fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let rooms = self.next_rooms(connection)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(unwritten)?;
        let mut left = ENTRIES_PER_RUN;
        let (mut done, mut walk) = (Vec::new(), self.walk);
        let mut index = Changes::default();
        for room in &rooms {
            left -= trim(&transaction, room.key, self.retention, left, &mut index)?;
            if left == 0 {
                break; // This room may have more: it is looked at again.
            }
            match &room.name {
                Some(name) => done.push(name),
                None => walk = Some(room.key),
            }
        }
        index.apply(&transaction, Removal::Note)?;
        transaction.commit().map_err(unwritten)?;
        for name in done {
            self.grown.remove(name);
        }
        let walked = rooms.iter().filter(|room| room.name.is_none()).count();
        self.walk = if left > 0 && walked < ROOMS_PER_RUN { None } else { walk };
        Ok(())
    }

    /// Gives up until there is a new reason, so that a store that can't be written isn't asked all the time.
    pub(crate) fn rest(&mut self) {
        self.grown.clear();
        self.walk = None;
    }

    fn next_rooms(&self, connection: &Connection) -> Result<Vec<Next>, StoreError> {
        let mut rooms = Vec::new();
        for name in self.grown.iter().take(ROOMS_PER_RUN) {
            let sql = "SELECT key FROM rooms WHERE id = ?1";
            let key = query(connection, sql, [name], |rows| {
                rows.next().map_err(unwritten)?.map(|row| row::get(row, 0)).transpose()
            })?;
            if let Some(key) = key {
                let name = Some(name.clone());
                rooms.push(Next { key, name });
            }
        }
        if let Some(after) = self.walk {
            let sql = "SELECT key FROM rooms WHERE key > ?1 ORDER BY key LIMIT ?2";
            query(connection, sql, (after, ROOMS_PER_RUN), |found| {
                while let Some(row) = found.next().map_err(unwritten)? {
                    let key = row::get(row, 0)?;
                    rooms.push(Next { key, name: None });
                }
                Ok(())
            })?;
        }
        Ok(rooms)
    }
}

/// A room to look at: with its name if it has grown, without if the walk has come to it.
struct Next {
    key: i64,
    name: Option<String>,
}

/// Removes at most `most` of the room's oldest entries and tells how many.
fn trim(
    connection: &Connection,
    room: i64,
    retention: Retention,
    most: usize,
    index: &mut Changes,
) -> Result<usize, StoreError> {
    let sql = "SELECT head, floor FROM rooms WHERE key = ?1";
    let (head, floor): (i64, i64) = query(connection, sql, [room], |rows| {
        rows.next()
            .map_err(unwritten)?
            .map_or(Ok((0, 0)), |row| Ok((row::get(row, 0)?, row::get(row, 1)?)))
    })?;
    let by_count = match retention.max_entries {
        Some(keep) => {
            let excess = (head - floor).saturating_sub(row::seq(keep.max(1)));
            // Some at a time, so that not every commit is followed by another one.
            let slack = row::seq((keep / 8).clamp(1, 256));
            if excess >= slack { excess } else { 0 }
        }
        None => 0,
    };
    let by_age = match retention.max_age {
        Some(age) => too_old(connection, room, floor, SystemClock.now().minus(age).as_millis(), most)?,
        None => 0,
    };
    let count = by_count.max(by_age).min(row::seq(most as u64));
    if count == 0 {
        return Ok(0);
    }
    let last = floor + count;
    let sql = "SELECT key, content FROM entries WHERE room = ?1 AND seq <= ?2 AND content IS NOT NULL";
    query(connection, sql, (room, last), |rows| {
        while let Some(row) = rows.next().map_err(unwritten)? {
            index.change(row::get(row, 0)?, room, Some(&row::get::<String>(row, 1)?), None);
        }
        Ok(())
    })?;
    run(
        connection,
        "DELETE FROM entries WHERE room = ?1 AND seq <= ?2",
        (room, last),
    )?;
    run(connection, "UPDATE rooms SET floor = ?2 WHERE key = ?1", (room, last))?;
    Ok(usize::try_from(count).unwrap_or(most))
}

/// How many of the oldest entries are from before `cutoff`, counted up to `most`.
fn too_old(connection: &Connection, room: i64, floor: i64, cutoff: i64, most: usize) -> Result<i64, StoreError> {
    let sql = "SELECT at FROM entries WHERE room = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    query(connection, sql, (room, floor, most), |rows| {
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
