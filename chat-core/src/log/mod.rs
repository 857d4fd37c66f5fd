//! A room's log while it is in use: its head, its newest entries, its members, and what waits for its commit.

mod commit;
mod heard;
mod presence;
mod queue;
mod read;
mod state;
mod submission;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

pub(crate) use read::Piece;
pub use submission::Receipt;
pub(crate) use submission::{Sender, Submission, nonce_conflict, unavailable, unreadable};
pub(crate) use tail::{Batch, Frame};

use crate::engine::Engine;
use crate::outbox::Closing;
use crate::session::Session;
use crate::sync::{AtomicUsize, Mutex, Seen, seen};
use crate::{CloseCode, Entry, Epoch, PageLimit, QueueLimit, Refusal, RoomId, StoreError, StoreErrorKind, metrics};
use state::Missing;
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

/// Who has stored entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This hub: it tells the others.
    Here,
    Elsewhere,
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

/// The log is shorter than what its readers were told.
fn shrunk() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the store has lost the end of the log")
}

/// What a connection or a caller is told when a reading of the store fails.
pub(crate) fn store_failed(room: &RoomId, error: &StoreError) -> Refusal {
    tracing::warn!(%room, error = %crate::engine::Chain(error), "the store failed");
    unreadable()
}

#[cfg(all(test, roomcast_loom))]
mod interleavings;
