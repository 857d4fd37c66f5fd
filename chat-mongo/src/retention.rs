//! Removes the oldest entries of rooms, in two steps.
//!
//! First the room's floor is raised: from then on nobody reads what is below it. A good while later the entries are
//! deleted. Until then their places stay taken, so that a writer who stood still and believes in an old head is
//! stopped by the unique index, instead of writing where others have long gone on. A task that ends between the two
//! steps leaves `removed` behind `floor`, and the next one goes on there. Several servers may do this at once.
//!
//! The server's own removal by time (TTL) can't be used: it deletes in any order and doesn't know of the floor, so
//! the log would have holes that nobody could explain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{DateTime, RawDocumentBuf, doc};
use parking_lot::Mutex;
use roomcast_core::{Clock, RoomId, StoreError};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::builder::{Builder, Retention};
use crate::database::{Database, next};
use crate::document::{self, number};
use crate::error::{damaged, unwritten};
use crate::room;

/// The most entries that are looked at, or deleted, with one operation.
const ENTRIES_AT_ONCE: u64 = 1000;
/// The most rooms that one page of the walk through all rooms has.
const ROOMS_AT_ONCE: usize = 256;
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Rooms that have got new entries.
#[derive(Default)]
pub(crate) struct Grown {
    rooms: Mutex<BTreeSet<RoomId>>,
    news: Notify,
}

impl Grown {
    pub(crate) fn note(&self, room: &RoomId) {
        let mut rooms = self.rooms.lock();
        if !rooms.contains(room) {
            rooms.insert(room.clone());
            self.news.notify_one();
        }
    }
}

/// The task that removes.
pub(crate) struct Sweeper {
    grown: Arc<Grown>,
    task: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts the task, if anything is to be removed.
    pub(crate) fn start(database: &Arc<Database>, settings: &Builder) -> Option<Self> {
        let Retention { max_entries, max_age } = settings.retention;
        if max_entries.is_none() && max_age.is_none() {
            return None;
        }
        let grown = Arc::new(Grown::default());
        let sweep = Sweep {
            database: database.clone(),
            retention: settings.retention,
            grace: settings.retention_grace,
            clock: settings.clock.clone(),
            grown: grown.clone(),
            waiting: BTreeSet::new(),
        };
        let task = Some(tokio::spawn(sweep.run()));
        Some(Self { grown, task })
    }

    pub(crate) fn grown(&self) -> Arc<Grown> {
        self.grown.clone()
    }

