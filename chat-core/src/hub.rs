//! The hub: where clients are let in and rooms are found.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::bugs::bug;
use crate::bus::Link;
use crate::engine::{Engine, Place, RoomLease};
use crate::log::Receipt;
use crate::outbox::Closing;
use crate::session::{self, Ended};
use crate::{
    Bus, BusError, Client, Clock, CloseCode, Connection, Draft, IdSource, InvalidLimit, Limits, MessageStore, Policy,
    Protocol, RandomIds, Refusal, Room, RoomId, RoomInfo, Start, StoreError, StoreErrorKind, SystemClock, User, UserId,
    metrics,
};

/// How much later than at once the first clients of a stopping hub come back.
const FIRST_RETURN: Duration = Duration::from_millis(500);

/// How long after the deadline of a shutdown what is cut off has to end, and the store to close.
const CUT: Duration = Duration::from_millis(250);

/// The hub: lets clients in, and knows the rooms. A handle, cheap to clone; when the last one is dropped, the
/// connections are told to come back later and the hub's tasks end.
///
/// ```
/// # use roomcast_core::{Hub, MemoryStore, OpenPolicy};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
/// // … serve clients …
/// let report = hub.shutdown(std::time::Duration::from_secs(10)).await;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Hub(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    engine: Arc<Engine>,
    random: AtomicU64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        drain(&self.engine, &self.random);
    }
}

/// Makes a [`Hub`].
#[must_use]
pub struct HubBuilder {
    store: Arc<dyn MessageStore>,
    policy: Arc<dyn Policy>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    limits: Limits,
    bus: Option<Arc<dyn Bus>>,
    seed: Option<u64>,
}

impl std::fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl HubBuilder {
    /// How much anybody may use; [`Limits::default`] otherwise.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The clock that stamps messages; the system's otherwise.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where ids and epochs come from; [`RandomIds`] otherwise.
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// The way to the other hubs that use the same store: see [`Bus`]. None otherwise; then what other hubs store is seen when
    /// somebody joins and when heads are compared ([`Limits::head_check`]).
    pub fn bus(mut self, bus: impl Bus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// What chance begins with (it spreads the return of clients of a stopping hub); otherwise taken from the id source.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The hub. Starts no task yet; those of its own will run on the tokio runtime that this is called in, or else on the one
    /// that first needs them.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] names a limit that makes no sense.
    pub fn build(self) -> Result<Hub, InvalidLimit> {
        let Self {
            store,
            policy,
            clock,
            ids,
            limits,
            bus,
            seed,
        } = self;
        limits.check()?;
        let seed = seed.unwrap_or_else(|| ids.message_id().as_u128() as u64);
        let bus = bus.map(|bus| Link::new(bus, ids.message_id()));
        let engine = Arc::new(Engine::new(store, policy, clock, ids, limits, bus, seed));
        Ok(Hub(Arc::new(Handle {
            engine,
            random: AtomicU64::new(seed),
        })))
    }
}

impl Hub {
    /// Begins to make a hub that keeps its rooms in this store and asks this policy.
    pub fn builder(store: impl MessageStore, policy: impl Policy) -> HubBuilder {
        HubBuilder {
            store: Arc::new(store),
            policy: Arc::new(policy),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            limits: Limits::default(),
            bus: None,
            seed: None,
        }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// The limits that are in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.engine().limits
    }

    /// Lets a client in, or says why not: checks the limits, asks the policy and opens the room, so that a refusal can
    /// be answered before a connection is upgraded. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the code that fits: `bad_request`, `forbidden`, `unknown_room`, `rate_limited` (too many connections
    /// of this user) or `unavailable` (full, stopping, or the store doesn't answer).
    pub async fn admit(&self, client: Client) -> Result<Admission, Refusal> {
        let admitted = self.try_admit(client).await;
        if let Err(refusal) = &admitted {
            metrics::refused(refusal.code);
            tracing::debug!(code = refusal.code.as_str(), reason = %refusal.message, "a client was refused");
        }
        admitted
    }

