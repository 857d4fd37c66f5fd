//! A store that several hubs share, in one process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageSearch, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};

/// A handle of a store whose [`close`](MessageStore::close) leaves the store open, for the other hubs that have a handle.
#[derive(Clone)]
pub struct SharedStore {
    store: Arc<dyn MessageStore>,
    /// How long an append takes before it begins.
    pause: Duration,
    closes: bool,
}

impl SharedStore {
    /// A first handle; clone it for the others.
    #[must_use]
    pub fn new(store: impl MessageStore) -> Self {
        Self {
            store: Arc::new(store),
            pause: Duration::ZERO,
            closes: false,
        }
    }

    /// The only handle of a store, which it makes slow: each append takes so much longer.
    pub(super) fn slow(store: Arc<dyn MessageStore>, pause: Duration) -> Self {
        Self {
            store,
            pause,
            closes: true,
        }
    }
}

#[async_trait]
impl MessageStore for SharedStore {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.store.room(room).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.store.create_room(room, epoch).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.store.rooms(after, limit).await
    }

    async fn append(&self, room: &RoomId, expected: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        self.store.append(room, expected, entries).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.store.log(room, after, limit).await
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
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
        if self.closes {
            return self.store.close().await;
        }
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        self.store.search()
    }
}
