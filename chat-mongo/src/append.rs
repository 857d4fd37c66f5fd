//! Compare-and-append.
//!
//! The entries of a call go to the server as one ordered insert, each with the place that it is to take. The unique index
//! on (room, seq) lets one writer have each place, and an ordered insert stops at the first document that isn't
//! taken; so whatever happens, the log has no hole and what is stored of a call is a prefix of it. A message
//! whose nonce is known is stopped by the other unique index; it takes no place, and the rest of the call goes on in a
//! second insert.
//!
//! Retention gives places free that were taken once. A writer that stood still meanwhile could take one of them again:
//! so a head that was seen a while ago is looked up again before an insert, and an insert that took long is
//! looked at again after it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mongodb::bson::{RawDocumentBuf, Uuid, doc};
use roomcast_core::{
    Appended, Change, MAX_SEQ, MessageId, NewEntry, Outcome, PageLimit, RoomHead, RoomId, StoreError, StoreErrorKind,
};

use crate::database::Database;
use crate::document::{EntryDocument, Kind, fingerprint, message_id, number, uuid};
use crate::error::{DUPLICATE_KEY, document_refused, first_refused, refused, unavailable, unwritten};

/// What one insert carries at most: as much as a commit by default, and far below the server's own bounds, so that the driver makes
/// one command of it.
const DOCUMENTS: usize = 1024;
const BYTES: usize = 16 << 20;

/// How many heads are remembered.
const HEADS: usize = 10_000;

/// The heads of rooms that this store has seen lately, so that a busy room needs no look-up before each insert.
pub(crate) struct Heads {
    seen: parking_lot::Mutex<HashMap<RoomId, (RoomHead, Instant)>>,
    /// How long a head that was seen may be built on without looking.
    trust: Duration,
}

impl Heads {
    /// Places of removed entries stay taken for `grace`.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            seen: parking_lot::Mutex::default(),
            trust: (grace / 4).min(Duration::from_secs(10)),
        }
    }

    fn get(&self, room: &RoomId, head: u64) -> Option<(RoomHead, Instant)> {
        let seen = self.seen.lock();
        let (place, at) = seen.get(room)?;
        (place.head == head && at.elapsed() < self.trust).then(|| (place.clone(), *at))
    }

    pub(crate) fn put(&self, room: &RoomId, head: RoomHead, at: Instant) {
        let mut seen = self.seen.lock();
        if seen.len() >= HEADS && !seen.contains_key(room) {
            seen.retain(|_, (_, at)| at.elapsed() < self.trust);
            if seen.len() >= HEADS {
                seen.clear();
            }
        }
        seen.insert(room.clone(), (head, at));
    }

    fn forget(&self, room: &RoomId) {
        self.seen.lock().remove(room);
    }
}

/// A message that an edit or a deletion may be about.
#[derive(Clone, Copy)]
struct Target {
    seq: u64,
    deleted: bool,
}

/// A message that has a nonce.
struct Known {
    id: MessageId,
    seq: u64,
    fingerprint: Option<Uuid>,
}

/// How the first entries of what is left are to be stored.
struct Plan {
    /// What becomes of each entry if all documents are taken.
    outcomes: Vec<Outcome>,
    /// The documents, and beside each the index of its entry.
    documents: Vec<RawDocumentBuf>,
    entries: Vec<usize>,
    /// The edits and deletions among them.
    changes: Vec<EntryDocument>,
}

/// Why no more of a call is stored.
enum Stop {
    /// Another writer has the next place.
    Taken,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A call to append while it is carried out.
struct Append<'a> {
    database: &'a Database,
    room: &'a RoomId,
    floor: u64,
    targets: HashMap<MessageId, Target>,
    nonces: HashMap<(String, String), Known>,
    outcomes: Vec<Outcome>,
    head: u64,
    /// Whether an insert may have been carried out in part.
    begun: bool,
}

