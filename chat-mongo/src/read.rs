//! The reading side: pages of logs, of history, and single messages.

use std::collections::HashMap;

use mongodb::bson::{Document, Uuid, doc};
use roomcast_core::{
    Entry, Fingerprint, HistoryPage, HistoryRange, LogPage, Message, MessageId, Nonce, PageLimit, RoomHead, RoomId,
    Sent, StoreError, UserId,
};

use crate::database::{Database, next};
use crate::document::{EntryDocument, message_id, number, uuid};
use crate::error::{damaged, unavailable, unwritten};

/// How often a page is read again because retention removed its beginning meanwhile.
const TRIES: usize = 5;

impl Database {
    pub(crate) async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let mut floor_before = None;
        for _ in 0..TRIES {
            let Some(RoomHead { head, floor, .. }) = self.head(room).await? else {
                return Ok(LogPage {
                    entries: Vec::new(),
                    floor: 0,
                    head: 0,
                });
            };
            let start = after.max(floor);
            let documents = if start < head {
                let filter = doc! {
                    "room_id": room.as_str(),
                    "seq": {"$gt": number(start), "$lte": number(head)},
                };
                self.page(filter, 1, limit).await?
            } else {
                Vec::new()
            };
            if start < head && !is_dense(&documents, start)? {
                if floor_before == Some(floor) {
                    return Err(damaged(format!("the log of {room} has a hole after {start}")));
                }
                floor_before = Some(floor);
                continue;
            }
            let contents = self.edited(room, floor, &documents).await?;
            let mut entries = Vec::with_capacity(documents.len());
            let mut bytes = 0;
            for document in documents {
                if bytes >= limit.bytes && !entries.is_empty() {
                    break;
                }
                bytes += document.weight();
                let subject = document.message;
                let mut entry = document.into_entry(room)?;
                if let (Entry::Edit(edit), Some(subject)) = (&mut entry, subject) {
                    edit.content = contents.get(&subject).cloned();
                    bytes += edit.content.as_ref().map_or(0, String::len);
                }
                entries.push(entry);
            }
            return Ok(LogPage { entries, floor, head });
        }
        Err(unavailable("the log is cut off faster than it can be read"))
    }

    pub(crate) async fn history(
        &self,
        room: &RoomId,
        range: HistoryRange,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let mut page = HistoryPage {
            messages: Vec::new(),
            more: false,
        };
        let Some(RoomHead { floor, .. }) = self.head(room).await? else {
            return Ok(page);
        };
        let (seq, order) = match range {
            HistoryRange::Newest => (doc! {"$gt": number(floor)}, -1),
            HistoryRange::Before(before) => (doc! {"$gt": number(floor), "$lt": number(before)}, -1),
            HistoryRange::After(after) => (doc! {"$gt": number(after.max(floor))}, 1),
        };
        let filter = doc! {"room_id": room.as_str(), "seq": seq, "kind": "message"};
        let wanted = PageLimit::entries(limit.saturating_add(1));
        let documents = self.page(filter, order, wanted).await?;
        let mut bytes = 0;
        for document in documents {
            if page.messages.len() >= limit || (bytes >= wanted.bytes && !page.messages.is_empty()) {
                page.more = true;
                break;
            }
            bytes += document.weight();
            page.messages.push(document.into_message(room)?);
        }
        if order < 0 {
            page.messages.reverse();
        }
        Ok(page)
    }

    pub(crate) async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let Some(RoomHead { floor, .. }) = self.head(room).await? else {
            return Ok(None);
        };
        let filter = doc! {
            "_id": uuid(id),
            "room_id": room.as_str(),
            "kind": "message",
            "seq": {"$gt": number(floor)},
        };
        let found = self.page(filter, 1, PageLimit::entries(1)).await?.pop();
        found.map(|document| document.into_message(room)).transpose()
    }

    pub(crate) async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        let Some(RoomHead { floor, .. }) = self.head(room).await? else {
            return Ok(None);
        };
        let filter = doc! {"room_id": room.as_str(), "user.id": user.as_str(), "nonce": nonce.as_str()};
        let Some(document) = self.page(filter, 1, PageLimit::entries(1)).await?.pop() else {
            return Ok(None);
        };
        let seq = document.place()?;
        if seq <= floor {
            return Ok(None);
        }
        // A document is seen before it is in the journal, or at a majority. A write that changes nothing waits for what was
        // written before it.
        let mut session = self.session().await?;
        let same = self
            .entries
            .update_one(doc! {"_id": document.id}, doc! {"$set": {"nonce": nonce.as_str()}})
            .session(&mut *session)
            .into_future();
        self.write(same).await?.map_err(unwritten)?;
        let print = document.fingerprint;
        let print = print.ok_or_else(|| damaged("a message has a nonce, but no fingerprint"))?;
        Ok(Some(Sent {
            id: message_id(document.id),
            seq,
            fingerprint: Fingerprint::from_u128(u128::from_be_bytes(print.bytes())),
        }))
    }

    /// The documents of this filter in the order of seq: as many as the limit allows, and the one that has no place within
    /// its bytes any more.
    pub(crate) async fn page(
        &self,
        filter: Document,
        order: i32,
        limit: PageLimit,
    ) -> Result<Vec<EntryDocument>, StoreError> {
        // At least one entry, whatever the limit. 0 would be none for MongoDB.
        let entries = number(limit.entries.max(1) as u64);
        let mut session = self.session().await?;
        let find = self
            .entries
            .find(filter)
            .sort(doc! {"seq": order})
            .projection(doc! {"words": 0})
            .limit(entries)
            .batch_size(u32::try_from(entries).unwrap_or(u32::MAX).clamp(2, 1000))
            .session(&mut *session)
            .into_future();
        let mut cursor = self.read(find).await?;
        let mut documents = Vec::new();
        let mut bytes = 0_usize;
        while let Some(next) = self.read(next(&mut cursor, &mut session)).await? {
            let document = EntryDocument::read(&next)?;
            let full = bytes >= limit.bytes && !documents.is_empty();
            bytes = bytes.saturating_add(document.weight());
            documents.push(document);
            if full {
                break;
            }
        }
        Ok(documents)
    }

    /// What the messages now say that are edited by some of these entries; those that are deleted or removed say nothing.
    async fn edited(
        &self,
        room: &RoomId,
        floor: u64,
        documents: &[EntryDocument],
    ) -> Result<HashMap<Uuid, String>, StoreError> {
        let edited: Vec<Uuid> = documents.iter().filter_map(|document| document.message).collect();
        if edited.is_empty() {
            return Ok(HashMap::new());
        }
        let filter = doc! {
            "_id": {"$in": edited},
            "room_id": room.as_str(),
            "kind": "message",
            "seq": {"$gt": number(floor)},
        };
        let limit = PageLimit {
            entries: usize::MAX,
            bytes: usize::MAX,
        };
        let messages = self.page(filter, 1, limit).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| Some((message.id, message.content?)))
            .collect())
    }
}

/// Whether the entries are those that follow this place.
pub(crate) fn is_dense(documents: &[EntryDocument], after: u64) -> Result<bool, StoreError> {
    for (document, expected) in documents.iter().zip(after + 1..) {
        if document.place()? != expected {
            return Ok(false);
        }
    }
    Ok(!documents.is_empty())
}
