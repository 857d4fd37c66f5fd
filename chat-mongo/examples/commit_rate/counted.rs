//! A store that counts what it is asked.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageStore, NewEntry, Nonce, PageLimit,
    RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};

/// Passes everything on.
pub(crate) struct Counted<S> {
    inner: S,
    counts: Counts,
}

/// How often each method was called.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl Counts {
    fn count(&self, method: &'static str) {
        let mut counts = self.0.lock();
        match counts.iter_mut().find(|(name, _)| *name == method) {
            Some((_, count)) => *count += 1,
            None => counts.push((method, 1)),
        }
    }

    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn told(&self) -> String {
        let counts = self.0.lock();
        let sum: u64 = counts.iter().map(|(_, count)| count).sum();
        let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!("{sum} times ({})", each.join(", "))
    }
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S) -> Self {
        let counts = Counts::default();
        Self { inner, counts }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }
}

#[async_trait]
impl<S: MessageStore> MessageStore for Counted<S> {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.counts.count("room");
        self.inner.room(room).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.counts.count("create_room");
        self.inner.create_room(room, epoch).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.counts.count("rooms");
        self.inner.rooms(after, limit).await
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.counts.count("append");
        self.inner.append(room, expected_head, entries).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.counts.count("log");
        self.inner.log(room, after, limit).await
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.counts.count("history");
        self.inner.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.counts.count("message");
        self.inner.message(room, id).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.counts.count("sent");
        self.inner.sent(room, user, nonce).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
