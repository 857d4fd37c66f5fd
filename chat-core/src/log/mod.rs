//! A room's log while it is in use: its head, its newest entries, its members, and what waits for its commit.

mod commit;
mod heard;
mod presence;
mod state;
mod submission;
mod tail;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

pub use submission::Receipt;
pub(crate) use submission::{Sender, Submission, nonce_conflict, unavailable};
pub(crate) use tail::{Batch, Frame};

use crate::bugs::bug;
use crate::engine::{Engine, RoomLease};
use crate::outbox::Closing;
use crate::session::Session;
use crate::sync::{AtomicUsize, Mutex, Seen, seen};
use crate::{
    CloseCode, Entry, Epoch, HistoryRange, LogPage, MAX_SEQ, Message, MessageId, Nonce, PageLimit, QueueLimit, Refusal,
    RoomId, Sent, StoreError, StoreErrorKind, UserId, metrics,
};
use state::{CatchUp, Missing, Offered};
pub(crate) use state::{LogState, MemberKey};

/// A room in use. It is kept while somebody holds a [`RoomLease`] of it.
#[derive(Debug)]
pub(crate) struct RoomLog {
    pub(crate) id: RoomId,
    engine: Arc<Engine>,
    pub(crate) leases: AtomicUsize,
    epoch: OnceCell<Epoch>,
    state: Mutex<LogState>,
    /// Told when there is a place again among what waits for its commit.
    space: Seen<Notify>,
    /// Held while the tail is filled from the store, so that a storm of returning members reads it once.
    filling: tokio::sync::Mutex<()>,
    /// Held while the head is compared with the store's, for the same reason.
    comparing: tokio::sync::Mutex<()>,
}

/// How many entries are read at once to put them in front of the tail.
const FILL: u64 = 128;

/// Who has stored entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This hub: it tells the others.
    Here,
    Elsewhere,
}

/// The next piece for a member that lags.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The live stream goes on from here.
    Live,
    /// These are next; they begin with the one that was asked for, or with the first after `gap_to`.
    Frames { frames: Vec<Frame>, gap_to: Option<u64> },
}

impl RoomLog {
    pub(crate) fn new(id: RoomId, engine: Arc<Engine>) -> Self {
        let state = Mutex::new(LogState::new(engine.limits.tail));
        Self {
            id,
            engine,
            leases: AtomicUsize::new(0),
            epoch: OnceCell::new(),
            state,
            space: seen(Notify::new()),
            filling: tokio::sync::Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
        }
    }

    /// Reads where the log stands, once. Creates the room if there is none. Cancel safe.
    pub(crate) async fn open(&self) -> Result<&Epoch, StoreError> {
        self.epoch
            .get_or_try_init(|| async {
                let epoch = self.engine.ids.epoch();
                let now = Instant::now();
                let head = self.engine.read(self.engine.store.create_room(&self.id, epoch)).await?;
                let mut state = self.state.lock();
                state.head = head.head;
                state.compared = Some(now);
                Ok(head.epoch)
            })
            .await
    }

    #[cfg(feature = "probe")]
    pub(crate) fn held(&self) -> crate::probe::Room {
        self.state.lock().held()
    }

    pub(crate) fn head(&self) -> u64 {
        self.state.lock().head
    }

    pub(crate) fn member_count(&self) -> usize {
        self.state.lock().members.len()
    }

    /// Calls for each connection that is in the room.
    pub(crate) fn for_each_member(&self, mut call: impl FnMut(&Arc<Session>)) {
        self.state
            .lock()
            .members
            .iter()
            .for_each(|(_, member)| call(&member.session));
    }

    /// Adds a member; it gets the live stream once it has caught up. Returns its key and the head; `None` if this log was
    /// given up, and the room is to be opened anew.
    pub(crate) fn attach(&self, session: Arc<Session>, slot: u32, presence: bool) -> Option<(MemberKey, u64)> {
        let mut state = self.state.lock();
        let attached = (state.attach(session, slot, presence)?, state.head);
        let first = state.members.len() == 1;
        self.came(&state, attached.0);
        drop(state);
        if presence {
            crate::presence::begin(&self.engine);
        }
        if first {
            self.interest_changed();
        }
        Some(attached)
    }

    pub(crate) fn detach(&self, member: MemberKey) {
        let mut state = self.state.lock();
        if let Some(member) = state.detach(member)
            && !state.broken
        {
            self.left(&member);
        }
        let last = state.members.is_empty();
        drop(state);
        if last {
            self.interest_changed();
        }
    }

