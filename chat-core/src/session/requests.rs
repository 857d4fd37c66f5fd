//! What a client asks for: one request after the other, in the order in which they came.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::Session;
use crate::bugs::bug;
use crate::client::JoinOptions;
use crate::engine::{Engine, RoomLease};
use crate::log::{MemberKey, RoomLog, Sender, store_failed};
use crate::outbox::{Attach, Closing, Item};
use crate::rate::TokenBucket;
use crate::verbs::{bad, range};
use crate::wire::{self, ClientFrame, GapReason, HelloRoom, RequestId, Resume};
use crate::{CloseCode, Epoch, ErrorCode, Protocol, Refusal, RoomId, Start, metrics};

/// So many frames in a row that are answered with `bad_request` end a connection.
const BAD_FRAMES: u32 = 10;

/// So many bursts of refused frames more than were let through are far above the rate.
const REFUSED_BURSTS: u32 = 5;

/// What a connection asked for and has: its rooms, and how much it may ask yet.
pub(super) struct Requests {
    engine: Arc<Engine>,
    session: Arc<Session>,
    bucket: Option<TokenBucket>,
    /// For frames that ask for nothing: a few keep a connection alive; millions would keep a core busy.
    control: Option<TokenBucket>,
    /// How many more frames were refused than let through, since that was none or the client kept still for a while.
    refused: u32,
    /// Frames in a row that were answered with `bad_request`: none of the protocol, or with fields that can't be.
    bad: u32,
    rooms: Slab<Joined>,
    /// The room that the client asked for when it was admitted.
    first: Option<Box<(RoomLease, JoinOptions)>>,
    /// Whether the client is told hello.
    greeted: bool,
}

struct Joined {
    lease: RoomLease,
    member: MemberKey,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.leave_all();
    }
}

/// What a join found.
struct Entry {
    head: u64,
    resume: Resume,
}

impl Requests {
    pub(super) fn new(
        engine: Arc<Engine>,
        session: Arc<Session>,
        first: Option<Box<(RoomLease, JoinOptions)>>,
        now: Instant,
    ) -> Self {
        let bucket = engine.limits.rate.map(|rate| TokenBucket::new(rate, now));
        let control = engine.limits.control_rate.map(|rate| TokenBucket::new(rate, now));
        Self {
            engine,
            session,
            bucket,
            control,
            refused: 0,
            bad: 0,
            rooms: Slab::new(),
            first,
            greeted: false,
        }
    }

    /// The hello of a client that is to go before it was greeted.
    pub(super) fn late_hello(&self) -> Option<bytes::Bytes> {
        let owed = !self.greeted && self.session.protocol == Protocol::V1;
        owed.then(|| wire::hello(&self.session.user, &self.engine.limits, &[]))
    }

    /// Waits until another request may be under way.
    pub(super) async fn capacity(&self) {
        if bug!(UnboundedRequests) {
            return;
        }
        self.session.outbox.capacity(self.engine.limits.in_flight).await;
    }

    /// Greets the client and puts it into its first room, which the policy was asked about before.
    pub(super) async fn begin(&mut self) -> Result<(), Closing> {
        let Some((lease, options)) = self.first.take().map(|first| *first) else {
            self.greeted = true;
            self.reply(wire::hello(&self.session.user, &self.engine.limits, &[]));
            return Ok(());
        };
        let (user, engine) = (self.session.user.clone(), self.engine.clone());
        let protocol = self.session.protocol;
        let hello = |lease: &RoomLease, epoch: &Epoch, entry: &Entry| {
            let room = HelloRoom {
                room_id: &lease.log().id,
                epoch,
                head: entry.head,
                resume: entry.resume,
            };
            (protocol == Protocol::V1).then(|| wire::hello(&user, &engine.limits, &[room]))
        };
        self.enter(lease, options, hello)
            .await
            .map_err(|refusal| Closing::of(&refusal))?;
        self.greeted = true;
        Ok(())
    }

    /// Does what a frame asks for. An error closes the connection.
    pub(super) async fn handle(&mut self, text: &[u8], now: Instant) -> Result<(), Closing> {
        metrics::received();
        match self.session.protocol {
            Protocol::Plain => self.handle_plain(text, now).await,
            Protocol::V1 => self.handle_v1(text, now).await,
        }
    }