pub(crate) async fn append(
    database: &Database,
    heads: &Heads,
    room: &RoomId,
    expected_head: u64,
    entries: &[NewEntry],
) -> Result<Appended, StoreError> {
    let changes = entries.iter().any(|entry| subject(entry).is_some());
    let began = Instant::now();
    let (place, looked_at) = match heads.get(room, expected_head).filter(|_| !changes) {
        Some(seen) => seen,
        None => {
            let place = database.head(room).await?;
            (place.ok_or_else(|| refused(format!("there is no room {room}")))?, began)
        }
    };
    if place.head != expected_head || entries.is_empty() {
        return Ok(Appended {
            outcomes: Vec::new(),
            head: place.head,
        });
    }
    if entries.len() as u64 > MAX_SEQ.saturating_sub(expected_head) {
        return Err(refused("the room's log is full"));
    }
    let mut append = Append {
        database,
        room,
        floor: place.floor,
        targets: HashMap::new(),
        nonces: HashMap::new(),
        outcomes: Vec::with_capacity(entries.len()),
        head: expected_head,
        begun: false,
    };
    if changes {
        append.look_up_targets(entries).await?;
    }
    heads.forget(room);
    let stop = append.run(entries).await;
    if append.begun && looked_at.elapsed() >= heads.trust {
        append.check_places(expected_head, entries).await?;
    }
    let Append { outcomes, head, .. } = append;
    match stop {
        Ok(()) => {
            // What was stored shows that this was the head when the call began.
            heads.put(room, RoomHead { head, ..place }, began);
            Ok(Appended { outcomes, head })
        }
        // A part is stored: the caller offers the rest again, and is then told what is wrong with it.
        Err(Stop::Failed(error)) if head != expected_head && error.kind() != StoreErrorKind::OutcomeUnknown => {
            tracing::debug!(%room, %error, "an append ended early");
            Ok(Appended { outcomes, head })
        }
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Taken) => {
            let now = database.head(room).await.map_err(|error| {
                if head == expected_head {
                    return error;
                }
                StoreError::new(StoreErrorKind::OutcomeUnknown, error.to_string()).with_source(error)
            })?;
            let head = now.map_or(head, |now| now.head.max(head));
            Ok(Appended { outcomes, head })
        }
    }
}

