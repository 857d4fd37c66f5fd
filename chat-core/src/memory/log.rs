//! One room's log in memory.

use std::collections::{HashMap, VecDeque};

use crate::{
    Appended, Change, Deletion, Edit, Entry, Epoch, Fingerprint, HistoryPage, HistoryRange, JsonObject, LogPage,
    MAX_SEQ, Message, MessageId, NewEntry, Nonce, Outcome, PageLimit, RoomHead, RoomId, Sent, StoreError,
    StoreErrorKind, Timestamp, User, UserId, search_words,
};

/// One room's log.
#[derive(Debug)]
pub(super) struct Log {
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
    pub(super) fn new(room: RoomId, epoch: Epoch) -> Self {
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

    pub(super) fn place(&self) -> RoomHead {
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

    pub(super) fn append(
        &mut self,
        expected_head: u64,
        entries: &[NewEntry],
        keep: usize,
    ) -> Result<Appended, StoreError> {
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
        match self.sent_at(seq) {
            Some(first) if first.fingerprint == fingerprint => Outcome::Duplicate { id: first.id, seq },
            _ => Outcome::NonceConflict,
        }
    }

    pub(super) fn message(&self, id: MessageId) -> Option<&Message> {
        self.said(*self.messages.get(&id)?)
    }

    pub(super) fn sent(&self, user: &UserId, nonce: &Nonce) -> Option<Sent> {
        self.sent_at(*self.nonces.get(&(user.clone(), nonce.clone()))?)
    }

    /// The message at this place, which was sent with a nonce.
    fn sent_at(&self, seq: u64) -> Option<Sent> {
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

    pub(super) fn page(&self, after: u64, limit: PageLimit) -> LogPage {
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

    /// How many messages and how many nonces are known.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.messages.len(), self.nonces.len())
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

    pub(super) fn history(&self, range: HistoryRange, limit: usize) -> HistoryPage {
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

    pub(super) fn search(&self, query: &str, before: Option<u64>, limit: usize) -> HistoryPage {
        let wanted: Vec<String> = search_words(query).collect();
        let mut page = HistoryPage {
            messages: Vec::new(),
            more: false,
        };
        if wanted.is_empty() {
            return page;
        }
        let newest = self.index_of(before.unwrap_or(u64::MAX));
        for message in self.entries.range(..newest).rev().filter_map(Slot::message) {
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
