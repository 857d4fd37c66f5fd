//! Where a room's log stands, and the second half of edits and deletions.
//!
//! An edit or a deletion takes two writes: its own entry, which makes it part of the log, and then the message, which is
//! brought up to date. The entry is marked as unfinished until that is done. Whoever is interrupted between the
//! two leaves the mark behind, and whoever looks at the room next, be it to read or to write, finishes the work before
//! anything else. So nobody sees a message as it was before an edit or deletion that the log has. Each step may be
//! repeated, by several servers at once and late: a message takes no edit older than the one that it shows, and
//! none at all once it is deleted.

use mongodb::bson::{self, Bson, Document, RawDocumentBuf, doc};
use roomcast_core::{Epoch, RoomHead, RoomId, StoreError, StoreErrorKind};
use serde::Deserialize;

use crate::database::{Database, next};
use crate::document::{self, EntryDocument, Kind, number};
use crate::error::{damaged, is_duplicate, refused, unavailable, unwritten};
use crate::words;

/// How many changes are finished with one command.
const TOGETHER: usize = 100;

/// A room with the newest entry of its log and the changes that were left unfinished.
#[derive(Debug, Deserialize)]
pub(crate) struct RoomDocument {
    #[serde(rename = "_id")]
    id: String,
    epoch: String,
    floor: i64,
    last: Vec<Place>,
    #[serde(default)]
    unfinished: Vec<RawDocumentBuf>,
}

#[derive(Debug, Deserialize)]
struct Place {
    seq: i64,
}

impl RoomDocument {
    pub(crate) fn head(&self) -> Result<RoomHead, StoreError> {
        let wrong = |what: String| damaged(format!("room {:?}: {what}", self.id));
        let seq = |number| place(number).ok_or_else(|| wrong(format!("the seq {number} is out of range")));
        let floor = seq(self.floor)?;
        let head = match self.last.first() {
            Some(last) if last.seq == 0 => return Err(wrong("an entry has the seq 0".to_owned())),
            Some(last) => seq(last.seq)?.max(floor),
            None => floor,
        };
        let epoch = Epoch::new(&self.epoch).map_err(|error| wrong(error.to_string()))?;
        Ok(RoomHead { epoch, head, floor })
    }
}

fn place(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|seq| *seq <= roomcast_core::MAX_SEQ)
}

impl Database {
    /// Where the room's log stands, all changes up to there finished; `None` if the room doesn't exist.
    pub(crate) async fn head(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        let entries = self.entries.name();
        // The stages run in this order: what isn't found unfinished was finished before anything is read after.
        let pipeline = [
            doc! {"$match": {"_id": room.as_str()}},
            doc! {"$lookup": {"from": entries, "as": "last", "pipeline": [
                {"$match": {"room_id": room.as_str()}},
                {"$sort": {"room_id": 1, "seq": -1}},
                {"$limit": 1},
                {"$project": {"_id": 0, "seq": 1}},
            ]}},
            doc! {"$lookup": {"from": entries, "as": "unfinished", "pipeline": [
                {"$match": {"room_id": room.as_str(), "unfinished": true}},
                {"$sort": {"seq": 1}},
                {"$limit": TOGETHER as i64},
            ]}},
        ];
        loop {
            let mut session = self.session().await?;
            let aggregate = self
                .rooms
                .aggregate(pipeline.clone())
                .with_type::<RawDocumentBuf>()
                .session(&mut *session)
                .into_future();
            let mut cursor = self.read(aggregate).await?;
            let Some(found) = self.read(next(&mut cursor, &mut session)).await? else {
                return Ok(None);
            };
            let found: RoomDocument = document::read(&found)?;
            if !found.unfinished.is_empty() {
                let changes: Result<Vec<_>, _> = found.unfinished.iter().map(|raw| EntryDocument::read(raw)).collect();
                self.finish(&changes?).await?;
                if found.unfinished.len() == TOGETHER {
                    continue; // There may be more.
                }
            }
            return found.head().map(Some);
        }
    }

    /// Begins a room, unless there is one.
    pub(crate) async fn create(&self, room: &RoomId, epoch: &Epoch) -> Result<RoomHead, StoreError> {
        if let Some(head) = self.head(room).await? {
            return Ok(head);
        }
        let now = bson::DateTime::now();
        let begin =
            doc! {"$setOnInsert": {"epoch": epoch.as_str(), "floor": 0_i64, "removed": 0_i64, "created_at": now}};
        let mut session = self.session().await?;
        let update = self
            .rooms
            .update_one(doc! {"_id": room.as_str()}, begin)
            .upsert(true)
            .session(&mut *session)
            .into_future();
        match self.write(update).await? {
            Ok(_) => {}
            // Two at once: the other's is there.
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(unwritten(error)),
        }
        drop(session);
        self.head(room)
            .await?
            .ok_or_else(|| unavailable(format!("the room {room} is gone as soon as it was made")))
    }

