//! Entries as documents of the collection, as the crate's documentation shows them.

use mongodb::bson::{self, Bson, DateTime, RawDocument, RawDocumentBuf, Uuid};
use roomcast_core::{
    Change, Deletion, Edit, Entry, Fingerprint, MAX_SEQ, Message, MessageId, NewEntry, RoomId, StoreError, Timestamp,
    User, UserId, UserName,
};
use serde::{Deserialize, Serialize};

use crate::data;
use crate::error::{damaged, refused};
use crate::words;

/// One entry of a room's log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryDocument {
    #[serde(rename = "_id")]
    pub(crate) id: Uuid,
    pub(crate) room_id: String,
    pub(crate) seq: i64,
    pub(crate) kind: Kind,
    pub(crate) user: UserDocument,
    pub(crate) created_at: DateTime,
    /// Of a message, as it now is; of an edit, until the message says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Bson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_at: Option<DateTime>,
    /// The seq of the newest edit that the message shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<Uuid>,
    /// The words of the content, for search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<Vec<String>>,
    /// The message that an edit or a deletion is about, and its seq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<i64>,
    /// Of an edit or a deletion: the message may not have been brought up to date yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unfinished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Message,
    Edit,
    Delete,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserDocument {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl EntryDocument {
    /// The entry at this place; `target` is the place of the message that it changes.
    pub(crate) fn new(
        room: &RoomId,
        seq: u64,
        entry: &NewEntry,
        target: Option<u64>,
        search: bool,
    ) -> Result<Self, StoreError> {
        let mut document = Self {
            id: uuid(entry.id),
            room_id: room.as_str().to_owned(),
            seq: number(seq),
            kind: Kind::Message,
            user: UserDocument {
                id: entry.user.id().as_str().to_owned(),
                name: entry.user.name().to_owned(),
            },
            created_at: DateTime::from_millis(entry.at.as_millis()),
            content: None,
            data: None,
            reply_to: None,
            edited_at: None,
            revision: None,
            deleted: false,
            nonce: None,
            fingerprint: None,
            words: None,
            message: None,
            target: target.map(number),
            unfinished: false,
        };
        match &entry.change {
            Change::Message {
                content,
                data,
                reply_to,
                nonce,
            } => {
                document.words = content.as_deref().filter(|_| search).map(words::indexed);
                document.content.clone_from(content);
                document.data = data.as_ref().map(data::to_bson).transpose()?;
                document.reply_to = reply_to.map(uuid);
                if let Some((nonce, print)) = nonce {
                    document.nonce = Some(nonce.as_str().to_owned());
                    document.fingerprint = Some(fingerprint(*print));
                }
            }
            Change::Edit { message, content } => {
                document.kind = Kind::Edit;
                document.content = Some(content.clone());
                document.message = Some(uuid(*message));
                document.unfinished = true;
            }
            Change::Delete { message } => {
                document.kind = Kind::Delete;
                document.message = Some(uuid(*message));
                document.unfinished = true;
            }
        }
        Ok(document)
    }

    pub(crate) fn to_raw(&self) -> Result<RawDocumentBuf, StoreError> {
        bson::serialize_to_raw_document_buf(self)
            .map_err(|error| refused(format!("the entry can't be written as BSON: {error}")).with_source(error))
    }

    pub(crate) fn read(raw: &RawDocument) -> Result<Self, StoreError> {
        read(raw)
    }

    pub(crate) fn place(&self) -> Result<u64, StoreError> {
        seq(self.seq).ok_or_else(|| self.wrong("seq is out of range"))
    }

    /// The message that a change is about.
    pub(crate) fn subject(&self) -> Result<Uuid, StoreError> {
        self.message
            .ok_or_else(|| self.wrong("an edit or deletion names no message"))
    }

    /// The entry as the log gives it out. An edit's content isn't in it: the message has it.
    pub(crate) fn into_entry(self, room: &RoomId) -> Result<Entry, StoreError> {
        if self.kind == Kind::Message {
            return self.into_message(room).map(Entry::Message);
        }
        let about = (
            message_id(self.subject()?),
            self.target
                .and_then(seq)
                .ok_or_else(|| self.wrong("target is missing or out of range"))?,
        );
        let (id, place, user) = (message_id(self.id), self.place()?, self.user()?);
        let at = Timestamp::from_millis(self.created_at.timestamp_millis());
        Ok(if self.kind == Kind::Edit {
            Entry::Edit(Edit::new(id, room.clone(), place, about, user, at))
        } else {
            Entry::Delete(Deletion::new(id, room.clone(), place, about, user, at))
        })
    }

    pub(crate) fn into_message(self, room: &RoomId) -> Result<Message, StoreError> {
        let created_at = Timestamp::from_millis(self.created_at.timestamp_millis());
        let (place, user) = (self.place()?, self.user()?);
        let mut message = Message::new(message_id(self.id), room.clone(), place, user, created_at);
        if self.deleted {
            message.bury();
            return Ok(message);
        }
        message.data = match self.data {
            Some(data) => Some(data::from_bson(data).map_err(|error| wrong(self.id, error))?),
            None => None,
        };
        message.content = self.content;
        message.reply_to = self.reply_to.map(message_id);
        message.edited_at = self.edited_at.map(|at| Timestamp::from_millis(at.timestamp_millis()));
        Ok(message)
    }

    /// About how much of a page it takes.
    pub(crate) fn weight(&self) -> usize {
        let data = match &self.data {
            Some(Bson::String(text)) => text.len(),
            Some(Bson::Document(data)) => bson::serialize_to_vec(data).map_or(0, |bytes| bytes.len()),
            _ => 0,
        };
        self.content.as_ref().map_or(0, String::len) + data
    }

    fn user(&self) -> Result<User, StoreError> {
        let id = UserId::new(&self.user.id).map_err(|error| self.wrong(error))?;
        let name = UserName::new(&self.user.name).map_err(|error| self.wrong(error))?;
        Ok(User::new(id, name))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> StoreError {
        wrong(self.id, what)
    }
}

fn wrong(id: Uuid, what: impl std::fmt::Display) -> StoreError {
    damaged(format!("entry {id}: {what}"))
}

/// A document of any kind, or an error that names it.
pub(crate) fn read<'a, T: Deserialize<'a>>(raw: &'a RawDocument) -> Result<T, StoreError> {
    bson::deserialize_from_slice(raw.as_bytes()).map_err(|error| {
        let id = match raw.get("_id").map(|id| id.map(Bson::try_from)) {
            // As a person writes it.
            Ok(Some(Ok(Bson::Binary(id)))) => id.to_uuid().map_or_else(|_| format!("{id:?}"), |id| id.to_string()),
            Ok(Some(Ok(id))) => id.to_string(),
            _ => "(none)".to_owned(),
        };
        damaged(format!("the document with _id {id} is none of this store: {error}")).with_source(error)
    })
}

pub(crate) fn uuid(id: MessageId) -> Uuid {
    Uuid::from_bytes(id.as_u128().to_be_bytes())
}

pub(crate) fn message_id(id: Uuid) -> MessageId {
    MessageId::from_u128(u128::from_be_bytes(id.bytes()))
}

pub(crate) fn fingerprint(fingerprint: Fingerprint) -> Uuid {
    Uuid::from_bytes(fingerprint.as_u128().to_be_bytes())
}

/// A seq as BSON can take it. Logs end far below the bound.
pub(crate) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A seq as it was kept.
pub(crate) fn seq(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|seq| (1..=MAX_SEQ).contains(seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_logs_have() {
        let most = number(MAX_SEQ);
        assert_eq!(
            [-1, 0, 1, most, most + 1].map(seq),
            [None, None, Some(1), Some(MAX_SEQ), None]
        );
    }
}
