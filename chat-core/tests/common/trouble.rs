//! A store in memory that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageStore, NewEntry,
    PageLimit, RoomHead, RoomId, RoomInfo, StoreError, StoreErrorKind,
};

/// A store with switches.
#[derive(Default)]
pub struct Troubled {
    store: MemoryStore,
    /// The next append panics.
    pub append_panics: AtomicBool,
    /// Appends never answer.
    pub append_hangs: AtomicBool,
    /// Appends take so many milliseconds.
    pub append_ms: AtomicU64,
    /// Reads of the log, and of history, fail.
    pub reads_fail: AtomicBool,
    /// Reads of the log take so many milliseconds.
    pub read_ms: AtomicU64,
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

#[async_trait]
impl MessageStore for Troubled {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.store.room(room).await
    }
    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.store.create_room(room, epoch).await
    }
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.store.rooms(after, limit).await
    }
    async fn append(&self, room: &RoomId, head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        assert!(!self.append_panics.swap(false, SeqCst), "a store that panics");
        if self.append_hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(self.append_ms.load(SeqCst))).await;
        self.store.append(room, head, entries).await
    }
    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.read()?;
        let page = self.store.log(room, after, limit).await;
        tokio::time::sleep(Duration::from_millis(self.read_ms.load(SeqCst))).await;
        page
    }
    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.read()?;
        self.store.history(room, range, limit).await
    }
    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.store.message(room, id).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