    async fn try_admit(&self, client: Client) -> Result<Admission, Refusal> {
        let engine = self.engine();
        let place = engine.place(client.user.id())?;
        engine.begin();
        let room = match &client.room {
            Some(room) => {
                engine.check_room_id(room)?;
                engine.check_start(&client.options.start)?;
                if client.options.presence && client.protocol == Protocol::Plain {
                    return Err(crate::verbs::bad("presence needs the protocol chat.v1.json"));
                }
                engine.may_join(&client.user, room).await?;
                engine.may_begin(&client.user, room, &client.options).await?;
                Some(engine.open_to_read(room).await?)
            }
            None if client.protocol == Protocol::Plain => {
                return Err(crate::verbs::bad("a plain connection needs a room"));
            }
            None if client.options.start != Start::Live => {
                return Err(crate::verbs::bad("since and last need a room"));
            }
            None if client.options.presence => return Err(crate::verbs::bad("presence needs a room")),
            None => None,
        };
        Ok(Admission {
            engine: engine.clone(),
            place,
            client,
            room,
        })
    }

    /// Lets a client in and serves it to its end: [`admit`](Self::admit) and [`Admission::serve`] in one.
    ///
    /// # Errors
    ///
    /// Those of [`admit`](Self::admit); the connection is then dropped.
    pub async fn serve(&self, client: Client, connection: impl Connection) -> Result<Ended, Refusal> {
        Ok(self.admit(client).await?.serve(connection).await)
    }

    /// The room of this name, whether it exists or not.
    #[must_use]
    pub fn room(&self, id: RoomId) -> Room {
        Room::new(self.clone(), id)
    }

    /// Says something in a room: see [`Room::publish`].
    ///
    /// # Errors
    ///
    /// Those of [`Room::publish`].
    pub async fn publish(&self, room: &RoomId, user: &User, draft: Draft) -> Result<Receipt, Refusal> {
        self.room(room.clone()).publish(user, draft).await
    }

    /// The rooms that the store has, in rising order of their ids, after `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Unavailable`](crate::ErrorCode::Unavailable) if the store doesn't answer.
    pub async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, Refusal> {
        let engine = self.engine();
        engine.read(engine.store.rooms(after, limit)).await.map_err(|error| {
            tracing::warn!(error = %crate::engine::Chain(&error), "the store failed");
            crate::log::unreadable()
        })
    }

    /// Whether the store could serve now.
    ///
    /// # Errors
    ///
    /// The store's own error.
    pub async fn health(&self) -> Result<(), StoreError> {
        self.engine().read(self.engine().store.health()).await
    }

    /// Closes all connections of this user with [`CloseCode::Kicked`], those included that were admitted and aren't served
    /// yet, and says how many there were on this node; other nodes are told by the [bus](HubBuilder::bus), as far as it
    /// carries. From now on they hear nothing of their rooms, and nothing that they asked for is
    /// waited for: what has no answer yet may be done or not. It doesn't keep the user from coming back: that is the
    /// policy's part, which is told first therefore.
    pub fn kick(&self, user: &UserId) -> usize {
        let engine = self.engine();
        if let Some(link) = &engine.bus {
            link.kick(engine.ids.message_id(), user);
        }
        engine.kick(user)
    }

    /// Whether notices get through to other hubs now, as far as is known here; `None` without a [bus](HubBuilder::bus). While
    /// they don't, members see what other hubs store late, but see it.
    pub async fn bus_health(&self) -> Option<Result<(), BusError>> {
        // Else a hub that nobody has come to yet would listen to nobody.
        self.engine().begin();
        match &self.engine().bus {
            Some(link) => Some(link.bus.health().await),
            None => None,
        }
    }

    /// How much is going on, on this node.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let engine = self.engine();
        HubStats {
            connections: engine.connections(),
            users: engine.users(),
            rooms: engine.rooms_in_use(),
            notices: engine.notices.load(Ordering::Relaxed),
            draining: engine.draining.is_cancelled(),
        }
    }

