//! A store that refuses one text.

use async_trait::async_trait;
use roomcast_core::{
    Appended, Change, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageStore,
    NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, StoreErrorKind, UserId,
};

pub struct Picky {
    store: MemoryStore,
    refused: &'static str,
}

impl Picky {
    pub fn new(refused: &'static str) -> Self {
        let store = MemoryStore::new();
        Self { store, refused }
    }
}

#[async_trait]
impl MessageStore for Picky {
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
        let is_refused = |entry: &NewEntry| matches!(&entry.change, Change::Message { content: Some(content), .. } if content == self.refused);
        if entries.iter().any(is_refused) {
            return Err(StoreError::new(StoreErrorKind::Refused, "an entry can't be kept"));
        }
        // Slow enough for a batch to gather.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        self.store.append(room, head, entries).await
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
        self.store.close().await
    }
}
