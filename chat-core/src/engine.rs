//! What all parts of a hub share.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use slab::Slab;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bugs::bug;
use crate::bus::{self, Link};
use crate::log::{RoomLog, store_failed};
use crate::outbox::Closing;
use crate::presence::Registry;
use crate::session::Session;
use crate::stop::Stop;
use crate::sync::{Mutex, Seen, seen};
use crate::{
    Clock, CloseCode, ErrorCode, IdSource, Limits, MessageStore, Policy, Refusal, RoomId, StoreError, StoreErrorKind,
    UserId, metrics,
};

/// A head that was compared with the store's not longer than this ago is good enough for who joins: a crowd that comes back
/// costs one look a second.
const RECENT: Duration = Duration::from_secs(1);

/// What all parts of a hub share.
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) limits: Limits,
    /// The way to the other hubs on the store, if there are any.
    pub(crate) bus: Option<Link>,
    /// How many notices the bus has handed over.
    pub(crate) notices: AtomicU64,
    /// Who is in the rooms where somebody wants to know.
    pub(crate) presence: Registry,
    /// Every task that the hub started.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the hub begins to stop.
    pub(crate) draining: Seen<CancellationToken>,
    /// Cancelled when no task is waited for any more.
    pub(crate) stopped: Stop,
    /// Where the hub was built, and where its tasks run; else where they are first needed.
    #[cfg_attr(all(test, roomcast_loom), expect(dead_code))]
    runtime: Option<Handle>,
    /// Whether the hub's own tasks were started.
    begun: AtomicBool,
    rooms: Mutex<HashMap<RoomId, Arc<RoomLog>>>,
    sessions: Mutex<Sessions>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Sessions {
    places: Slab<Occupant>,
    per_user: HashMap<UserId, usize>,
}

/// Who has a place.
#[derive(Debug)]
enum Occupant {
    /// A client that is still shaking hands, and whether it was sent away meanwhile.
    Guest {
        user: UserId,
        kicked: bool,
    },
    Session(Arc<Session>),
}

impl Engine {
    pub(crate) fn new(
        store: Arc<dyn MessageStore>,
        policy: Arc<dyn Policy>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        limits: Limits,
        bus: Option<Link>,
        seed: u64,
    ) -> Self {
        let presence = Registry::new(&limits, bus.is_some(), seed);
        Self {
            store,
            policy,
            clock,
            ids,
            limits,
            bus,
            notices: AtomicU64::new(0),
            presence,
            tasks: TaskTracker::new(),
            draining: seen(CancellationToken::new()),
            stopped: Stop::default(),
            runtime: Handle::try_current().ok(),
            begun: AtomicBool::new(false),
            rooms: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Runs a task of the hub's own, to its end or until nobody waits for it any more. It runs where the hub was built: a
    /// caller's own short-lived runtime must not take it along.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) {
        // No `select!` in a block: that has room for the task twice, where it was captured and where it is polled.
        let task = self.stopped.until(task);
        #[cfg(all(test, roomcast_loom))]
        return crate::sync::interleavings::start(task);
        #[cfg(not(all(test, roomcast_loom)))]
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(task, runtime),
            None => self.tasks.spawn(task),
        };
    }

    /// Starts the hub's own tasks, unless they run.
    pub(crate) fn begin(self: &Arc<Self>) {
        if self.begun.load(Ordering::Relaxed) || self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.bus.is_some() {
            self.spawn(bus::run(self.clone()));
        }
        self.compare_heads();
    }