    /// The first member came, or the last one left.
    fn interest_changed(&self) {
        if let Some(link) = &self.engine.bus {
            link.interest_changed(&self.id);
        }
    }

    /// Compares the head with the store's, unless that was done not longer than this ago or is begun meanwhile, and takes in
    /// what other writers have stored. Cancel safe.
    pub(crate) async fn refresh(&self, max_age: Duration) -> Result<(), StoreError> {
        let asked = Instant::now();
        self.engine
            .read(async {
                let _one_at_a_time = self.comparing.lock().await;
                let now = Instant::now();
                let before = {
                    let state = self.state.lock();
                    // What was looked up while this waited for its turn is new enough, however long that took: a crowd that
                    // joins while the store is slow waits for two looks at most, not for one each.
                    let is_recent = |at: Instant| at > asked || now.duration_since(at) < max_age;
                    if state.compared.is_some_and(is_recent) {
                        return Ok(());
                    }
                    state.head
                };
                let stored = self.engine.store.room(&self.id).await?;
                let epoch = self.epoch.get();
                let Some(stored) = stored.filter(|stored| epoch.is_none_or(|epoch| *epoch == stored.epoch)) else {
                    tracing::error!(room = %self.id, "the store has another log now, or none");
                    self.break_up();
                    return Err(shrunk());
                };
                if stored.head < before {
                    self.lost_its_end(before, stored.head);
                    return Err(shrunk());
                }
                self.state.lock().tail.forget_up_to(stored.floor);
                loop {
                    let head = self.head();
                    if head >= stored.head {
                        break;
                    }
                    let limit = PageLimit::entries(self.engine.limits.commit_batch.messages);
                    let page = self.read_page(head, limit).await?;
                    if page.floor > head {
                        self.state.lock().jump(page.floor);
                    }
                    self.enter(page.entries, Origin::Elsewhere, |_| {}).await;
                }
                self.state.lock().compared = Some(now);
                Ok(())
            })
            .await
    }

    /// Takes in the log's next entries, and sends them to the members; says after each batch up to where that is done. Cancel
    /// safe: what wasn't taken in is found in the log.
    async fn enter(&self, entries: Vec<Entry>, origin: Origin, sent: impl FnMut(u64)) {
        if let Err(Missing) = self.enter_in_batches(entries, origin, sent).await {
            tracing::error!(room = %self.id, "entries are missing before those that were stored");
            self.break_up();
        }
    }

