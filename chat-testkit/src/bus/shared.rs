//! A store that several hubs share, in one process.

use std::sync::Arc;

use async_trait::async_trait;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageSearch, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};

/// A handle of a store whose [`close`](MessageStore::close) leaves the store open, for the other hubs that have a handle.
#[derive(Clone)]
pub struct SharedStore(Arc<dyn MessageStore>);

impl SharedStore {
    /// A first handle; clone it for the others.
    #[must_use]
    pub fn new(store: impl MessageStore) -> Self {
        Self(Arc::new(store))
    }
}

#[async_trait]
impl MessageStore for SharedStore {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.0.room(room).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.0.create_room(room, epoch).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.0.rooms(after, limit).await
    }

    async fn append(&self, room: &RoomId, expected: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.0.append(room, expected, entries).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.0.log(room, after, limit).await
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.0.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.0.message(room, id).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.0.sent(room, user, nonce).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.0.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        self.0.search()
    }
}