    /// Counts a frame of the transport's own, or a piece of one. An error closes the connection.
    pub(super) fn handle_control(&mut self, now: Instant) -> Result<(), Closing> {
        let Err(wait) = self.control.as_mut().map_or(Ok(()), |bucket| bucket.take(now)) else {
            return Ok(());
        };
        metrics::refused(ErrorCode::RateLimited);
        tracing::debug!("a flood of frames that ask for nothing");
        Err(Closing {
            code: CloseCode::RateLimited,
            after: Some(wait.max(SECOND)),
            finish: true,
        })
    }

    async fn handle_plain(&mut self, text: &[u8], now: Instant) -> Result<(), Closing> {
        if let Err(wait) = self.take_token(now) {
            metrics::refused(ErrorCode::RateLimited);
            return Err(Closing {
                code: CloseCode::RateLimited,
                after: Some(wait),
                finish: true,
            });
        }
        let draft = wire::parse_plain(text).map_err(|rejected| {
            tracing::debug!(reason = rejected.message, "a frame was none of the protocol");
            Closing {
                code: CloseCode::BadRequest,
                after: None,
                finish: true,
            }
        })?;
        self.engine
            .check_draft(&draft)
            .map_err(|refusal| Closing::of(&refusal))?;
        if let Some((_, joined)) = self.rooms.iter().next() {
            let room = joined.lease.log().id.clone();
            let sender = Sender::session(self.session.clone(), None, room);
            self.engine
                .send(&joined.lease, &self.session.user, draft, false, sender)
                .await;
        }
        Ok(())
    }

    async fn handle_v1(&mut self, text: &[u8], now: Instant) -> Result<(), Closing> {
        let parsed = wire::parse_v1(text);
        if self.refused > 0 && self.bucket.as_mut().is_some_and(|bucket| bucket.is_full(now)) {
            self.refused = 0;
        }
        if let Err(wait) = self.take_token(now) {
            self.refused += 1;
            let wait = self.bucket.as_mut().map_or(wait, |bucket| bucket.turn_after(wait, now));
            let burst = self.engine.limits.rate.map_or(0, |rate| rate.burst);
            if self.refused > burst.saturating_mul(REFUSED_BURSTS) {
                return Err(Closing {
                    code: CloseCode::RateLimited,
                    after: Some(wait.max(SECOND)),
                    finish: true,
                });
            }
            let id = match parsed {
                Ok(frame) => frame.into_id(),
                Err(rejected) => rejected.id,
            };
            let refusal = Refusal::new(ErrorCode::RateLimited, "too many frames").retry_after(wait);
            self.refuse(id.as_ref(), &refusal);
            return Ok(());
        }
        // One that is let through makes up for one alone: in the midst of any flood there is one now and then.
        self.refused = self.refused.saturating_sub(1);
        let frame = match parsed {
            Ok(frame) => frame,
            Err(rejected) => return self.bad_frame(rejected.id.as_ref(), rejected.message),
        };
        let (id, result) = match frame {
            ClientFrame::Join(mut join) => {
                let result = match join.options() {
                    Some(options) => self.join(join.id.as_ref(), &join.room_id, options).await,
                    None => Err(bad("at most one of since and last may be given")),
                };
                (join.id, result)
            }
            ClientFrame::Leave(leave) => {
                let result = self.leave(leave.id.as_ref(), leave.room_id.as_ref());
                (leave.id, result)
            }
            ClientFrame::Send(send) => {
                let draft = send.draft.into();
                let checked = self.engine.check_draft(&draft);
                let result = match checked.and_then(|()| self.joined(send.room_id.as_ref())) {
                    Ok((_, joined)) => {
                        let sender = self.sender(send.id.clone(), joined);
                        self.engine
                            .send(&joined.lease, &self.session.user, draft, false, sender)
                            .await;
                        Ok(())
                    }
                    Err(refusal) => Err(refusal),
                };
                (send.id, result)
            }
            ClientFrame::Edit(edit) => {
                let checked = self.engine.check_content(&edit.content);
                let result = match checked.and_then(|()| self.joined(edit.room_id.as_ref())) {
                    Ok((_, joined)) => {
                        let sender = self.sender(edit.id.clone(), joined);
                        self.engine
                            .edit(&joined.lease, &self.session.user, edit.msg, edit.content, sender)
                            .await;
                        Ok(())
                    }
                    Err(refusal) => Err(refusal),
                };
                (edit.id, result)
            }
            ClientFrame::Delete(delete) => {
                let result = match self.joined(delete.room_id.as_ref()) {
                    Ok((_, joined)) => {
                        let sender = self.sender(delete.id.clone(), joined);
                        self.engine
                            .delete(&joined.lease, &self.session.user, delete.msg, sender)
                            .await;
                        Ok(())
                    }
                    Err(refusal) => Err(refusal),
                };
                (delete.id, result)
            }
            ClientFrame::History(history) => {
                let result = self.history(&history).await;
                (history.id, result)
            }
            ClientFrame::Ping(ping) => {
                self.reply(wire::pong(ping.id.as_ref()));
                (None, Ok(()))
            }
            ClientFrame::Unknown => (None, Ok(())),
        };
        match result {
            Err(refusal) if refusal.code == ErrorCode::BadRequest => {
                self.bad_frame(id.as_ref(), refusal.message.into_owned())
            }
            Err(refusal) => {
                self.bad = 0;
                self.refuse(id.as_ref(), &refusal);
                Ok(())
            }
            Ok(()) => {
                self.bad = 0;
                Ok(())
            }
        }
    }

