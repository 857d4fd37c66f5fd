//! Empties the write-ahead log after a deletion or an edit: what was said before stands there until it is overwritten,
//! which may take for ever in a quiet store.

use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How long after a deletion, so that several share one: it costs as much as the checkpoints that come anyway with every
/// thousand pages.
const WAIT: Duration = Duration::from_secs(1);
/// How long to wait for a moment when no call waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long no call must have come for such a moment.
const IDLE: Duration = Duration::from_millis(1);
/// How long readers may keep the log from being emptied, and writers waiting.
const LOCK: Duration = Duration::from_millis(20);

/// Whether the log is to be emptied.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// When it was first written to that something be deleted or edited.
    since: Option<Instant>,
    /// When to try.
    due: Instant,
    busy_timeout: Duration,
}

impl Checkpoint {
    pub(crate) fn new(busy_timeout: Duration) -> Self {
        Self {
            since: None,
            due: Instant::now(),
            busy_timeout,
        }
    }

    /// A commit deleted or edited something.
    pub(crate) fn note(&mut self, now: Instant) {
        if self.since.is_none() {
            (self.since, self.due) = (Some(now), now + WAIT);
        }
    }

    /// How long to wait for a call before the next attempt; `None` for any time.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        self.since?;
        Some(self.due.saturating_duration_since(now).max(IDLE))
    }

    /// Empties the log if it is time; `idle` says that no call waits.
    pub(crate) fn run(&mut self, connection: &Connection, idle: bool) {
        let now = Instant::now();
        let Some(since) = self.since else { return };
        if now < self.due || !(idle || now.duration_since(since) >= PATIENCE) {
            return;
        }
        match self.empty(connection) {
            Ok(true) => self.since = None,
            Ok(false) => self.due = Instant::now() + WAIT,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log can't be emptied now");
                self.due = Instant::now() + PATIENCE * 2;
            }
        }
    }

    /// Tells whether nobody was in the way: readers that see an older moment, or another process that writes.
    fn empty(&self, connection: &Connection) -> rusqlite::Result<bool> {
        connection.busy_timeout(LOCK)?;
        let result = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        connection.busy_timeout(self.busy_timeout)?;
        result.map(|busy: i64| busy == 0)
    }
}