    /// Brings messages up to date with these edits and deletions, which are in the order of the log.
    pub(crate) async fn finish(&self, changes: &[EntryDocument]) -> Result<(), StoreError> {
        for changes in changes.chunks(TOGETHER) {
            let mut updates = Vec::with_capacity(2 * changes.len());
            for change in changes {
                updates.push(doc! {"q": self.not_newer_than(change)?, "u": self.effect(change)?});
                updates.push(doc! {
                    "q": {"_id": change.id},
                    "u": {"$unset": {"unfinished": "", "content": ""}},
                });
            }
            let concern = bson::serialize_to_bson(&self.write_concern).map_err(|error| refused(error.to_string()))?;
            let command = doc! {
                "update": self.entries.name(),
                "updates": updates,
                "ordered": true,
                "writeConcern": concern,
            };
            let mut session = self.session().await?;
            let reply = self
                .write(self.database.run_command(command).session(&mut *session).into_future())
                .await
                .and_then(|reply| reply.map_err(unwritten))
                .and_then(|reply| all_written(&reply));
            // It may be repeated, so it doesn't matter what came of it.
            reply.map_err(|error| match error.kind() {
                StoreErrorKind::OutcomeUnknown => unavailable(error.to_string()).with_source(error),
                _ => error,
            })?;
        }
        Ok(())
    }

    /// The message, unless it is deleted or shows this edit or a later one.
    fn not_newer_than(&self, change: &EntryDocument) -> Result<Document, StoreError> {
        Ok(doc! {
            "_id": change.subject()?,
            "room_id": &change.room_id,
            "kind": "message",
            "deleted": {"$ne": true},
            "revision": {"$not": {"$gte": change.seq}},
        })
    }

    fn effect(&self, change: &EntryDocument) -> Result<Document, StoreError> {
        if change.kind == Kind::Delete {
            return Ok(doc! {
                "$set": {"deleted": true},
                "$unset": {"content": "", "data": "", "reply_to": "", "edited_at": "", "revision": "", "words": ""},
            });
        }
        let Some(content) = &change.content else {
            return Err(damaged(format!(
                "entry {}: an unfinished edit has no content",
                change.id
            )));
        };
        let mut now = doc! {"content": content, "edited_at": change.created_at, "revision": change.seq};
        if self.search {
            now.insert("words", words::indexed(content));
        }
        Ok(doc! {"$set": now})
    }
}

/// Whether every statement of an update was carried out as durably as asked.
fn all_written(reply: &Document) -> Result<(), StoreError> {
    let failure = match (reply.get_array("writeErrors"), reply.get_document("writeConcernError")) {
        (Ok(errors), _) if !errors.is_empty() => errors.first().cloned().unwrap_or(Bson::Null),
        (_, Ok(error)) => error.clone().into(),
        _ => return Ok(()),
    };
    Err(unavailable(format!(
        "MongoDB can't bring messages up to date: {failure}"
    )))
}

/// What the listing of rooms needs of each.
pub(crate) async fn list(
    database: &Database,
    after: Option<&RoomId>,
    limit: usize,
) -> Result<Vec<(RoomId, RoomHead)>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut pipeline = Vec::new();
    if let Some(after) = after {
        pipeline.push(doc! {"$match": {"_id": {"$gt": after.as_str()}}});
    }
    pipeline.extend([
        doc! {"$sort": {"_id": 1}},
        doc! {"$limit": number(limit as u64)},
        doc! {"$lookup": {"from": database.entries.name(), "let": {"room": "$_id"}, "as": "last", "pipeline": [
            {"$match": {"$expr": {"$eq": ["$room_id", "$$room"]}}},
            {"$sort": {"room_id": 1, "seq": -1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "seq": 1}},
        ]}},
    ]);
    let mut session = database.session().await?;
    let aggregate = database
        .rooms
        .aggregate(pipeline)
        .with_type::<RawDocumentBuf>()
        .session(&mut *session)
        .into_future();
    let mut cursor = database.read(aggregate).await?;
    let mut rooms = Vec::new();
    while let Some(room) = database.read(next(&mut cursor, &mut session)).await? {
        let room: RoomDocument = document::read(&room)?;
        rooms.push((RoomId::new(&room.id).map_err(damaged)?, room.head()?));
    }
    Ok(rooms)
}
