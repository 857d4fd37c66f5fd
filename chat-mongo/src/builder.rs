//! The settings of a store.

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{Clock, StoreError, SystemClock};

use crate::MongoStore;

/// When an entry is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Once a majority of the replica set has it in its journals (`w: "majority", j: true`): it survives the loss of any
    /// minority, and a change of the primary. On a server that stands alone: once it is in its journal.
    #[default]
    Majority,
    /// Once the primary has it in its journal (`w: 1, j: true`): it survives a crash of the primary, but may be lost, and have
    /// been seen, if another server becomes primary without having got it.
    Primary,
}

/// How much of each room is kept. The oldest entries go first; what is removed is removed for good, a while after the
/// bound is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// About how many entries a room keeps, at least 1; `None` for any number.
    pub max_entries: Option<u64>,
    /// How long entries are kept, by the time at which they were accepted; `None` for ever. An entry stays as long as
    /// an older one of its room does. What time it is says [`Builder::clock`].
    pub max_age: Option<Duration>,
}

/// How a store is opened: [`MongoStore::builder`].
#[derive(Clone)]
pub struct Builder {
    pub(crate) uri: String,
    pub(crate) database: Option<String>,
    pub(crate) rooms: String,
    pub(crate) entries: String,
    pub(crate) durability: Durability,
    pub(crate) operation_timeout: Duration,
    pub(crate) max_pool_size: Option<u32>,
    pub(crate) min_pool_size: Option<u32>,
    pub(crate) retention: Retention,
    pub(crate) retention_grace: Duration,
    pub(crate) search: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Without the address: it may hold a password.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("database", &self.database)
            .field("rooms", &self.rooms)
            .field("entries", &self.entries)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(uri: String) -> Self {
        Self {
            uri,
            database: None,
            rooms: "roomcast_rooms".to_owned(),
            entries: "roomcast_entries".to_owned(),
            durability: Durability::default(),
            operation_timeout: Duration::from_secs(5),
            max_pool_size: None,
            min_pool_size: None,
            retention: Retention::default(),
            retention_grace: Duration::from_secs(60),
            search: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// The database; by default the one that the address names, or else `roomcast`.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// The collection of rooms; `roomcast_rooms` by default.
    #[must_use]
    pub fn rooms_collection(mut self, name: impl Into<String>) -> Self {
        self.rooms = name.into();
        self
    }

    /// The collection of entries; `roomcast_entries` by default.
    #[must_use]
    pub fn entries_collection(mut self, name: impl Into<String>) -> Self {
        self.entries = name.into();
        self
    }

    /// When an entry is acknowledged; [`Durability::Majority`] by default. A write concern in the address is not used.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long one operation on the server may take, and how long a server is looked for; 5 seconds by default. Keep it
    /// below [`Limits::commit`](roomcast_core::Limits::commit).
    #[must_use]
    pub fn operation_timeout(mut self, time: Duration) -> Self {
        self.operation_timeout = time;
        self
    }

    /// How many connections to each server at most; by default what the address says, or else the driver's own default.
    #[must_use]
    pub fn max_pool_size(mut self, connections: u32) -> Self {
        self.max_pool_size = Some(connections);
        self
    }

    /// How many connections to each server are kept ready; by default what the address says, or else none.
    #[must_use]
    pub fn min_pool_size(mut self, connections: u32) -> Self {
        self.min_pool_size = Some(connections);
        self
    }

    /// How much of each room is kept; everything by default. All servers on one database should have the same bounds.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// How long entries that retention removed stay in the collection, where nobody reads them any more; 60 seconds by
    /// default. Their places must stay taken until no writer can be left that doesn't know of them: keep it several times
    /// longer than [`operation_timeout`](Self::operation_timeout) and than the longest pause of a server process.
    #[must_use]
    pub fn retention_grace(mut self, time: Duration) -> Self {
        self.retention_grace = time;
        self
    }

    /// Whether messages can be searched; `false` by default, since it has its price: each word of a message is an entry of
    /// an index, which makes appends several times slower once a room gets thousands of messages a second. Messages that
    /// were stored without it aren't found later.
    #[must_use]
    pub fn search(mut self, search: bool) -> Self {
        self.search = search;
        self
    }

    /// The clock that says how old entries are; the system's by default. It must be the one that the hub stamps
    /// them with, if that has another.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects, and makes the indexes that aren't there yet.
    ///
    /// # Errors
    ///
    /// [`Refused`](roomcast_core::StoreErrorKind::Refused) if the address or a name is none, access is denied, or the
    /// collections are used otherwise. [`Unavailable`](roomcast_core::StoreErrorKind::Unavailable) if no server answers.
    pub async fn connect(self) -> Result<MongoStore, StoreError> {
        MongoStore::start(self).await
    }
}
