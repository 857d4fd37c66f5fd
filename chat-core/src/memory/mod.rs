//! A store in memory: the reference of the contract, for tests, demonstrations and rooms that may be forgotten.

mod log;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use self::log::Log;
use crate::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageSearch, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, StoreErrorKind, UserId,
};

/// A [`MessageStore`] that keeps the rooms' logs in memory. They are gone when it is dropped or closed.
///
/// Each room keeps its last 10,000 entries, or as many as [`with_retention`](Self::with_retention) says; the number of
/// rooms isn't bounded. No method ever waits: each future is ready at its first poll.
///
/// ```
/// # use roomcast_core::{Epoch, MemoryStore, MessageStore, RoomId};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::with_retention(500);
/// let lobby = store.create_room(&RoomId::new("lobby")?, Epoch::new("e1")?).await?;
/// assert_eq!((lobby.head, lobby.floor), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    /// `None` once closed.
    rooms: RwLock<Option<Rooms>>,
    keep: usize,
}

/// The rooms by name, and their names in order. A log has its own lock, so that rooms don't wait for one another.
#[derive(Debug, Default)]
struct Rooms {
    logs: HashMap<RoomId, Arc<Mutex<Log>>>,
    names: BTreeSet<RoomId>,
}

impl MemoryStore {
    /// How many entries a room keeps unless told otherwise.
    pub const DEFAULT_RETENTION: usize = 10_000;

    /// An empty store that keeps the last [`DEFAULT_RETENTION`](Self::DEFAULT_RETENTION) entries of each room.
    #[must_use]
    pub fn new() -> Self {
        Self::with_retention(Self::DEFAULT_RETENTION)
    }

    /// An empty store that keeps the last `entries` entries of each room, at least 1.
    #[must_use]
    pub fn with_retention(entries: usize) -> Self {
        Self {
            rooms: RwLock::new(Some(Rooms::default())),
            keep: entries.max(1),
        }
    }

    /// The room's log; `None` if the room doesn't exist.
    fn find(&self, room: &RoomId) -> Result<Option<Arc<Mutex<Log>>>, StoreError> {
        let rooms = self.rooms.read();
        Ok(rooms.as_ref().ok_or_else(closed)?.logs.get(room).cloned())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the store is closed")
}

#[async_trait]
impl MessageStore for MemoryStore {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        Ok(self.find(room)?.map(|log| log.lock().place()))
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        if let Some(log) = self.find(room)? {
            return Ok(log.lock().place());
        }
        let mut rooms = self.rooms.write();
        let rooms = rooms.as_mut().ok_or_else(closed)?;
        rooms.names.insert(room.clone());
        let log = rooms
            .logs
            .entry(room.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Log::new(room.clone(), epoch))));
        Ok(log.lock().place())
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        let rooms = self.rooms.read();
        let rooms = rooms.as_ref().ok_or_else(closed)?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(rooms
            .names
            .range::<RoomId, _>((start, Bound::Unbounded))
            .take(limit)
            .map(|id| RoomInfo {
                id: id.clone(),
                head: rooms.logs[id].lock().place(),
            })
            .collect())
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        let log = self
            .find(room)?
            .ok_or_else(|| StoreError::new(StoreErrorKind::Refused, format!("there is no room {room}")))?;
        log.lock().append(expected_head, entries, self.keep)
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        Ok(match self.find(room)? {
            Some(log) => log.lock().page(after, limit),
            None => LogPage {
                entries: Vec::new(),
                floor: 0,
                head: 0,
            },
        })
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        Ok(match self.find(room)? {
            Some(log) => log.lock().history(range, limit),
            None => HistoryPage {
                messages: Vec::new(),
                more: false,
            },
        })
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(self.find(room)?.and_then(|log| log.lock().message(id).cloned()))
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        Ok(self.find(room)?.and_then(|log| log.lock().sent(user, nonce)))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.rooms.read().as_ref().map(|_| ()).ok_or_else(closed)
    }

    async fn close(&self) -> Result<(), StoreError> {
        // Taken out under the lock, freed after it.
        let rooms = self.rooms.write().take();
        drop(rooms);
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        Some(self)
    }
}

#[async_trait]
impl MessageSearch for MemoryStore {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        Ok(match self.find(room)? {
            Some(log) => log.lock().search(query, before, limit),
            None => HistoryPage {
                messages: Vec::new(),
                more: false,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Entry, Fingerprint, Timestamp, User};

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn entry(id: u128, change: Change) -> NewEntry {
        NewEntry {
            id: MessageId::from_u128(id),
            user: User::named("ann").unwrap(),
            at: Timestamp::from_millis(id as i64),
            change,
        }
    }

    fn text(id: u128, nonce: Option<&str>) -> NewEntry {
        let change = Change::Message {
            content: Some(format!("message {id}")),
            data: None,
            reply_to: None,
            nonce: nonce.map(|nonce| (Nonce::new(nonce).unwrap(), Fingerprint::from_u128(id))),
        };
        entry(id, change)
    }

    async fn store(keep: usize) -> MemoryStore {
        let store = MemoryStore::with_retention(keep);
        store.create_room(&room(), Epoch::new("e").unwrap()).await.unwrap();
        store
    }

    #[tokio::test]
    async fn retention_takes_the_oldest_with_their_ids_and_nonces() {
        let store = store(2).await;
        let entries: Vec<_> = (1..=5).map(|id| text(id, Some(&id.to_string()))).collect();
        store.append(&room(), 0, &entries).await.unwrap();
        let page = store.log(&room(), 0, PageLimit::entries(9)).await.unwrap();
        assert_eq!((page.floor, page.head), (3, 5));
        assert_eq!(page.entries.iter().map(Entry::seq).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(store.message(&room(), MessageId::from_u128(3)).await.unwrap(), None);
        let log = store.find(&room()).unwrap().unwrap();
        let log = log.lock();
        assert_eq!(log.remembered(), (2, 2));
    }

    #[tokio::test]
    async fn an_edit_outlives_its_message_without_its_content() {
        let store = store(1).await;
        let edit = Change::Edit {
            message: MessageId::from_u128(1),
            content: "changed".into(),
        };
        store
            .append(&room(), 0, &[text(1, None), entry(2, edit)])
            .await
            .unwrap();
        let page = store.log(&room(), 0, PageLimit::entries(9)).await.unwrap();
        assert!(matches!(&page.entries[..], [Entry::Edit(edit)] if edit.target == 1 && edit.content.is_none()));
    }

    #[tokio::test]
    async fn closing_lets_go_of_everything() {
        let store = store(1).await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.health().await.unwrap_err().kind(), StoreErrorKind::Refused);
        assert!(store.rooms.read().is_none());
    }
}