impl Append<'_> {
    /// Stores the entries, as many as there is a place for.
    async fn run(&mut self, entries: &[NewEntry]) -> Result<(), Stop> {
        loop {
            let rest = &entries[self.outcomes.len()..];
            if rest.is_empty() {
                return Ok(());
            }
            let plan = self.plan(rest)?;
            if plan.documents.is_empty() {
                self.settle(&plan, plan.outcomes.len(), 0);
                continue;
            }
            let mut session = self.database.session().await?;
            let insert = self
                .database
                .entries
                .insert_many(&plan.documents)
                .ordered(true)
                .session(&mut *session)
                .into_future();
            self.begun = true;
            let refusal = match self.database.write(insert).await? {
                Ok(_) => None,
                Err(error) => match first_refused(&error) {
                    Some(refusal) if refusal.0 < plan.documents.len() => Some(refusal),
                    _ => return Err(unwritten(error).into()),
                },
            };
            drop(session);
            let (taken, entry) = match &refusal {
                None => (plan.documents.len(), plan.outcomes.len()),
                Some((index, ..)) => (*index, plan.entries[*index]),
            };
            self.settle(&plan, entry, taken);
            self.finish_changes(&plan, taken).await;
            match refusal {
                None => {}
                Some((_, DUPLICATE_KEY, _)) => self.explain_duplicate(&entries[self.outcomes.len()..]).await?,
                Some((_, code, message)) => return Err(document_refused(code, &message).into()),
            }
        }
    }

    /// What becomes of the next entries, as many as one insert carries.
    fn plan(&self, entries: &[NewEntry]) -> Result<Plan, StoreError> {
        let mut plan = Plan {
            outcomes: Vec::new(),
            documents: Vec::new(),
            entries: Vec::new(),
            changes: Vec::new(),
        };
        let mut targets = self.targets.clone();
        let mut head = self.head;
        let mut bytes = 0;
        for (index, entry) in entries.iter().enumerate() {
            let seq = head + 1;
            let target = match subject(entry) {
                None => {
                    if let Some(outcome) = self.repeated(entry) {
                        plan.outcomes.push(outcome);
                        continue;
                    }
                    targets.insert(entry.id, Target { seq, deleted: false });
                    None
                }
                Some(message) => match targets.get_mut(&message) {
                    Some(target) if !target.deleted => {
                        target.deleted = matches!(entry.change, Change::Delete { .. });
                        Some(target.seq)
                    }
                    _ => {
                        plan.outcomes.push(Outcome::NoTarget);
                        continue;
                    }
                },
            };
            let document = EntryDocument::new(self.room, seq, entry, target, self.database.search)?;
            let raw = document.to_raw()?;
            bytes += raw.as_bytes().len();
            if !plan.documents.is_empty() && (plan.documents.len() >= DOCUMENTS || bytes > BYTES) {
                break;
            }
            head = seq;
            plan.outcomes.push(Outcome::Stored { seq, target });
            plan.documents.push(raw);
            plan.entries.push(index);
            if document.kind != Kind::Message {
                plan.changes.push(document);
            }
        }
        Ok(plan)
    }

    /// Notes what was stored: so many of the plan's outcomes, with so many of its documents.
    fn settle(&mut self, plan: &Plan, outcomes: usize, documents: usize) {
        self.outcomes.extend_from_slice(&plan.outcomes[..outcomes]);
        self.head += documents as u64;
        // A deletion that was stored counts for what follows; it is looked up again, with the messages of this call.
        for change in &plan.changes {
            let stored = change.place().is_ok_and(|seq| seq <= self.head);
            if let (true, Kind::Delete, Ok(message)) = (stored, change.kind, change.subject())
                && let Some(target) = self.targets.get_mut(&message_id(message))
            {
                target.deleted = true;
            }
        }
    }

    /// Brings messages up to date with the edits and deletions that were stored. They are part of the log
    /// already: if this fails, whoever looks at the room next does it.
    async fn finish_changes(&self, plan: &Plan, documents: usize) {
        let stored = plan
            .changes
            .iter()
            .take_while(|change| change.place().is_ok_and(|seq| seq <= self.head))
            .count();
        debug_assert!(stored <= documents);
        if let Err(error) = self.database.finish(&plan.changes[..stored]).await {
            tracing::warn!(room = %self.room, %error, "edits and deletions are left to be finished later");
        }
    }

    /// Finds out against which index the first of the entries stands.
    async fn explain_duplicate(&mut self, entries: &[NewEntry]) -> Result<(), Stop> {
        let place = doc! {"room_id": self.room.as_str(), "seq": number(self.head + 1)};
        if !self.database.page(place, 1, PageLimit::entries(1)).await?.is_empty() {
            return Err(Stop::Taken);
        }
        let before = self.nonces.len();
        let freed = self.look_up_nonces(entries).await?;
        let first = entries.first().and_then(nonce_of);
        if freed || (self.nonces.len() > before && first.is_some_and(|key| self.nonces.contains_key(&key))) {
            return Ok(());
        }
        // Another writer may have been there and be gone again, or this id belongs to an entry of another room.
        Err(unavailable("MongoDB takes the entry for a duplicate, but has none like it").into())
    }

    fn repeated(&self, entry: &NewEntry) -> Option<Outcome> {
        let known = self.nonces.get(&nonce_of(entry)?)?;
        let Change::Message {
            nonce: Some((_, print)),
            ..
        } = &entry.change
        else {
            return None;
        };
        Some(if known.fingerprint == Some(fingerprint(*print)) {
            Outcome::Duplicate {
                id: known.id,
                seq: known.seq,
            }
        } else {
            Outcome::NonceConflict
        })
    }

    /// Looks up which of the entries' nonces the log has. Those of messages that retention removed are set free; then
    /// the answer is `true`.
    async fn look_up_nonces(&mut self, entries: &[NewEntry]) -> Result<bool, StoreError> {
        let mut by_user: HashMap<String, Vec<String>> = HashMap::new();
        for (user, nonce) in entries.iter().filter_map(nonce_of) {
            by_user.entry(user).or_default().push(nonce);
        }
        let mut removed = Vec::new();
        for (user, nonces) in by_user {
            let filter = doc! {"room_id": self.room.as_str(), "user.id": &user, "nonce": {"$in": nonces}};
            let all = PageLimit {
                entries: usize::MAX,
                bytes: usize::MAX,
            };
            for document in self.database.page(filter, 1, all).await? {
                let seq = document.place()?;
                if seq <= self.floor {
                    removed.push(document.id);
                } else if let Some(nonce) = document.nonce {
                    let (id, fingerprint) = (message_id(document.id), document.fingerprint);
                    self.nonces
                        .insert((user.clone(), nonce), Known { id, seq, fingerprint });
                }
            }
        }
        if removed.is_empty() {
            return Ok(false);
        }
        let mut session = self.database.session().await?;
        let update = self
            .database
            .entries
            .update_many(
                doc! {"_id": {"$in": removed}},
                doc! {"$unset": {"nonce": "", "fingerprint": ""}},
            )
            .session(&mut *session)
            .into_future();
        self.database.write(update).await?.map_err(unwritten)?;
        Ok(true)
    }

    /// Looks up the messages that the edits and deletions are about.
    async fn look_up_targets(&mut self, entries: &[NewEntry]) -> Result<(), StoreError> {
        let subjects: Vec<Uuid> = entries.iter().filter_map(subject).map(uuid).collect();
        let filter = doc! {
            "_id": {"$in": subjects},
            "room_id": self.room.as_str(),
            "kind": "message",
            "seq": {"$gt": number(self.floor)},
        };
        let all = PageLimit {
            entries: usize::MAX,
            bytes: usize::MAX,
        };
        for document in self.database.page(filter, 1, all).await? {
            let (seq, deleted) = (document.place()?, document.deleted);
            self.targets.insert(message_id(document.id), Target { seq, deleted });
        }
        Ok(())
    }

    /// Whether retention has come to the places that were taken: then some of them may have been given out before. The
    /// entries are taken back, and the caller finds out what is left.
    async fn check_places(&self, expected_head: u64, entries: &[NewEntry]) -> Result<(), StoreError> {
        let doubt = |what: String| StoreError::new(StoreErrorKind::OutcomeUnknown, what);
        let now = self
            .database
            .head(self.room)
            .await
            .map_err(|error| doubt(error.to_string()))?;
        let floor = now.map_or(0, |now| now.floor);
        if floor <= expected_head {
            return Ok(());
        }
        let ids: Vec<Uuid> = entries.iter().map(|entry| uuid(entry.id)).collect();
        let filter = doc! {"_id": {"$in": ids}, "room_id": self.room.as_str(), "seq": {"$lte": number(floor)}};
        let mut session = self.database.session().await?;
        let delete = self
            .database
            .entries
            .delete_many(filter)
            .session(&mut *session)
            .into_future();
        self.database
            .write(delete)
            .await?
            .map_err(|error| doubt(error.to_string()))?;
        Err(doubt(
            "the append took so long that retention has overtaken it".to_owned(),
        ))
    }
}

/// The message that an edit or a deletion is about.
fn subject(entry: &NewEntry) -> Option<MessageId> {
    match &entry.change {
        Change::Message { .. } => None,
        Change::Edit { message, .. } | Change::Delete { message } => Some(*message),
    }
}

/// The user and the nonce.
fn nonce_of(entry: &NewEntry) -> Option<(String, String)> {
    match &entry.change {
        Change::Message {
            nonce: Some((nonce, _)),
            ..
        } => Some((entry.user.id().as_str().to_owned(), nonce.as_str().to_owned())),
        _ => None,
    }
}