    async fn enter_in_batches(
        &self,
        entries: Vec<Entry>,
        origin: Origin,
        mut sent: impl FnMut(u64),
    ) -> Result<(), Missing> {
        let news = match origin {
            Origin::Here => self.engine.bus.as_ref().zip(self.epoch.get()),
            Origin::Elsewhere => None,
        };
        // Others may have members where there are none here.
        if news.is_none() && self.state.lock().enter_unheard(&entries)? {
            return Ok(());
        }
        // Half of what a member may have waiting: so there is a place while the batch before is being written.
        let queue = self.engine.limits.send_queue;
        let most = QueueLimit {
            messages: queue.messages.div_ceil(2),
            bytes: queue.bytes.div_ceil(2),
        };
        let mut batches = tail::batches(entries, most).peekable();
        while let Some(batch) = batches.next() {
            let last = batch.last().map(|(entry, _)| entry.seq());
            if let Some((link, epoch)) = news {
                link.committed(&self.id, epoch, &batch);
            }
            let lagging = self.state.lock().enter(batch)?;
            metrics::lagging(lagging);
            last.into_iter().for_each(&mut sent);
            if batches.peek().is_some() {
                // The members' tasks were woken: most get their turn before the next, all of them on a single thread.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The next piece for a member that is to see `next`: from memory if it is there, else from the store. Cancel safe.
    pub(crate) async fn catch_up(&self, member: MemberKey, next: u64) -> Result<Piece, StoreError> {
        let limits = &self.engine.limits;
        // A quarter of what may be queued, so that live messages of other rooms find a place beside it.
        let page = QueueLimit {
            messages: limits.send_queue.messages.div_ceil(4),
            bytes: limits.send_queue.bytes.div_ceil(4),
        };
        for attempt in 0.. {
            match self.state.lock().catch_up(member, next, page) {
                CatchUp::Live => return Ok(Piece::Live),
                CatchUp::Frames(frames) => return Ok(Piece::Frames { frames, gap_to: None }),
                CatchUp::Behind => {}
            }
            if attempt > 0 || !self.fill(next).await? {
                break;
            }
        }
        let after = next - 1;
        let log = self
            .read(
                after,
                PageLimit {
                    entries: limits.history_page_max,
                    bytes: page.bytes,
                },
            )
            .await?;
        if log.head < next {
            self.lost_its_end(after, log.head);
            return Err(shrunk());
        }
        let gap_to = (log.floor > after).then_some(log.floor);
        let mut frames: Vec<_> = log.entries.iter().map(Frame::of).collect();
        if bug!(RepairOutOfOrder) {
            frames.reverse();
        }
        Ok(Piece::Frames { frames, gap_to })
    }

    /// One page of the log, within the time for a read.
    async fn read(&self, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.engine.read(self.read_page(after, limit)).await
    }

    /// One page of the log, checked: it has no hole, and goes on where it should.
    async fn read_page(&self, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let page = self.engine.store.log(&self.id, after, limit).await?;
        let mut next = after.max(page.floor) + 1;
        for entry in &page.entries {
            if entry.seq() != next || next > MAX_SEQ {
                return Err(StoreError::new(StoreErrorKind::Refused, "the store's log has a hole"));
            }
            next += 1;
        }
        if page.entries.is_empty() && next <= page.head {
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                "the store's log ends before its head",
            ));
        }
        Ok(page)
    }

    /// Fills the tail from the store, so that it holds `next`; false if the tail is too small for that.
    async fn fill(&self, next: u64) -> Result<bool, StoreError> {
        // One time limit for all who wait: if the store hangs, they are told together.
        self.engine
            .read(async {
                let _one_at_a_time = self.filling.lock().await;
                loop {
                    let (last, changes) = {
                        let state = self.state.lock();
                        let first = state.tail.first();
                        if first.is_some_and(|first| first <= next) {
                            return Ok(true);
                        }
                        let capacity = self.engine.limits.tail.messages as u64;
                        if state.tail.is_complete() || state.head.saturating_sub(next) >= capacity {
                            return Ok(false);
                        }
                        (first.map_or(state.head, |first| first - 1), state.changes)
                    };
                    let (older, all) = self.read_before(last).await?;
                    let mut state = self.state.lock();
                    // An edit or a deletion came between: what was read may show what must not be shown any more.
                    let joins = state.tail.first().map_or(state.head, |first| first - 1) == last;
                    if joins && state.changes == changes {
                        state.tail.prepend(older, all);
                    }
                }
            })
            .await
    }

    /// Some entries up to and including this one, without holes, and whether the log has none before them.
    async fn read_before(&self, last: u64) -> Result<(Vec<Entry>, bool), StoreError> {
        let mut entries = Vec::new();
        let start = last.saturating_sub(FILL);
        let (mut after, mut all) = (start, start == 0);
        while after < last {
            let wanted = usize::try_from(last - after).unwrap_or(usize::MAX);
            let page = self.read_page(after, PageLimit::entries(wanted)).await?;
            if page.head < last {
                self.lost_its_end(last, page.head);
                return Err(shrunk());
            }
            if page.floor > after {
                // Retention came between: what was read before is gone, and would leave a hole.
                entries.clear();
                all = true;
            }
            entries.extend(page.entries.into_iter().filter(|entry| entry.seq() <= last));
            after = entries.last().map_or(page.floor, Entry::seq).max(page.floor);
        }
        Ok((entries, all))
    }

    /// How far the log has been cut off by retention, if `next` isn't there any more.
    pub(crate) async fn gap_before(&self, next: u64) -> Result<Option<u64>, StoreError> {
        let held = |state: &LogState| next > state.head || state.tail.first().is_some_and(|first| first <= next);
        if held(&self.state.lock()) || self.fill(next).await? {
            return Ok(None);
        }
        let head = self.engine.read(self.engine.store.room(&self.id)).await?;
        Ok(head.map(|head| head.floor).filter(|floor| *floor >= next))
    }

    /// The seq of the message with which the last `count` messages begin.
    pub(crate) async fn start_of_last(&self, count: usize) -> Result<u64, StoreError> {
        let head = self.head();
        if count == 0 || head == 0 {
            return Ok(head + 1);
        }
        self.fill(head).await?;
        {
            let state = self.state.lock();
            let messages = state
                .tail
                .entries()
                .rev()
                .filter(|entry| matches!(entry, Entry::Message(_)));
            if let Some(first) = messages
                .take(count)
                .map(Entry::seq)
                .enumerate()
                .filter(|(n, _)| n + 1 == count)
                .last()
            {
                return Ok(first.1);
            }
        }
        // Up to the head that is known here: the store may have more, which comes after. A page of history may end early, for its
        // bytes.
        let (mut range, mut left, mut start) = (HistoryRange::Before(head + 1), count, head + 1);
        while left > 0 {
            let page = self.engine.store.history(&self.id, range, left);
            let page = self.engine.read(page).await?;
            let Some(first) = page.messages.first() else { break };
            start = first.seq;
            left = left.saturating_sub(page.messages.len());
            if !page.more {
                break;
            }
            range = HistoryRange::Before(start);
        }
        Ok(start)
    }

    /// Which message was stored for this user's nonce.
    pub(crate) async fn sent(&self, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.engine.read(self.engine.store.sent(&self.id, user, nonce)).await
    }

    /// A message as it now is.
    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let found = self.state.lock().tail.entries().find_map(|entry| match entry {
            Entry::Message(message) if message.id == id => Some(message.clone()),
            _ => None,
        });
        match found {
            Some(message) => Ok(Some(message)),
            None => self.engine.read(self.engine.store.message(&self.id, id)).await,
        }
    }