    /// Ends the task. What it has begun is repeated by the next.
    pub(crate) async fn stop(&mut self) {
        if let Some(task) = &mut self.task {
            task.abort();
            let _ = task.await;
        }
        self.task = None;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Sweep {
    database: Arc<Database>,
    retention: Retention,
    grace: Duration,
    clock: Arc<dyn Clock>,
    grown: Arc<Grown>,
    /// Rooms whose floor was raised, and whose entries are to be deleted when their time has come.
    waiting: BTreeSet<RoomId>,
}

/// What is known of a room's beginning.
#[derive(Deserialize)]
struct Bounds {
    floor: i64,
    /// Up to where the entries are deleted.
    #[serde(default)]
    removed: i64,
}

impl Sweep {
    async fn run(mut self) {
        // The bounds may be other ones than the last time, and entries may have been left behind.
        while let Err(error) = self.walk().await {
            self.failed(&error).await;
        }
        // A delay between looks: removing one entry at a time would cost more than it is worth.
        let pace = (self.grace / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let by_age = self
            .retention
            .max_age
            .map(|age| (age / 10).clamp(Duration::from_millis(100), Duration::from_secs(60)));
        let mut next_by_age = tokio::time::Instant::now();
        loop {
            let wake = match (self.waiting.is_empty(), by_age) {
                (false, _) => Some(tokio::time::Instant::now() + (self.grace / 2).max(pace)),
                (true, Some(_)) => Some(next_by_age),
                (true, None) => None,
            };
            let timer = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.grown.news.notified() => {}
                () = timer => {}
            }
            if let Some(interval) = by_age
                && next_by_age <= tokio::time::Instant::now()
            {
                next_by_age = tokio::time::Instant::now() + interval;
                if let Err(error) = self.find_old().await {
                    self.failed(&error).await;
                }
            }
            if let Err(error) = self.round().await {
                self.failed(&error).await;
            }
            tokio::time::sleep(pace).await;
        }
    }

    async fn failed(&self, error: &StoreError) {
        tracing::warn!(%error, "old entries can't be removed now");
        tokio::time::sleep(PAUSE).await;
    }

    /// Looks at every room once.
    async fn walk(&mut self) -> Result<(), StoreError> {
        let mut after: Option<RoomId> = None;
        loop {
            let rooms = room::list(&self.database, after.as_ref(), ROOMS_AT_ONCE).await?;
            let Some((last, _)) = rooms.last() else { return Ok(()) };
            after = Some(last.clone());
            for (room, _) in &rooms {
                self.look_at(room).await?;
            }
        }
    }

    /// Notes the rooms that hold entries which are too old.
    async fn find_old(&self) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Room {
            #[serde(rename = "_id")]
            id: String,
        }
        let Some(cutoff) = self.cutoff() else { return Ok(()) };
        let pipeline = [
            doc! {"$match": {"created_at": {"$lt": cutoff}}},
            doc! {"$group": {"_id": "$room_id"}},
        ];
        let mut session = self.database.session().await?;
        let aggregate = self
            .database
            .entries
            .aggregate(pipeline)
            .with_type::<RawDocumentBuf>()
            .session(&mut *session)
            .into_future();
        let mut cursor = self.database.read(aggregate).await?;
        while let Some(room) = self.database.read(next(&mut cursor, &mut session)).await? {
            let Room { id } = document::read(&room)?;
            self.grown.rooms.lock().insert(RoomId::new(id).map_err(damaged)?);
        }
        Ok(())
    }

    fn cutoff(&self) -> Option<DateTime> {
        let age = self.retention.max_age?;
        Some(DateTime::from_millis(self.clock.now().minus(age).as_millis()))
    }

    /// Looks at the rooms that have grown and at those that wait.
    async fn round(&mut self) -> Result<(), StoreError> {
        let mut rooms = std::mem::take(&mut self.waiting);
        rooms.append(&mut self.grown.rooms.lock());
        while let Some(room) = rooms.pop_first() {
            if let Err(error) = self.look_at(&room).await {
                rooms.insert(room);
                self.waiting.append(&mut rooms);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Does the step that is next in this room. There is one removal under way at a time.
    async fn look_at(&mut self, room: &RoomId) -> Result<(), StoreError> {
        let Some(Bounds { floor, removed }) = self.bounds(room).await? else {
            return Ok(());
        };
        if removed < floor {
            if self.is_due(room).await? {
                self.delete(room, floor).await?;
                self.waiting.insert(room.clone()); // There may be more to remove by now.
            } else {
                self.waiting.insert(room.clone());
            }
            return Ok(());
        }
        let Some(head) = self.database.head(room).await? else {
            return Ok(());
        };
        let count = self
            .too_many(head.head, head.floor)
            .max(self.too_old(room, head.floor).await?);
        if count > 0 && self.raise(room, floor, floor.saturating_add(number(count))).await? {
            self.waiting.insert(room.clone());
        }
        Ok(())
    }

    async fn bounds(&self, room: &RoomId) -> Result<Option<Bounds>, StoreError> {
        let mut session = self.database.session().await?;
        let find = self
            .database
            .rooms
            .find_one(doc! {"_id": room.as_str()})
            .session(&mut *session)
            .into_future();
        let found = self.database.read(find).await?;
        found.map(|raw| document::read(&raw)).transpose()
    }

    fn too_many(&self, head: u64, floor: u64) -> u64 {
        let Some(keep) = self.retention.max_entries else {
            return 0;
        };
        let excess = (head - floor).saturating_sub(keep.max(1));
        // Some at a time, so that not every append is followed by a removal.
        if excess >= (keep / 8).clamp(1, 256) { excess } else { 0 }
    }

    /// How many of the oldest entries are too old, counted up to a bound.
    async fn too_old(&self, room: &RoomId, floor: u64) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct At {
            created_at: DateTime,
        }
        let Some(cutoff) = self.cutoff() else { return Ok(0) };
        let mut session = self.database.session().await?;
        let find = self
            .database
            .entries
            .find(doc! {"room_id": room.as_str(), "seq": {"$gt": number(floor)}})
            .sort(doc! {"seq": 1})
            .limit(number(ENTRIES_AT_ONCE))
            .projection(doc! {"created_at": 1})
            .session(&mut *session)
            .into_future();
        let mut cursor = self.database.read(find).await?;
        let mut count = 0;
        loop {
            let next = self.database.read(next(&mut cursor, &mut session)).await?;
            let Some(next) = next else { break };
            if document::read::<At>(&next)?.created_at >= cutoff {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Raises the floor, unless another server was faster.
    async fn raise(&self, room: &RoomId, from: i64, to: i64) -> Result<bool, StoreError> {
        let mut session = self.database.session().await?;
        let update = self
            .database
            .rooms
            .update_one(
                doc! {"_id": room.as_str(), "floor": from},
                doc! {"$set": {"floor": to}, "$currentDate": {"floor_raised_at": true}},
            )
            .session(&mut *session)
            .into_future();
        let result = self.database.write(update).await?.map_err(unwritten)?;
        Ok(result.modified_count > 0)
    }

    /// Whether the places below the floor have been taken for long enough, by the server's clock.
    async fn is_due(&self, room: &RoomId) -> Result<bool, StoreError> {
        let grace = i64::try_from(self.grace.as_millis()).unwrap_or(i64::MAX / 2);
        let filter = doc! {
            "_id": room.as_str(),
            "$expr": {"$lte": ["$floor_raised_at", {"$subtract": ["$$NOW", grace]}]},
        };
        let mut session = self.database.session().await?;
        let found = self
            .database
            .read(
                self.database
                    .rooms
                    .find_one(filter)
                    .session(&mut *session)
                    .into_future(),
            )
            .await?;
        Ok(found.is_some())
    }

    /// Deletes the entries up to this place, some at a time, and then says so.
    async fn delete(&self, room: &RoomId, floor: i64) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Place {
            seq: i64,
        }
        loop {
            let filter = doc! {"room_id": room.as_str(), "seq": {"$lte": floor}};
            let mut session = self.database.session().await?;
            let first = self
                .database
                .entries
                .find_one(filter)
                .sort(doc! {"seq": 1})
                .projection(doc! {"seq": 1})
                .session(&mut *session)
                .into_future();
            let Some(first) = self.database.read(first).await? else {
                break;
            };
            let Place { seq } = document::read(&first)?;
            let last = seq.saturating_add(number(ENTRIES_AT_ONCE) - 1).min(floor);
            let some = doc! {"room_id": room.as_str(), "seq": {"$lte": last}};
            let delete = self
                .database
                .entries
                .delete_many(some)
                .session(&mut *session)
                .into_future();
            self.database.write(delete).await?.map_err(unwritten)?;
        }
        let mut session = self.database.session().await?;
        let update = self
            .database
            .rooms
            .update_one(doc! {"_id": room.as_str()}, doc! {"$max": {"removed": floor}})
            .session(&mut *session)
            .into_future();
        self.database.write(update).await?.map_err(unwritten)?;
        Ok(())
    }
}