    /// Runs a task that [`shutdown`](Self::shutdown) waits for: for transports, which serve each connection in one.
    /// It should end by itself once the hub is [`draining`](Self::draining); at the shutdown's deadline it is dropped. What it
    /// gives is dropped as well.
    ///
    /// # Panics
    ///
    /// If neither the hub was built within a tokio runtime nor this is called within one.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) {
        self.engine().spawn(task);
    }

    /// Ready once the hub is stopping: a listener then takes no further connection. Cancel safe.
    pub async fn draining(&self) {
        self.engine().draining.cancelled().await;
    }

    /// Stops: lets nobody in any more, tells every client to come back (spread over [`Limits::drain_spread`]), commits what
    /// was accepted and acknowledges it, waits for all tasks and closes the store. What isn't done by the deadline
    /// is cut off; the report says how much.
    ///
    /// The store is closed for everybody who has it: where several hubs of one process share one (see
    /// [`LocalBus`](crate::LocalBus)), the others can't store or read any more from then on, not even what they had accepted.
    /// Give them a store whose [`close`](MessageStore::close) does nothing, and close the real one when the last hub has stopped.
    ///
    /// If the future is dropped the hub goes on stopping, but nobody waits for it. Returns half a second after the deadline at
    /// the latest.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let engine = self.engine();
        let began = Instant::now();
        let connections = engine.connections();
        tracing::info!(connections, "stopping");
        drain(engine, &self.0.random);
        engine.tasks.close();
        let idle = async {
            loop {
                if !bug!(DrainForgets) {
                    engine.tasks.wait().await;
                }
                // Connections that the embedding server drives itself are not among the tasks, and may start some.
                if engine.connections() == 0 && (engine.tasks.is_empty() || bug!(DrainForgets)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(deadline, idle).await.is_ok();
        let cut = engine.connections();
        if !in_time {
            for session in engine.sessions() {
                session.outbox.cut();
            }
            // A task that is cut off ends when it is next polled.
            let _ = tokio::time::timeout(CUT, engine.tasks.wait()).await;
        }
        let tasks_left = engine.tasks.len();
        engine.stopped.cancel();
        let left = || deadline.saturating_sub(began.elapsed()).max(CUT);
        if let Some(link) = &engine.bus {
            let _ = tokio::time::timeout(left(), link.bus.close()).await;
        }
        let store = match tokio::time::timeout(left(), engine.store.close()).await {
            Ok(closed) => closed.err(),
            Err(_) => Some(StoreError::new(
                StoreErrorKind::Unavailable,
                "the store took too long to close",
            )),
        };
        let report = ShutdownReport {
            closed: connections.saturating_sub(cut),
            cut,
            tasks_left,
            store,
            took: began.elapsed(),
        };
        tracing::info!(closed = report.closed, cut, tasks_left = report.tasks_left, "stopped");
        report
    }
}

/// Lets nobody in any more and tells all to come back.
fn drain(engine: &Engine, random: &AtomicU64) {
    if engine.draining.is_cancelled() {
        return;
    }
    // Before their connections end, or it would look as if all left.
    let goodbyes = engine.presence.drain(FIRST_RETURN + engine.limits.drain_spread);
    if let Some(link) = &engine.bus {
        goodbyes.iter().for_each(|(room, tell)| link.tell(room, tell));
    }
    engine.draining.cancel();
    for session in engine.sessions() {
        let after = FIRST_RETURN + engine.limits.drain_spread.mul_f64(part(random));
        session.outbox.close(Closing {
            code: CloseCode::Draining,
            after: Some(after),
            finish: !bug!(DrainForgets),
        });
    }
}

/// What chance gives next: 0 to 1.
pub(crate) fn part(random: &AtomicU64) -> f64 {
    f64::from((next(random) >> 32) as u32) / f64::from(u32::MAX)
}

/// The next number of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(state: &AtomicU64) -> u64 {
    let mut z = state
        .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A client that was let in and has its place, until it is served or dropped.
#[derive(Debug)]
pub struct Admission {
    engine: Arc<Engine>,
    place: Place,
    client: Client,
    room: Option<RoomLease>,
}

impl Admission {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Serves the client on this connection to its end.
    ///
    /// If the future is dropped the connection ends at once, without a goodbye; what was accepted is still committed.
    pub fn serve(self, connection: impl Connection) -> impl Future<Output = Ended> + Send {
        session::serve(self.engine, self.place, self.client, self.room, connection)
    }
}

/// How much is going on in a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubStats {
    /// Connections, those included that are still shaking hands.
    pub connections: usize,
    /// Different users among them.
    pub users: usize,
    /// Rooms that somebody is in or that have something to commit.
    pub rooms: usize,
    /// What the [bus](HubBuilder::bus) has handed over since the hub was built.
    pub notices: u64,
    /// Whether the hub is stopping.
    pub draining: bool,
}

/// What a shutdown did, and what it left.
#[derive(Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended in time.
    pub closed: usize,
    /// Connections that were cut off at the deadline.
    pub cut: usize,
    /// Tasks that had not ended then: messages that wait for a store which doesn't answer, say.
    pub tasks_left: usize,
    /// The store's error when it was closed.
    pub store: Option<StoreError>,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether nothing was cut off or left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut == 0 && self.tasks_left == 0 && self.store.is_none()
    }
}
