//! The store: hands calls to its parts.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageSearch, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};

use crate::append::{self, Heads};
use crate::builder::Builder;
use crate::database::Database;
use crate::error::closed;
use crate::retention::Sweeper;
use crate::room;

/// A [`MessageStore`] on MongoDB. Any number of them, in one process or on many machines, may use one database.
///
/// Every method may be dropped at any `.await`. An append that is dropped may still be carried out by the
/// server, as a whole or up to some entry.
pub struct MongoStore {
    /// `None` once closed.
    open: Mutex<Option<Arc<Open>>>,
    /// Removes old entries, until the store is closed or dropped.
    sweeper: tokio::sync::Mutex<Option<Sweeper>>,
    search: bool,
}

struct Open {
    database: Arc<Database>,
    heads: Heads,
    /// Told which rooms have grown, where that matters.
    grown: Option<Arc<crate::retention::Grown>>,
}

impl MongoStore {
    /// Connects to the database that the address names (`mongodb://HOST/DB`), with the default settings.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub async fn connect(uri: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(uri).connect().await
    }

    /// Settings for a store at this address: a [connection string] of MongoDB.
    ///
    /// [connection string]: https://www.mongodb.com/docs/manual/reference/connection-string/
    #[must_use]
    pub fn builder(uri: impl Into<String>) -> Builder {
        Builder::new(uri.into())
    }

    /// A bus for one hub, by change streams: so that hubs on other machines, each with a store on this database and a bus of its own,
    /// hear of entries at once. It shares the store's connections, of which it keeps one busy, and ends with the store. Any
    /// number may be made.
    ///
    /// # Errors
    ///
    /// [`Refused`](roomcast_core::StoreErrorKind::Refused) if the server stands alone, since only a replica set has change
    /// streams; if access to them is denied; or if the store is closed.
    /// [`Unavailable`](roomcast_core::StoreErrorKind::Unavailable) if no server answers.
    #[cfg(feature = "change-streams")]
    pub async fn bus(&self) -> Result<crate::MongoBus, StoreError> {
        let database = self.open()?.database.clone();
        crate::MongoBus::start(database).await
    }

    pub(crate) async fn start(settings: Builder) -> Result<Self, StoreError> {
        let database = Arc::new(Database::connect(&settings).await?);
        let sweeper = Sweeper::start(&database, &settings);
        Ok(Self {
            open: Mutex::new(Some(Arc::new(Open {
                database,
                heads: Heads::new(settings.retention_grace),
                grown: sweeper.as_ref().map(Sweeper::grown),
            }))),
            sweeper: tokio::sync::Mutex::new(sweeper),
            search: settings.search,
        })
    }

    fn open(&self) -> Result<Arc<Open>, StoreError> {
        self.open.lock().clone().ok_or_else(closed)
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl MessageStore for MongoStore {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.open()?.database.head(room).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        let open = self.open()?;
        let now = Instant::now();
        let head = open.database.create(room, &epoch).await?;
        open.heads.put(room, head.clone(), now);
        Ok(head)
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        let rooms = room::list(&self.open()?.database, after, limit).await?;
        Ok(rooms.into_iter().map(|(id, head)| RoomInfo { id, head }).collect())
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        let open = self.open()?;
        let appended = append::append(&open.database, &open.heads, room, expected_head, entries).await?;
        if let Some(grown) = open.grown.as_ref().filter(|_| appended.head > expected_head) {
            grown.note(room);
        }
        Ok(appended)
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.open()?.database.log(room, after, limit).await
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.open()?.database.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.open()?.database.message(room, id).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.open()?.database.sent(room, user, nonce).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.open()?.database.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let open = self.open.lock().take();
        if let Some(sweeper) = self.sweeper.lock().await.as_mut() {
            sweeper.stop().await;
        }
        if let Some(open) = open {
            // Calls that are under way go on; the driver waits for none of them.
            open.database.client.clone().shutdown().immediate(true).await;
        }
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        self.search.then_some(self)
    }
}

#[async_trait]
impl MessageSearch for MongoStore {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.open()?.database.search(room, query, before, limit).await
    }
}
