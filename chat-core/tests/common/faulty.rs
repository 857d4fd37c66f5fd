//! A store in memory with switches for what a real one does only now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageStore, NewEntry,
    PageLimit, RoomHead, RoomId, RoomInfo, StoreError, StoreErrorKind,
};

/// What the next appends do.
#[derive(Debug, Clone, Copy)]
pub enum Append {
    AsItIs,
    PanicOnce,
    StoreAndNeverAnswer,
    NeverAnswer,
    RefuseAll,
    /// Another writer takes the place first.
    LoseTheRace,
}

#[derive(Default)]
pub struct Switches {
    append: AtomicUsize,
    pub append_ms: AtomicU64,
    pub log_fails: AtomicBool,
    pub log_hangs: AtomicBool,
    pub log_ms: AtomicU64,
    pub log_entries: AtomicUsize,
    pub history_fails: AtomicBool,
    pub close_hangs: AtomicBool,
    rivals: AtomicU64,
}

impl Switches {
    pub fn append(&self, append: Append) {
        self.append.store(append as usize, SeqCst);
    }
}

pub struct Faulty {
    store: Arc<MemoryStore>,
    switches: Arc<Switches>,
}

/// The store with its switches, and the same store without.
pub fn faulty(store: MemoryStore) -> (Faulty, Arc<MemoryStore>, Arc<Switches>) {
    let (store, switches) = (Arc::new(store), Arc::new(Switches::default()));
    let faulty = Faulty {
        store: store.clone(),
        switches: switches.clone(),
    };
    (faulty, store, switches)
}

async fn pause(ms: &AtomicU64) {
    match ms.load(SeqCst) {
        0 => {}
        ms => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
}

fn down() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the store is down")
}

#[async_trait]
impl MessageStore for Faulty {
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
        pause(&self.switches.append_ms).await;
        let is = |append: Append| self.switches.append.load(SeqCst) == append as usize;
        if is(Append::PanicOnce) {
            self.switches.append(Append::AsItIs);
            panic!("a store that panics");
        }
        if is(Append::RefuseAll) {
            return Err(StoreError::new(StoreErrorKind::Refused, "no"));
        }
        if is(Append::StoreAndNeverAnswer) {
            self.store.append(room, head, entries).await?;
        }
        if is(Append::StoreAndNeverAnswer) || is(Append::NeverAnswer) {
            return std::future::pending().await;
        }
        if is(Append::LoseTheRace) {
            let mut rival = entries[0].clone();
            rival.id = MessageId::from_u128(self.switches.rivals.fetch_add(1, SeqCst).into());
            let now = self.store.room(room).await?.expect("the room exists").head;
            self.store.append(room, now, &[rival]).await?;
        }
        self.store.append(room, head, entries).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        if self.switches.log_fails.load(SeqCst) {
            return Err(down());
        }
        if self.switches.log_hangs.load(SeqCst) {
            return std::future::pending().await;
        }
        let page = self.store.log(room, after, limit).await?;
        self.switches.log_entries.fetch_add(page.entries.len(), SeqCst);
        pause(&self.switches.log_ms).await;
        Ok(page)
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        if self.switches.history_fails.load(SeqCst) {
            return Err(down());
        }
        self.store.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.store.message(room, id).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.store.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        if self.switches.close_hangs.load(SeqCst) {
            return std::future::pending().await;
        }
        self.store.close().await
    }
}
