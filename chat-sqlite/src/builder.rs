//! The settings of a store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{Clock, StoreError, SystemClock, Timestamp};

use crate::SqliteStore;

/// When a commit is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Each commit waits for the disk: what is acknowledged survives a loss of power.
    #[default]
    Full,
    /// Commits don't wait for the disk: a loss of power may take the last ones, a crash of the process doesn't.
    Normal,
}

/// How much of each room is kept. The oldest entries go first, a while after the bound is passed: a room holds at most
/// an eighth more than its bound, or 256 entries more, and what is written within a few milliseconds.
///
/// What is removed is given out no more. Its rows are overwritten in the file; its words, without their order, may stay
/// there until the index is next merged, which happens now and then while nothing else is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// About how many entries a room keeps, at least 1; `None` for any number.
    pub max_entries: Option<u64>,
    /// How long entries are kept, by the time at which they were accepted; `None` for ever. An entry stays as long as
    /// an older one of its room does. What time it is says [`Builder::clock`].
    pub max_age: Option<Duration>,
}

/// A clock, of which there is nothing to show.
#[derive(Clone)]
pub(crate) struct OwnClock(Arc<dyn Clock>);

impl OwnClock {
    pub(crate) fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl fmt::Debug for OwnClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How a store is opened: [`SqliteStore::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) path: PathBuf,
    pub(crate) synchronous: Synchronous,
    pub(crate) retention: Retention,
    pub(crate) clock: OwnClock,
    pub(crate) queue: usize,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_page_count: Option<u32>,
}

impl Builder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            synchronous: Synchronous::default(),
            retention: Retention::default(),
            clock: OwnClock(Arc::new(SystemClock)),
            queue: 1024,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            max_page_count: None,
        }
    }

    /// When a commit is safe; [`Synchronous::Full`] by default.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How much of each room is kept; everything by default.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The clock by which entries grow old; the system's by default. A hub with a clock of its own needs a store with the
    /// same: entries are stamped by the one, and compared with the other.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = OwnClock(Arc::new(clock));
        self
    }

    /// How many writes, reads of a row, reads of a page and searches may wait for a thread, each, before callers wait to
    /// queue; 1024 by default, at least 1.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls.max(1);
        self
    }

    /// How many threads read; 2 by default, at least 1. One more is for searches, which take turns.
    #[must_use]
    pub fn readers(mut self, threads: usize) -> Self {
        self.readers = threads.max(1);
        self
    }

    /// How long to wait for another process that has locked the file; 5 seconds by default. After that the call is
    /// [`Unavailable`](roomcast_core::StoreErrorKind::Unavailable).
    #[must_use]
    pub fn busy_timeout(mut self, time: Duration) -> Self {
        self.busy_timeout = time;
        self
    }

    /// Makes the file full at this many pages; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn max_page_count(mut self, pages: u32) -> Self {
        self.max_page_count = Some(pages);
        self
    }

    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// [`Refused`](roomcast_core::StoreErrorKind::Refused) if the file can't be used: it belongs to another application
    /// or a newer version, is damaged, or access is denied; also if the path is none of a file: empty, `:memory:`, or an
    /// address that begins with `file:`. [`Unavailable`](roomcast_core::StoreErrorKind::Unavailable)
    /// if another process keeps it locked.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        SqliteStore::start(self).await
    }
}