    async fn join(&mut self, id: Option<&RequestId>, room: &RoomId, options: JoinOptions) -> Result<(), Refusal> {
        self.engine.check_room_id(room)?;
        self.engine.check_start(&options.start)?;
        let again = self.slot(room);
        let limit = self.engine.limits.rooms_per_connection;
        if again.is_none() && self.rooms.len() >= limit {
            return Err(Refusal::new(
                ErrorCode::TooManyRooms,
                format!("one connection may be in {limit} rooms at a time"),
            ));
        }
        if let Err(refusal) = self.engine.may_join(&self.session.user, room).await {
            if let Some(slot) = again
                && matches!(refusal.code, ErrorCode::Forbidden | ErrorCode::UnknownRoom)
            {
                // Who may not be in the room isn't left in it.
                self.detach(slot, wire::left(None, room));
            }
            return Err(refusal);
        }
        self.engine.may_begin(&self.session.user, room, &options).await?;
        let lease = self.engine.open_to_read(room).await?;
        let joined = |lease: &RoomLease, epoch: &Epoch, entry: &Entry| {
            Some(wire::joined(id, &lease.log().id, epoch, entry.head, entry.resume))
        };
        self.enter(lease, options, joined).await
    }

    /// Puts the connection into the room; if it is there already, it begins anew from where the client now says it
    /// stands, unless this fails. What it is to see first, its own task fetches.
    async fn enter(
        &mut self,
        mut lease: RoomLease,
        options: JoinOptions,
        answer: impl Fn(&RoomLease, &Epoch, &Entry) -> Option<bytes::Bytes>,
    ) -> Result<(), Refusal> {
        loop {
            let log = lease.log().clone();
            let (epoch, next, resume) = beginning(&log, &options.start).await?;
            // Nothing is waited for from here on: the connection is in the room as it was, or as it is to be.
            let again = self.slot(&log.id);
            let slot = u32::try_from(again.unwrap_or_else(|| self.rooms.vacant_key()));
            let slot = slot.map_err(|_| bad("too many rooms"))?;
            let Some((member, head)) = log.attach(self.session.clone(), slot, options.presence) else {
                // It broke up since it was opened.
                lease = self.engine.open_to_read(&log.id).await?;
                continue;
            };
            let mut frames: Vec<_> = answer(&lease, &epoch, &Entry { head, resume }).into_iter().collect();
            if resume == Resume::Gap && next.is_none() && self.session.protocol == Protocol::V1 {
                frames.push(wire::gap(&log.id, None, GapReason::Epoch));
            }
            let joined = Joined { lease, member };
            match again {
                Some(slot) => {
                    let before = std::mem::replace(&mut self.rooms[slot], joined);
                    before.lease.log().detach(before.member);
                }
                None => {
                    // Most connections are in one room.
                    self.rooms.reserve_exact(1);
                    self.rooms.insert(joined);
                }
            }
            self.session.outbox.push(Item::Attach(Box::new(Attach {
                slot,
                room: log,
                member,
                next: next.unwrap_or(head + 1),
                goal: head,
                presence: options.presence,
                frames,
            })));
            return Ok(());
        }
    }

    /// The rooms forget the connection, which is to end.
    pub(super) fn leave_all(&mut self) {
        for (_, joined) in std::mem::take(&mut self.rooms) {
            joined.lease.log().detach(joined.member);
        }
    }

