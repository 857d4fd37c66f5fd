//! A store in memory that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, StoreErrorKind, UserId,
};

/// A store with switches.
#[derive(Default)]
pub struct Troubled {
    pub store: MemoryStore,
    /// The next append panics.
    pub append_panics: AtomicBool,
    /// Appends never answer.
    pub append_hangs: AtomicBool,
    /// Appends store what they are given, and never answer.
    pub append_loses_its_answer: AtomicBool,
    /// The next append has no known outcome, and is stored when the one after it has failed.
    pub append_is_late: AtomicBool,
    pub late: Mutex<Vec<NewEntry>>,
    /// Appends are refused.
    pub append_refuses: AtomicBool,
    /// Another writer takes the place first.
    pub append_loses_the_race: AtomicBool,
    rivals: AtomicU64,
    /// How many appends were tried.
    pub appends: AtomicUsize,
    /// Appends take so many milliseconds.
    pub append_ms: AtomicU64,
    /// Reads of the log, and of history, fail.
    pub reads_fail: AtomicBool,
    /// Reads of the log never answer.
    pub reads_hang: AtomicBool,
    /// Reads of the log take so many milliseconds.
    pub read_ms: AtomicU64,
    /// The next look at a room's head panics.
    pub room_panics: AtomicBool,
    /// A look at a room's head takes so many milliseconds.
    pub room_ms: AtomicU64,
    /// How many entries were read of logs.
    pub entries_read: AtomicUsize,
    /// The store never closes.
    pub close_hangs: AtomicBool,
}

impl Troubled {
    pub fn new(store: MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            store,
            ..Self::default()
        })
    }

    fn read(&self) -> Result<(), StoreError> {
        match self.reads_fail.load(SeqCst) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "down")),
            false => Ok(()),
        }
    }
}

async fn pause(ms: &AtomicU64) {
    match ms.load(SeqCst) {
        0 => {}
        ms => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
}

#[async_trait]
impl MessageStore for Troubled {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        assert!(!self.room_panics.swap(false, SeqCst), "a store that panics");
        pause(&self.room_ms).await;
        self.store.room(room).await
    }
    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.store.create_room(room, epoch).await
    }
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.store.rooms(after, limit).await
    }
    async fn append(&self, room: &RoomId, head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.appends.fetch_add(1, SeqCst);
        assert!(!self.append_panics.swap(false, SeqCst), "a store that panics");
        pause(&self.append_ms).await;
        if self.append_is_late.swap(false, SeqCst) {
            *self.late.lock() = entries.to_vec();
            return Err(StoreError::new(
                StoreErrorKind::OutcomeUnknown,
                "the connection is lost",
            ));
        }
        let late = std::mem::take(&mut *self.late.lock());
        if !late.is_empty() {
            self.store.append(room, head, &late).await?;
            return Err(StoreError::new(StoreErrorKind::Unavailable, "down"));
        }
        if self.append_refuses.load(SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Refused, "no"));
        }
        if self.append_loses_its_answer.load(SeqCst) {
            self.store.append(room, head, entries).await?;
            std::future::pending::<()>().await;
        }
        if self.append_hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.append_loses_the_race.load(SeqCst) {
            let mut rival = entries[0].clone();
            rival.id = MessageId::from_u128(self.rivals.fetch_add(1, SeqCst).into());
            let now = self.store.room(room).await?.expect("the room exists").head;
            self.store.append(room, now, &[rival]).await?;
        }
        self.store.append(room, head, entries).await
    }
    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.read()?;
        if self.reads_hang.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        let page = self.store.log(room, after, limit).await?;
        self.entries_read.fetch_add(page.entries.len(), SeqCst);
        pause(&self.read_ms).await;
        Ok(page)
    }
    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.read()?;
        self.store.history(room, range, limit).await
    }
    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.store.message(room, id).await
    }
    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.store.sent(room, user, nonce).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        if self.close_hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        self.store.close().await
    }
}