    /// Starts the task that compares the heads of rooms in use with the store's.
    fn compare_heads(self: &Arc<Self>) {
        let engine = self.clone();
        self.spawn(async move {
            let interval = engine.limits.head_check;
            loop {
                tokio::select! {
                    biased;
                    () = engine.draining.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                for room in engine.rooms().iter().filter(|room| room.member_count() > 0) {
                    tokio::select! {
                        biased;
                        () = engine.draining.cancelled() => return,
                        result = room.refresh(interval / 2) => {
                            if let Err(error) = result {
                                tracing::debug!(room = %room.id, error = %Chain(&error), "heads can't be compared");
                            }
                        }
                    }
                }
            }
        });
    }

    /// Waits for a read of the store, but not for ever. A store that panics fails this read alone, and ends neither the connection
    /// nor the task that looks after other rooms as well.
    pub(crate) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let unavailable = |what| Err(StoreError::new(StoreErrorKind::Unavailable, what));
        match tokio::time::timeout(self.limits.store_read, unless_it_panics(read)).await {
            Ok(Some(result)) => result,
            Ok(None) => unavailable("the store panicked"),
            Err(_) => unavailable("the store took too long to read"),
        }
    }

    /// The room, in use from now on; its log is read if nobody else uses it. Cancel safe.
    pub(crate) async fn open(self: &Arc<Self>, id: &RoomId) -> Result<RoomLease, Refusal> {
        let lease = self.lease(id);
        self.begin();
        match lease.log().open().await {
            Ok(_) => Ok(lease),
            Err(error) => Err(store_failed(id, &error)),
        }
    }

    /// The same, brought up to date with what other hubs may have written to the store: for those who are to read it.
    pub(crate) async fn open_to_read(self: &Arc<Self>, id: &RoomId) -> Result<RoomLease, Refusal> {
        let lease = self.open(id).await?;
        if bug!(JoinLooksNowhere) {
            return Ok(lease);
        }
        match lease.log().refresh(RECENT).await {
            Ok(()) => Ok(lease),
            Err(error) => Err(store_failed(id, &error)),
        }
    }

    /// The room, in use from now on; its log may not be read yet.
    pub(crate) fn lease(self: &Arc<Self>, id: &RoomId) -> RoomLease {
        let mut rooms = self.rooms.lock();
        let log = rooms
            .entry(id.clone())
            .or_insert_with(|| Arc::new(RoomLog::new(id.clone(), self.clone())));
        log.leases.fetch_add(1, Ordering::Relaxed);
        let lease = RoomLease {
            log: log.clone(),
            engine: self.clone(),
        };
        metrics::rooms(rooms.len());
        lease
    }

    /// The room, if it is in use.
    pub(crate) fn room_in_use(&self, id: &RoomId) -> Option<Arc<RoomLog>> {
        self.rooms.lock().get(id).cloned()
    }

    /// Whether anybody is in the room, on this node.
    pub(crate) fn has_members(&self, id: &RoomId) -> bool {
        self.room_in_use(id).is_some_and(|log| log.member_count() > 0)
    }

    /// The rooms in use. In one order, so that runs can be repeated.
    pub(crate) fn rooms(&self) -> Vec<Arc<RoomLog>> {
        let mut rooms: Vec<_> = self.rooms.lock().values().cloned().collect();
        rooms.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        rooms
    }

    pub(crate) fn rooms_in_use(&self) -> usize {
        self.rooms.lock().len()
    }

    /// The next user of this room reads its log anew.
    pub(crate) fn forget(&self, log: &RoomLog) {
        let mut rooms = self.rooms.lock();
        if rooms.get(&log.id).is_some_and(|current| std::ptr::eq(&**current, log)) {
            rooms.remove(&log.id);
            metrics::rooms(rooms.len());
        }
    }

