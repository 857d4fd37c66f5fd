//! A right store whose retention takes its time: between any two readings it removes one more entry. The checks of
//! retention must take that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, MemoryStore, Message, MessageId, MessageSearch, MessageStore,
    NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, UserId,
};
use roomcast_testkit::store::{self, Check};
use roomcast_testkit::{StoreHarness, async_trait, run};

/// Only the room `r` grows long enough for anything to be removed.
struct Creeping {
    inner: MemoryStore,
    keep: u64,
    floor: AtomicU64,
}

impl Creeping {
    /// The room as it is, after one more entry was removed.
    async fn creep(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        let Some(mut head) = self.inner.room(room).await? else {
            return Ok(None);
        };
        if room.as_str() == "r" && head.head >= 100 {
            let floor = self.floor.load(Ordering::Relaxed);
            // The first half at once, as a sweep might, so that the check goes on while the rest creeps away.
            head.floor = (floor + 1).max(head.head / 2).min(head.head.saturating_sub(self.keep));
            self.floor.store(head.floor, Ordering::Relaxed);
        }
        Ok(Some(head))
    }
}

#[async_trait]
impl MessageStore for Creeping {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.creep(room).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        self.inner.create_room(room, epoch).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        let mut infos = self.inner.rooms(after, limit).await?;
        for info in &mut infos {
            info.head.floor = self.creep(&info.id).await?.map_or(0, |head| head.floor);
        }
        Ok(infos)
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.inner.append(room, expected_head, entries).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let floor = self.creep(room).await?.map_or(0, |head| head.floor);
        let mut page = self.inner.log(room, after.max(floor), limit).await?;
        page.floor = floor;
        Ok(page)
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.inner.history(room, range, limit).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let floor = self.creep(room).await?.map_or(0, |head| head.floor);
        let message = self.inner.message(room, id).await?;
        Ok(message.filter(|message| message.seq > floor))
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        let floor = self.creep(room).await?.map_or(0, |head| head.floor);
        Ok(self
            .inner
            .sent(room, user, nonce)
            .await?
            .filter(|sent| sent.seq > floor))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(()) // It is opened again.
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        Some(self)
    }
}

#[async_trait]
impl MessageSearch for Creeping {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let floor = self.creep(room).await?.map_or(0, |head| head.floor);
        let search = MessageStore::search(&self.inner).expect("the store in memory can search");
        let mut page = search.search(room, query, before, limit).await?;
        page.messages.retain(|message| message.seq > floor);
        Ok(page)
    }
}

struct Harness(Arc<Creeping>);

impl Harness {
    fn new() -> Self {
        Self(Arc::new(Creeping {
            inner: MemoryStore::new(),
            keep: 20,
            floor: AtomicU64::new(0),
        }))
    }
}

#[async_trait]
impl StoreHarness for Harness {
    async fn open(&self) -> Arc<dyn MessageStore> {
        unreachable!("the checks of retention open a store with a bound")
    }

    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        Some(self.0.clone())
    }

    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
        assert_eq!(entries as u64, self.0.keep);
        Some(self.0.clone())
    }
}

/// The interleaving: the floor is read, an entry is removed, and the log is read, which begins one entry later.
#[test]
fn entries_may_go_between_two_readings() {
    let checks: [Check; 3] = [
        |harness| Box::pin(store::retention_removes_the_oldest(harness)),
        |harness| Box::pin(store::the_floor_outlives_a_restart(harness)),
        |harness| Box::pin(store::search_forgets_what_retention_removed(harness)),
    ];
    for check in checks {
        run(Harness::new, check);
    }
}
