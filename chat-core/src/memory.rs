//! A store in memory: the reference of the contract, for tests, demonstrations and rooms that may be forgotten.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use crate::{
    Appended, Change, Deletion, Edit, Entry, Epoch, Fingerprint, HistoryPage, HistoryRange, JsonObject, LogPage,
    MAX_SEQ, Message, MessageId, MessageSearch, MessageStore, NewEntry, Nonce, Outcome, PageLimit, RoomHead, RoomId,
    RoomInfo, Sent, StoreError, StoreErrorKind, Timestamp, User, UserId, search_words,
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
        let Some(log) = self.find(room)? else { return Ok(None) };
        let log = log.lock();
        Ok(log.messages.get(&id).and_then(|seq| log.said(*seq)).cloned())
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        let Some(log) = self.find(room)? else { return Ok(None) };
        let log = log.lock();
        let seq = log.nonces.get(&(user.clone(), nonce.clone()));
        Ok(seq.and_then(|seq| log.sent(*seq)))
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
        let wanted: Vec<String> = search_words(query).collect();
        let mut page = HistoryPage {
            messages: Vec::new(),
            more: false,
        };
        let Some(log) = self.find(room)? else { return Ok(page) };
        if wanted.is_empty() {
            return Ok(page);
        }
        let log = log.lock();
        let newest = log.index_of(before.unwrap_or(u64::MAX));
        for message in log.entries.range(..newest).rev().filter_map(Slot::message) {
            let Some(content) = &message.content else { continue };
            let said: Vec<String> = search_words(content).collect();
            if wanted.iter().all(|word| said.contains(word)) {
                if page.messages.len() == limit {
                    page.more = true;
                    break;
                }
                page.messages.push(message.clone());
            }
        }
        Ok(page)
    }
}

/// One room's log.
#[derive(Debug)]
struct Log {
    room: RoomId,
    epoch: Epoch,
    floor: u64,
    /// The entries `floor + 1 ..= head`.
    entries: VecDeque<Slot>,
    /// Where each message stands that the log holds.
    messages: HashMap<MessageId, u64>,
    /// Where the message of each nonce stands.
    nonces: HashMap<(UserId, Nonce), u64>,
}

/// An entry as it is kept. What a message says is kept in one place, its own, so that a deletion can't miss a copy.
#[derive(Debug)]
enum Slot {
    Message(Message, Option<(Nonce, Fingerprint)>),
    Edit(About),
    Delete(About),
}

/// An edit or deletion.
#[derive(Debug)]
struct About {
    id: MessageId,
    message: MessageId,
    target: u64,
    user: User,
    at: Timestamp,
}

impl Slot {
    fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message, _) => Some(message),
            Self::Edit(_) | Self::Delete(_) => None,
        }
    }
}

impl Log {
    fn new(room: RoomId, epoch: Epoch) -> Self {
        Self {
            room,
            epoch,
            floor: 0,
            entries: VecDeque::new(),
            messages: HashMap::new(),
            nonces: HashMap::new(),
        }
    }

    fn head(&self) -> u64 {
        self.floor + self.entries.len() as u64
    }

    fn place(&self) -> RoomHead {
        RoomHead {
            epoch: self.epoch.clone(),
            head: self.head(),
            floor: self.floor,
        }
    }

    /// Where in the deque the entry of this seq is, or the nearest end of the deque.
    fn index_of(&self, seq: u64) -> usize {
        let index = seq.saturating_sub(self.floor).saturating_sub(1);
        usize::try_from(index).map_or(self.entries.len(), |index| index.min(self.entries.len()))
    }

    /// The message at this place, if the log holds it.
    fn said(&self, seq: u64) -> Option<&Message> {
        let index = usize::try_from(seq.checked_sub(self.floor)?.checked_sub(1)?).ok()?;
        self.entries.get(index)?.message()
    }

    fn append(&mut self, expected_head: u64, entries: &[NewEntry], keep: usize) -> Result<Appended, StoreError> {
        let mut outcomes = Vec::new();
        if self.head() == expected_head {
            if entries.len() as u64 > MAX_SEQ - expected_head {
                return Err(StoreError::new(StoreErrorKind::Refused, "the room's log is full"));
            }
            outcomes.reserve_exact(entries.len());
            outcomes.extend(entries.iter().map(|entry| self.add(entry)));
            self.trim(keep);
        }
        Ok(Appended {
            outcomes,
            head: self.head(),
        })
    }

    fn add(&mut self, entry: &NewEntry) -> Outcome {
        let seq = self.head() + 1;
        match &entry.change {
            Change::Message {
                content,
                data,
                reply_to,
                nonce,
            } => {
                if let Some((nonce, fingerprint)) = nonce {
                    // One look-up for both, the search and the entry: most nonces are new.
                    let known = *self
                        .nonces
                        .entry((entry.user.id().clone(), nonce.clone()))
                        .or_insert(seq);
                    if known != seq {
                        return self.repeated(known, *fingerprint);
                    }
                }
                let mut message = Message::new(entry.id, self.room.clone(), seq, entry.user.clone(), entry.at);
                message.content.clone_from(content);
                message.data.clone_from(data);
                message.reply_to = *reply_to;
                self.messages.insert(entry.id, seq);
                self.entries.push_back(Slot::Message(message, nonce.clone()));
                Outcome::Stored { seq, target: None }
            }
            Change::Edit { message, content } => self.change(entry, *message, Slot::Edit, |message| {
                message.content = Some(content.clone());
                message.edited_at = Some(entry.at);
            }),
            Change::Delete { message } => self.change(entry, *message, Slot::Delete, Message::bury),
        }
    }