    fn leave(&mut self, id: Option<&RequestId>, room: Option<&RoomId>) -> Result<(), Refusal> {
        let (slot, joined) = self.joined(room)?;
        let left = wire::left(id, &joined.lease.log().id);
        self.detach(slot, left);
        Ok(())
    }

    fn detach(&mut self, slot: usize, left: bytes::Bytes) {
        if let Some(joined) = self.rooms.try_remove(slot) {
            joined.lease.log().detach(joined.member);
            if bug!(LateAnswer) {
                return self.reply(left);
            }
            self.session.outbox.push(Item::Detach {
                slot: slot as u32,
                left,
            });
        }
        if self.rooms.is_empty() {
            self.rooms = Slab::new();
        }
    }

    async fn history(&self, history: &wire::History) -> Result<(), Refusal> {
        let (_, joined) = self.joined(history.room_id.as_ref())?;
        let range = range(history.before, history.after)?;
        self.engine.page(history.limit)?;
        let room = &joined.lease.log().id;
        self.engine.may_read(&self.session.user, room).await?;
        let page = self.engine.history(room, range, history.limit).await?;
        self.reply(wire::history(history.id.as_ref(), room, &page));
        Ok(())
    }

    /// The room that a request is about; it may be left out while there is exactly one.
    fn joined(&self, room: Option<&RoomId>) -> Result<(usize, &Joined), Refusal> {
        let slot = match room {
            Some(room) => self.slot(room),
            None if self.rooms.len() == 1 => self.rooms.iter().next().map(|(slot, _)| slot),
            None if self.rooms.is_empty() => None,
            None => return Err(bad("room_id is missing, and the connection is in more than one room")),
        };
        slot.and_then(|slot| Some((slot, self.rooms.get(slot)?)))
            .ok_or_else(|| Refusal::new(ErrorCode::NotJoined, "the connection is not in that room"))
    }

    fn slot(&self, room: &RoomId) -> Option<usize> {
        self.rooms
            .iter()
            .find(|(_, joined)| joined.lease.log().id == *room)
            .map(|(slot, _)| slot)
    }

    fn sender(&self, id: Option<RequestId>, joined: &Joined) -> Sender {
        Sender::session(self.session.clone(), id, joined.lease.log().id.clone())
    }

    fn take_token(&mut self, now: Instant) -> Result<(), Duration> {
        self.bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(now))
    }

    fn bad_frame(&mut self, id: Option<&RequestId>, message: String) -> Result<(), Closing> {
        self.bad += 1;
        self.refuse(id, &bad(message));
        if self.bad >= BAD_FRAMES {
            return Err(Closing {
                code: CloseCode::BadRequest,
                after: None,
                finish: true,
            });
        }
        Ok(())
    }

    fn refuse(&self, id: Option<&RequestId>, refusal: &Refusal) {
        metrics::refused(refusal.code);
        self.reply(wire::err(id, refusal));
    }

    fn reply(&self, frame: bytes::Bytes) {
        self.session.outbox.push(Item::Reply(frame));
    }
}

/// The first seq that a join is to show, `None` for the live stream alone, and how its cursor was taken.
async fn beginning(log: &RoomLog, start: &Start) -> Result<(Epoch, Option<u64>, Resume), Refusal> {
    let failed = |error| store_failed(&log.id, &error);
    let epoch = log.open().await.map_err(failed)?.clone();
    if let Start::Since(cursor) = start
        && cursor.epoch == epoch
        && cursor.seq > log.head()
    {
        // It has seen more than is known here: on another node, or before an answer of the store was lost.
        log.refresh(Duration::ZERO).await.map_err(failed)?;
    }
    let (next, resume) = match start {
        Start::Live => (None, Resume::Fresh),
        Start::Last(count) => (Some(log.start_of_last(*count).await.map_err(failed)?), Resume::Fresh),
        // A log that is shorter than what the client has seen isn't the one it saw.
        Start::Since(cursor) if cursor.epoch != epoch || cursor.seq > log.head() => (None, Resume::Gap),
        Start::Since(cursor) => {
            let next = cursor.seq + 1;
            let gap = log.gap_before(next).await.map_err(failed)?;
            (Some(next), if gap.is_some() { Resume::Gap } else { Resume::Ok })
        }
    };
    Ok((epoch, next, resume))
}

const SECOND: Duration = Duration::from_secs(1);