    /// Takes a place for a connection of this user.
    pub(crate) fn place(self: &Arc<Self>, user: &UserId) -> Result<Place, Refusal> {
        let mut sessions = self.sessions.lock();
        if self.draining.is_cancelled() {
            return Err(stopping());
        }
        if sessions.places.len() >= self.limits.connections {
            return Err(Refusal::new(ErrorCode::Unavailable, "the server is full")
                .retry_after(std::time::Duration::from_secs(5)));
        }
        let limit = self.limits.connections_per_user;
        let count = sessions.per_user.entry(user.clone()).or_default();
        if *count >= limit {
            return Err(Refusal::new(
                ErrorCode::RateLimited,
                format!("one user may have {limit} connections at a time"),
            ));
        }
        *count += 1;
        let key = sessions.places.insert(Occupant::Guest {
            user: user.clone(),
            kicked: false,
        });
        metrics::connections(sessions.places.len());
        Ok(Place {
            engine: self.clone(),
            user: user.clone(),
            key,
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.sessions.lock().places.len()
    }

    pub(crate) fn users(&self) -> usize {
        self.sessions.lock().per_user.len()
    }

    /// The connections that are being served.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions
            .lock()
            .places
            .iter()
            .filter_map(|(_, occupant)| match occupant {
                Occupant::Session(session) => Some(session.clone()),
                Occupant::Guest { .. } => None,
            })
            .collect()
    }

    /// Sends this user's connections away, those included that are still shaking hands. Returns how many there are.
    pub(crate) fn kick(&self, user: &UserId) -> usize {
        let mut kicked = Vec::new();
        let mut guests = 0;
        for (_, occupant) in &mut self.sessions.lock().places {
            match occupant {
                Occupant::Session(session) if session.user.id() == user => kicked.push(session.clone()),
                Occupant::Guest { user: guest, kicked } if guest == user => {
                    *kicked = true;
                    guests += 1;
                }
                _ => {}
            }
        }
        for session in &kicked {
            session.outbox.close(KICKED);
        }
        kicked.len() + guests
    }
}

const KICKED: Closing = Closing {
    code: CloseCode::Kicked,
    after: None,
    finish: false,
};

/// The answer while the hub stops.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the server is stopping").retry_after(std::time::Duration::from_secs(1))
}

/// A connection's place among those that the hub may have. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    engine: Arc<Engine>,
    user: UserId,
    key: usize,
}

impl Place {
    /// The connection is served from now on; only to be closed, if it was sent away or the hub began to stop meanwhile.
    pub(crate) fn fill(&self, session: &Arc<Session>) {
        let mut sessions = self.engine.sessions.lock();
        let mut guest = None;
        if let Some(place) = sessions.places.get_mut(self.key) {
            guest = Some(std::mem::replace(place, Occupant::Session(session.clone())));
        }
        let draining = self.engine.draining.is_cancelled();
        drop(sessions);
        if let Some(Occupant::Guest { kicked: true, .. }) = guest {
            session.outbox.close(KICKED);
        }
        if draining {
            session.outbox.close(Closing {
                code: CloseCode::Draining,
                after: Some(std::time::Duration::from_secs(1)),
                finish: true,
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sessions = self.engine.sessions.lock();
        let occupant = sessions.places.try_remove(self.key);
        if let Some(count) = sessions.per_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                sessions.per_user.remove(&self.user);
            }
        }
        metrics::connections(sessions.places.len());
        drop(sessions);
        // Outside the lock: the last handle of a session may free much.
        drop(occupant);
    }
}

/// Keeps a room in use. When the last one is dropped, the room is no more than its place in the store.
#[derive(Debug)]
pub(crate) struct RoomLease {
    log: Arc<RoomLog>,
    engine: Arc<Engine>,
}

impl RoomLease {
    pub(crate) fn log(&self) -> &Arc<RoomLog> {
        &self.log
    }
}

impl Clone for RoomLease {
    fn clone(&self) -> Self {
        // A lease exists, so the count is above 0 and the room can't be given up at the same time.
        self.log.leases.fetch_add(1, Ordering::Relaxed);
        Self {
            log: self.log.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl Drop for RoomLease {
    fn drop(&mut self) {
        let early = bug!(LeaseCountedEarly).then(|| self.log.leases.fetch_sub(1, Ordering::Relaxed));
        let mut rooms = self.engine.rooms.lock();
        if early.unwrap_or_else(|| self.log.leases.fetch_sub(1, Ordering::Relaxed)) == 1
            && rooms
                .get(&self.log.id)
                .is_some_and(|current| Arc::ptr_eq(current, &self.log))
        {
            rooms.remove(&self.log.id);
            metrics::rooms(rooms.len());
        }
    }
}

/// Runs it to its end; `None` if it panics.
async fn unless_it_panics<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// An error with its causes, for a log line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(all(test, roomcast_loom))]
pub(crate) mod interleavings;
