//! A store in memory whose answers can be held back, and come in any order.

use std::collections::HashMap;

use parking_lot::Mutex;
use proptest::sample::Index;
use tokio::sync::oneshot;

use super::room;
use crate::{
    Appended, Entry, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageStore,
    NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId, async_trait,
};

#[derive(Default)]
pub(super) struct Gate {
    store: MemoryStore,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    hold: bool,
    calls: Vec<oneshot::Sender<()>>,
}

impl Gate {
    pub(super) fn hold(&self, hold: bool) {
        self.held.lock().hold = hold;
    }

    pub(super) fn release(&self, index: Index) {
        let calls = &mut self.held.lock().calls;
        if !calls.is_empty() {
            // Nobody may be there any more.
            let _ = calls.swap_remove(index.index(calls.len())).send(());
        }
    }

    /// Nothing is held back any more.
    pub(super) fn open(&self) {
        *self.held.lock() = Held::default();
    }

    async fn pass(&self) {
        let held = {
            let mut held = self.held.lock();
            let (call, answer) = oneshot::channel();
            held.hold.then(|| {
                held.calls.push(call);
                answer
            })
        };
        if let Some(held) = held {
            // Dropped, when all are let go.
            let _ = held.await;
        }
    }

    /// All entries of all rooms.
    pub(super) async fn logs(&self) -> HashMap<String, Vec<Entry>> {
        let mut logs = HashMap::new();
        for at in 0..3 {
            let page = self.store.log(&room(at), 0, PageLimit::entries(10_000)).await.unwrap();
            logs.insert(room(at).to_string(), page.entries);
        }
        logs
    }
}

#[async_trait]
impl MessageStore for Gate {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.pass().await;
        self.store.room(room).await
    }

    async fn create_room(&self, room: &RoomId, _: Epoch) -> Result<RoomHead, StoreError> {
        self.pass().await;
        self.store.create_room(room, Epoch::new("e").unwrap()).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.store.rooms(after, limit).await
    }

    async fn append(&self, room: &RoomId, head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.pass().await;
        let appended = self.store.append(room, head, entries).await;
        self.pass().await;
        appended
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.pass().await;
        let page = self.store.log(room, after, limit).await;
        self.pass().await;
        page
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.pass().await;
        self.store.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.pass().await;
        self.store.message(room, id).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.pass().await;
        self.store.sent(room, user, nonce).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