    /// What to answer to a nonce that the message at this place was sent with.
    fn repeated(&self, seq: u64, fingerprint: Fingerprint) -> Outcome {
        match self.sent(seq) {
            Some(first) if first.fingerprint == fingerprint => Outcome::Duplicate { id: first.id, seq },
            _ => Outcome::NonceConflict,
        }
    }

    /// The message at this place, which was sent with a nonce.
    fn sent(&self, seq: u64) -> Option<Sent> {
        match self.entries.get(self.index_of(seq))? {
            Slot::Message(message, Some((_, fingerprint))) => Some(Sent {
                id: message.id,
                seq,
                fingerprint: *fingerprint,
            }),
            _ => None,
        }
    }

    fn change(
        &mut self,
        entry: &NewEntry,
        message: MessageId,
        slot: impl FnOnce(About) -> Slot,
        change: impl FnOnce(&mut Message),
    ) -> Outcome {
        let seq = self.head() + 1;
        let Some(&target) = self.messages.get(&message) else {
            return Outcome::NoTarget;
        };
        let index = self.index_of(target);
        match self.entries.get_mut(index) {
            Some(Slot::Message(message, _)) if !message.deleted => change(message),
            _ => return Outcome::NoTarget,
        }
        self.entries.push_back(slot(About {
            id: entry.id,
            message,
            target,
            user: entry.user.clone(),
            at: entry.at,
        }));
        let target = Some(target);
        Outcome::Stored { seq, target }
    }

    /// Removes the oldest entries until at most `keep` are left, with everything that refers to them.
    fn trim(&mut self, keep: usize) {
        while self.entries.len() > keep {
            if let Some(Slot::Message(message, nonce)) = self.entries.pop_front() {
                self.messages.remove(&message.id);
                if let Some((nonce, _)) = nonce {
                    self.nonces.remove(&(message.user.id().clone(), nonce));
                }
            }
            self.floor += 1;
        }
    }

    fn page(&self, after: u64, limit: PageLimit) -> LogPage {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in self.index_of(after.saturating_add(1))..self.entries.len() {
            if !entries.is_empty() && (entries.len() >= limit.entries || bytes >= limit.bytes) {
                break;
            }
            let entry = self.entry(index);
            bytes += match &entry {
                Entry::Message(message) => weight(message),
                Entry::Edit(edit) => edit.content.as_ref().map_or(0, String::len),
                Entry::Delete(_) => 0,
            };
            entries.push(entry);
        }
        LogPage {
            entries,
            floor: self.floor,
            head: self.head(),
        }
    }

    /// The entry at this place of the deque, as it is given out.
    fn entry(&self, index: usize) -> Entry {
        let seq = self.floor + 1 + index as u64;
        match &self.entries[index] {
            Slot::Message(message, _) => Entry::Message(message.clone()),
            Slot::Edit(about) => {
                let mut edit = Edit::new(
                    about.id,
                    self.room.clone(),
                    seq,
                    (about.message, about.target),
                    about.user.clone(),
                    about.at,
                );
                edit.content = self.said(about.target).and_then(|message| message.content.clone());
                Entry::Edit(edit)
            }
            Slot::Delete(about) => Entry::Delete(Deletion::new(
                about.id,
                self.room.clone(),
                seq,
                (about.message, about.target),
                about.user.clone(),
                about.at,
            )),
        }
    }

    fn history(&self, range: HistoryRange, limit: usize) -> HistoryPage {
        let before = match range {
            HistoryRange::Newest => self.entries.len(),
            HistoryRange::Before(seq) => self.index_of(seq),
            HistoryRange::After(seq) => {
                let newer = self.entries.range(self.index_of(seq.saturating_add(1))..);
                return collect(newer.filter_map(Slot::message), limit);
            }
        };
        let mut page = collect(self.entries.range(..before).rev().filter_map(Slot::message), limit);
        page.messages.reverse();
        page
    }
}

/// The first messages, as many as the limit and the default bound in bytes allow.
fn collect<'a>(messages: impl Iterator<Item = &'a Message>, limit: usize) -> HistoryPage {
    let mut page = HistoryPage {
        messages: Vec::new(),
        more: false,
    };
    let mut bytes = 0;
    for message in messages {
        if page.messages.len() >= limit || bytes >= PageLimit::DEFAULT_BYTES {
            page.more = true;
            break;
        }
        bytes += weight(message);
        page.messages.push(message.clone());
    }
    page
}

/// About how many bytes a message's content and data have.
fn weight(message: &Message) -> usize {
    message.content.as_ref().map_or(0, String::len) + message.data.as_ref().map_or(0, object_weight)
}

fn object_weight(object: &JsonObject) -> usize {
    object
        .iter()
        .map(|(key, value)| key.len() + 4 + value_weight(value))
        .sum()
}

fn value_weight(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| value_weight(value) + 1).sum(),
        Value::Object(object) => object_weight(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((log.messages.len(), log.nonces.len()), (2, 2));
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
