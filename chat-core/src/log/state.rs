//! What a room knows: decisions only, no waiting. [`RoomLog`](super::RoomLog) carries them out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::commit::Turn;
use super::heard::Heard;
use super::submission::Submission;
use super::tail::{Batch, Frame, Tail};
use crate::bugs::bug;
use crate::session::Session;
use crate::{Entry, QueueLimit, User};

/// By which a room knows a member, and can tell it from one that got its place after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberKey {
    place: usize,
    number: u64,
}

/// A connection in a room.
#[derive(Debug)]
pub(crate) struct Member {
    /// Which of all that ever joined it is.
    number: u64,
    pub(crate) session: Arc<Session>,
    /// Which of the connection's rooms this is.
    pub(crate) slot: u32,
    /// Whether it is catching up from the log: then nothing is pushed to it.
    pub(crate) lagging: bool,
    /// Whether it was told who is in the room, if it wants to know.
    pub(crate) shown: Option<bool>,
}

/// A room's head, newest entries, members and waiting messages.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) head: u64,
    pub(crate) tail: Tail,
    pub(crate) members: Slab<Member>,
    /// How many have joined.
    joined: u64,
    /// Rises with every edit and deletion, so that what was read from the store before is known to be out of date.
    pub(crate) changes: u64,
    /// What waits for its commit.
    queue: VecDeque<Submission>,
    queue_bytes: usize,
    /// Whether a committer is at work: it takes what is queued.
    pub(super) committing: bool,
    /// When the head was last compared with the store's.
    pub(crate) compared: Option<Instant>,
    /// What other hubs have told.
    pub(super) heard: Heard,
    /// Which other hubs ask for a turn in writing.
    pub(super) knocks: Option<Turn>,
    /// How many commits of others were seen.
    pub(super) others: u64,
    /// How long the last append took.
    pub(super) took: Duration,
    /// How many wait for a place in the queue.
    pub(crate) waiting: usize,
    /// Whether the room can't go on, since the store contradicts what was told to members.
    pub(crate) broken: bool,
}

/// Entries are missing between what is known and what came.
#[derive(Debug)]
pub(crate) struct Missing;

/// How a lagging member goes on.
#[derive(Debug)]
pub(crate) enum CatchUp {
    /// It has seen everything: the live stream goes on from here.
    Live,
    /// These are next.
    Frames(Vec<Frame>),
    /// What is next isn't in memory.
    Behind,
}

/// What became of a submission that was offered.
#[derive(Debug)]
pub(crate) enum Offered {
    /// It is queued.
    Queued,
    /// It is queued, and a committer must be started.
    StartCommitter,
    /// There is no place.
    Full(Submission),
    /// The room is broken.
    Broken(Submission),
}

impl LogState {
    pub(crate) fn new(tail: QueueLimit) -> Self {
        Self {
            head: 0,
            tail: Tail::new(tail),
            members: Slab::new(),
            joined: 0,
            changes: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            committing: false,
            compared: None,
            heard: Heard::default(),
            knocks: None,
            others: 0,
            took: Duration::ZERO,
            waiting: 0,
            broken: false,
        }
    }

    /// Adds a member, to begin with a lagging one: whatever it is to see first, it fetches by itself, and what is
    /// committed meanwhile it finds in the log. So there is no window between replay and live. `None` if the room is broken.
    pub(crate) fn attach(&mut self, session: Arc<Session>, slot: u32, presence: bool) -> Option<MemberKey> {
        if self.broken {
            return None;
        }
        self.joined += 1;
        let number = self.joined;
        let place = self.members.insert(Member {
            number,
            session,
            slot,
            lagging: !bug!(LiveBeforeReplay),
            shown: presence.then_some(false),
        });
        Some(MemberKey { place, number })
    }

    pub(crate) fn detach(&mut self, member: MemberKey) -> Option<Member> {
        let known = self.member(member).is_some();
        let detached = known.then(|| self.members.remove(member.place));
        if self.members.is_empty() {
            self.members = Slab::new();
        }
        detached
    }

    /// Whose connections the members are.
    pub(crate) fn users(&self) -> impl Iterator<Item = &User> {
        self.members.iter().map(|(_, member)| &member.session.user)
    }

    pub(crate) fn member(&self, key: MemberKey) -> Option<&Member> {
        let member = self.members.get(key.place);
        member.filter(|member| member.number == key.number)
    }

    fn member_mut(&mut self, key: MemberKey) -> Option<&mut Member> {
        let member = self.members.get_mut(key.place);
        member.filter(|member| member.number == key.number)
    }

    /// Takes in the log's next entries, of which nobody has to be told. False if there are members: then nothing was done.
    pub(crate) fn enter_unheard(&mut self, entries: &[Entry]) -> Result<bool, Missing> {
        if !self.members.is_empty() {
            return Ok(false);
        }
        let known = entries.partition_point(|entry| entry.seq() <= self.head);
        self.advance(entries[known..].iter())?;
        // Were entries left out in between, the tail would have a hole.
        self.tail.clear();
        Ok(true)
    }

