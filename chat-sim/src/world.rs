//! One run: hubs, clients, a store and a network in one thread, in simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_core::{Hub, probe};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bus::{self, Wire};
use crate::oracle::facts::Level;
use crate::oracle::{CallId, ConnId, Event, HubId, Oracle, Violation};
use crate::plan::Plan;
use crate::rng::{Rng, mix};
use crate::sources::{Ids, JumpingClock, Moody};
use crate::store::{Disk, Handle};
use crate::tally::Tally;
use crate::trace::Trace;

/// How long everything has to come right once the faults are over, in simulated time.
const CALM: Duration = Duration::from_secs(120);

/// The deadline of a shutdown while nothing is amiss.
const SHUTDOWN: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) disk: Disk,
    pub(crate) wire: Wire,
    /// Decides who asks who is there.
    pub(crate) curiosity: Rng,
    pub(crate) clock: JumpingClock,
    pub(crate) ids: Ids,
    pub(crate) policy: Moody,
    began: Instant,
    nodes: Vec<Mutex<Option<Node>>>,
    /// Hubs that shut down.
    stopping: Mutex<Vec<Node>>,
    lives: AtomicUsize,
    calm: AtomicBool,
    /// What each client still has to do.
    todo: Mutex<Vec<usize>>,
    watch: Mutex<Watch>,
    /// Cancelled when a promise is broken.
    broken: CancellationToken,
    rng: Rng,
}

/// Who looks on.
struct Watch {
    oracle: Oracle,
    trace: Trace,
    violation: Option<Violation>,
}