    /// The store's log ends before what members were told.
    fn lost_its_end(&self, known: u64, stored: u64) {
        tracing::error!(room = %self.id, known, stored, "the store has lost the end of the log");
        self.break_up();
    }

    /// Gives up on this log, because the store contradicts what members were told. They are asked to come back, and find
    /// the log as the store has it then.
    fn break_up(&self) {
        self.engine.forget(self);
        let waiting = {
            let mut state = self.state.lock();
            for (_, member) in &state.members {
                member.session.outbox.close(Closing {
                    code: CloseCode::Unavailable,
                    after: Some(std::time::Duration::from_secs(1)),
                    finish: false,
                });
                if !state.broken {
                    self.left(member);
                }
            }
            state.break_up()
        };
        drop(waiting);
        self.space.notify_waiters();
    }
}

impl RoomLease {
    /// Queues a message for its commit; waits while there is no place. The sender is told in any case. If the future is
    /// dropped, the message is either queued or its sender told that it isn't known to be stored.
    pub(crate) async fn submit(&self, mut submission: Submission) {
        let log = self.log();
        let limit = log.engine.limits.commit_queue;
        let mut waiter: Option<Waiter<'_>> = None;
        loop {
            let mut space = pin!(log.space.notified());
            space.as_mut().enable();
            let offered = {
                let mut state = log.state.lock();
                let others = state.waiting > usize::from(waiter.is_some());
                // Who comes later waits behind those who wait already.
                let offered = if waiter.is_some() || !others || state.broken {
                    state.offer(submission, limit)
                } else {
                    Offered::Full(submission)
                };
                if waiter.is_none() && matches!(offered, Offered::Full(_)) {
                    state.waiting += 1;
                    waiter = Some(Waiter(log));
                }
                if others && matches!(offered, Offered::Queued | Offered::StartCommitter) {
                    log.space.notify_one(); // There may be a place for the next as well.
                }
                offered
            };
            match offered {
                Offered::Queued => return,
                Offered::StartCommitter => return commit::start(self.clone()),
                Offered::Broken(refused) => return refused.sender.tell(Err(unavailable())),
                Offered::Full(refused) => submission = refused,
            }
            let waited = tokio::time::timeout_at(submission.deadline, space).await;
            if waited.is_err() || submission.deadline <= Instant::now() {
                if !bug!(PlaceKept) {
                    log.space.notify_one(); // The place, if this was about one, is for the next.
                }
                return submission.sender.tell(Err(unavailable()));
            }
        }
    }
}

/// One who waits for a place in the queue.
struct Waiter<'a>(&'a RoomLog);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

/// The log is shorter than what its readers were told.
fn shrunk() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the store has lost the end of the log")
}

/// What a connection or a caller is told when the store fails.
pub(crate) fn store_failed(room: &RoomId, error: &StoreError) -> Refusal {
    tracing::warn!(%room, error = %crate::engine::Chain(error), "the store failed");
    unavailable()
}

#[cfg(all(test, roomcast_loom))]
mod interleavings;