    /// Takes in the log's next entries and sends them, as one batch, to all members that are not lagging. Those that are
    /// known already are passed over. Returns how many members began to lag, or that entries are missing before these.
    pub(crate) fn enter(&mut self, mut entries: Vec<(Entry, Frame)>) -> Result<usize, Missing> {
        entries.retain(|(entry, _)| entry.seq() > self.head);
        self.advance(entries.iter().map(|(entry, _)| entry))?;
        if entries.is_empty() {
            return Ok(0);
        }
        let batch = Arc::new(Batch::new(entries.iter().map(|(_, frame)| frame.clone()).collect()));
        for (entry, frame) in entries {
            self.tail.push(entry, frame);
        }
        let mut lagging = 0;
        for (_, member) in &mut self.members {
            if !member.lagging && !member.session.outbox.push_batch(member.slot, &batch) {
                member.lagging = true;
                lagging += 1;
            }
        }
        Ok(lagging)
    }

    /// Moves the head behind these entries, none of which was known.
    fn advance<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<(), Missing> {
        for entry in entries {
            if entry.seq() != self.head + 1 && !bug!(NoticeGapIgnored) {
                return Err(Missing);
            }
            self.head = entry.seq();
            self.changes += u64::from(entry.target().is_some());
        }
        Ok(())
    }

    /// Goes on behind entries that can't be had any more: members find the gap when they catch up.
    pub(crate) fn jump(&mut self, head: u64) {
        if head <= self.head {
            return;
        }
        self.head = head;
        self.changes += 1;
        self.tail.clear();
        for (_, member) in &mut self.members {
            if !member.lagging {
                member.lagging = true;
                member
                    .session
                    .outbox
                    .push(crate::outbox::Item::Lagging { slot: member.slot });
            }
        }
    }

    /// What comes next for a lagging member that is to see `next`. With [`CatchUp::Live`] it lags no longer.
    pub(crate) fn catch_up(&mut self, member: MemberKey, next: u64, limit: QueueLimit) -> CatchUp {
        if next > self.head {
            if let Some(member) = self.member_mut(member) {
                member.lagging = false;
            }
            return CatchUp::Live;
        }
        match self.tail.frames(next, limit) {
            Some(frames) => CatchUp::Frames(frames),
            None => CatchUp::Behind,
        }
    }

    /// Queues a message for its commit.
    pub(crate) fn offer(&mut self, submission: Submission, limit: QueueLimit) -> Offered {
        if self.broken {
            return Offered::Broken(submission);
        }
        // One always fits into an empty queue, however large.
        let full = self.queue.len() >= limit.messages || self.queue_bytes + submission.bytes > limit.bytes;
        if full && !self.queue.is_empty() {
            return Offered::Full(submission);
        }
        self.queue_bytes += submission.bytes;
        self.queue.push_back(submission);
        if std::mem::replace(&mut self.committing, true) {
            Offered::Queued
        } else {
            Offered::StartCommitter
        }
    }

    /// Takes the next of the queue for the committer, which holds `count` messages of `bytes` already.
    pub(crate) fn take_next(&mut self, count: usize, bytes: usize, limit: QueueLimit) -> Option<Submission> {
        let next = self.queue.front()?;
        if count > 0 && (count >= limit.messages || bytes + next.bytes > limit.bytes) {
            return None;
        }
        self.queue_bytes -= next.bytes;
        self.queue.pop_front()
    }

    /// Takes back what has waited for too long, and tells when the next will have.
    pub(crate) fn overdue(&mut self, now: Instant) -> (Vec<Submission>, Option<Instant>) {
        let mut overdue = Vec::new();
        // Those that came first are due first.
        while self.queue.front().is_some_and(|first| first.deadline <= now) {
            if let Some(first) = self.queue.pop_front() {
                self.queue_bytes -= first.bytes;
                overdue.push(first);
            }
        }
        (overdue, self.queue.front().map(|first| first.deadline))
    }

    /// The committer rests, if there is nothing to do.
    pub(crate) fn rest(&mut self) -> bool {
        if !self.queue.is_empty() {
            return false;
        }
        self.committing = bug!(RestsLate);
        true
    }

    /// Gives up: nothing is taken any more, and what waits is handed back.
    pub(crate) fn break_up(&mut self) -> VecDeque<Submission> {
        self.broken = true;
        self.queue_bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// What is in it, counted anew beside what it has counted.
    #[cfg(feature = "probe")]
    pub(crate) fn held(&self) -> crate::probe::Room {
        let weigh = |submission: &Submission| Submission::weight(&submission.entry.change);
        let (entries, bytes, counted) = self.tail.held();
        let (early, early_bytes, counted_early) = self.heard.held();
        crate::probe::Room {
            queue: (self.queue.len(), self.queue.iter().map(weigh).sum()),
            counted_queue: self.queue_bytes,
            tail: (entries, bytes),
            counted_tail: counted,
            early: (early, early_bytes),
            counted_early,
            head: self.head,
            members: self.members.len(),
            lagging: self.members.iter().filter(|(_, member)| member.lagging).count(),
        }
    }
}

#[cfg(all(test, not(roomcast_loom)))]
mod model;