/// A hub that runs.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) hub: Hub,
    pub(crate) id: HubId,
    pub(crate) power: CancellationToken,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) violation: Option<Violation>,
    pub(crate) hash: u64,
    pub(crate) tally: Tally,
    pub(crate) last: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, print: bool) -> Arc<Self> {
        let rng = Rng::new(seed);
        let of_bus = Rng::new(mix(!seed));
        let curiosity = Rng::new(mix(seed.rotate_left(32)));
        let plan = Plan::draw(&rng.fork(), &of_bus, &curiosity);
        let began = Instant::now();
        Arc::new(Self {
            disk: Disk::new(plan.retention),
            wire: Wire::new(of_bus),
            curiosity,
            clock: JumpingClock::new(began),
            ids: Ids::new(seed),
            policy: Moody::new(rng.fork()),
            began,
            stopping: Mutex::default(),
            nodes: (0..plan.hubs).map(|_| Mutex::new(None)).collect(),
            lives: AtomicUsize::new(0),
            calm: AtomicBool::new(false),
            todo: Mutex::new(vec![1; plan.clients + plan.plain + plan.bots]),
            watch: Mutex::new(Watch {
                oracle: Oracle::new(plan.limits.clone(), plan.bus.is_some()),
                trace: Trace::new(print),
                violation: None,
            }),
            broken: CancellationToken::new(),
            plan,
            rng,
        })
    }

    /// Something happens. After the first broken promise nothing is looked at any more.
    pub(crate) fn see(&self, event: &Event<'_>) {
        let mut watch = self.watch.lock();
        if watch.violation.is_some() {
            return;
        }
        let now = self.began.elapsed();
        let what = format_args!("{event}");
        match event {
            Event::Bytes { bytes, .. } => watch.trace.note_briefly(now, bytes.len() as u64, what),
            Event::Held { .. } => watch.trace.note_briefly(now, 0, what),
            _ => watch.trace.note(now, what),
        }
        if let Err(violation) = watch.oracle.see(now, event) {
            watch.violation = Some(violation);
            self.broken.cancel();
        }
    }

    /// A broken promise that no event tells of.
    fn accuse(&self, violation: Violation) {
        self.watch.lock().violation.get_or_insert(violation);
        self.broken.cancel();
    }

    /// The number that the next connection gets.
    pub(crate) fn next_conn(&self) -> ConnId {
        self.watch.lock().oracle.facts.conns.len()
    }

    /// Whether the faults are over.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// How much a client still has to do.
    pub(crate) fn todo(&self, client: usize, count: usize) {
        self.todo.lock()[client] = count;
    }

    /// The number that the next call gets.
    pub(crate) fn next_call(&self) -> CallId {
        self.watch.lock().oracle.facts.calls.len()
    }

    /// Looks at what a hub holds for others, if it still runs.
    pub(crate) fn look(&self, hub: HubId) {
        let stopping = self.stopping.lock().iter().find(|node| node.id == hub).cloned();
        let node = stopping.or_else(|| {
            self.nodes
                .iter()
                .find_map(|node| node.lock().clone().filter(|node| node.id == hub))
        });
        if let Some(Node { hub, id, .. }) = node {
            let held = &probe::held(&hub);
            self.see(&Event::Held { hub: id, held });
        }
    }

    /// The hub in this place, if one runs there.
    pub(crate) fn node(&self, place: usize) -> Option<Node> {
        self.nodes[place].lock().clone()
    }

    pub(crate) fn set_level(&self, user: &str, room: &str, level: Level) {
        self.policy.set(user, room, level);
        self.see(&Event::Level { user, room, level });
    }

    /// Starts a hub in this place, unless one runs there.
    pub(crate) fn start(self: &Arc<Self>, place: usize) {
        let mut node = self.nodes[place].lock();
        if node.is_some() {
            return;
        }
        let id = self.lives.fetch_add(1, Ordering::Relaxed);
        self.see(&Event::Started { hub: id });
        let power = CancellationToken::new();
        let store = Handle::new(self.clone(), id, power.clone(), self.rng.fork());
        let hub = Hub::builder(store, self.policy.clone())
            .clock(self.clock.clone())
            .ids(self.ids.clone())
            .seed(self.rng.next())
            .limits(self.plan.limits.clone());
        let hub = match bus::end(self, id, power.clone()) {
            Some(end) => hub.bus(end),
            None => hub,
        };
        let hub = hub.build();
        let hub = hub.unwrap_or_else(|error| unreachable!("{error}"));
        *node = Some(Node { hub, id, power });
    }

    /// Kills the hub in this place: its store and its connections are dead at once.
    pub(crate) fn crash(&self, place: usize) {
        let node = self.nodes[place].lock().take();
        if let Some(Node { hub, id, power }) = node {
            self.see(&Event::Crashed { hub: id });
            power.cancel();
            self.wire.forget(id);
            drop(hub);
        }
    }

    /// Shuts the hub in this place down. A next one may start in the same place meanwhile.
    pub(crate) async fn drain(&self, place: usize, deadline: Duration) {
        let node = self.nodes[place].lock().take();
        if let Some(node) = node {
            self.stopping.lock().push(node.clone());
            let Node { hub, id, power } = node;
            self.see(&Event::Draining { hub: id });
            let report = hub.shutdown(deadline).await;
            let late = report.took > deadline + Duration::from_millis(600);
            let clean = report.is_clean();
            self.see(&Event::Drained { hub: id, clean, late });
            self.stopping.lock().retain(|node| node.id != id);
            power.cancel();
            self.wire.forget(id);
        }
    }

    /// The whole run.
    pub(crate) async fn run(self: Arc<Self>) -> End {
        let mut plan = format!("{:?}", self.plan);
        // The address of a function is another one in each process.
        if let Some((before, after)) = plan.split_once("room_id_char: ") {
            plan = before.to_owned() + after.split_once(", ").map_or("", |(_, after)| after);
        }
        self.watch.lock().trace.note(Duration::ZERO, format_args!("{plan}"));
        for user in self.users() {
            for room in &self.plan.rooms {
                self.set_level(&user, room, Level::History);
            }
        }
        for place in 0..self.plan.hubs {
            self.start(place);
        }
        crate::client::start_all(&self, &self.rng);
        tokio::select! {
            biased;
            () = self.broken.cancelled() => {}
            () = self.script() => {}
        }
        let mut watch = self.watch.lock();
        End {
            violation: watch.violation.take(),
            hash: watch.trace.hash(),
            tally: watch.oracle.facts.tally,
            last: watch.trace.take_last(),
        }
    }

    /// Everybody who takes part.
    pub(crate) fn users(&self) -> Vec<String> {
        let clients = (0..self.plan.clients).map(|n| format!("ann{n}"));
        let plain = (0..self.plan.plain).map(|n| format!("bob{n}"));
        let bots = (0..self.plan.bots).map(|n| format!("cat{n}"));
        clients.chain(plain).chain(bots).collect()
    }

    async fn script(self: &Arc<Self>) {
        bus::start(self);
        crate::faults::make(self, self.rng.fork(), self.plan.chaos).await;
        self.calm.store(true, Ordering::Relaxed);
        let patience = Instant::now() + CALM;
        loop {
            sleep(Duration::from_millis(500)).await;
            match self.amiss() {
                None => break,
                Some(violation) if Instant::now() >= patience => return self.accuse(violation),
                Some(_) => {}
            }
        }
        for place in 0..self.plan.hubs {
            let Some(node) = self.node(place) else { continue };
            self.drain(place, SHUTDOWN).await;
            let stats = node.hub.stats();
            if stats.rooms > 0 || stats.connections > 0 {
                self.accuse(Violation {
                    promise: "shutdown loses nothing",
                    what: format!("a hub that has stopped still has {stats:?}"),
                });
            }
        }
    }

    /// What isn't right yet.
    fn amiss(&self) -> Option<Violation> {
        let busy = self.todo.lock().iter().position(|todo| *todo > 0);
        if let Some(client) = busy {
            return Some(Violation {
                promise: "everything settles",
                what: format!("{} still has something to do", self.users()[client]),
            });
        }
        self.watch.lock().oracle.settled().err()
    }
}
