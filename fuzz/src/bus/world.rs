//! Carries out a script, and holds what the members see against what is stored and what was claimed.

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{
    Client, Draft, Entry, Hub, Limits, MemoryStore, MessageId, MessageStore, OpenPolicy, PageLimit, RoomId, User,
};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::script::{Script, Step, What};
use super::told::{Claims, Stored, written};
use super::wire::{Wire, wire};
use crate::session::Start;
use crate::session::crowd::{Crowd, USERS};
use crate::session::peer::{News, Peer};
use crate::sources::{Ids, SimulatedClock, in_simulated_time, narrow};

const ROOMS: [&str; 2] = ["a", "b"];

/// By then heads were compared, so that everybody has seen what is stored, or was sent away.
const SETTLED: Duration = Duration::from_secs(90);

const SHUTDOWN: Duration = Duration::from_secs(20);

/// The close code of a room whose store contradicts what its members were told.
const UNAVAILABLE: u16 = 4003;

fn limits(script: &Script) -> Limits {
    let mut limits = narrow(script.queue);
    limits.rate = None;
    limits.control_rate = None;
    limits.presence_users = 5;
    limits
}

struct World {
    honest: bool,
    hub: Hub,
    wire: Arc<Wire>,
    other: Hub,
    told: Arc<Wire>,
    store: Arc<MemoryStore>,
    crowd: Crowd,
    /// Messages that are stored, by room.
    messages: Vec<(usize, MessageId)>,
    /// What came by the bus.
    claimed: Claims,
    /// What is stored, or was.
    stored: Claims,
    /// What members were shown.
    shown: Vec<Value>,
    /// What the hub refused to store.
    refused: Vec<String>,
}

/// Carries the script out, in simulated time.
pub fn run(script: &Script) {
    in_simulated_time(async {
        let mut world = World::new(script).await;
        for step in script.steps.iter().take(300) {
            world.step(step).await;
            tokio::task::yield_now().await;
            world.look();
        }
        world.settle().await;
        world.end().await;
    });
}

fn room(n: u8) -> usize {
    usize::from(n) % ROOMS.len()
}

fn id(room: usize) -> RoomId {
    RoomId::new(ROOMS[room]).expect("a name")
}

impl World {
    async fn new(script: &Script) -> Self {
        let store = Arc::new(MemoryStore::new());
        let hub = |wire: &Arc<Wire>, ids| {
            let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits(script)).ids(ids);
            let hub = hub.clock(SimulatedClock::new()).seed(1).bus(wire.clone());
            hub.build().expect("the limits make sense")
        };
        let (wire, told) = (wire(), wire());
        let mut world = Self {
            honest: script.honest,
            hub: hub(&wire, Ids::default()),
            other: hub(&told, Ids::after(1 << 32)),
            wire,
            told,
            store,
            crowd: Crowd::default(),
            messages: Vec::new(),
            claimed: Claims::default(),
            stored: Claims::default(),
            shown: Vec::new(),
            refused: Vec::new(),
        };
        let health = world.hub.bus_health().await;
        health.expect("there is a bus").expect("it is well");
        while world.wire.inbox.get().is_none() {
            tokio::task::yield_now().await;
        }
        for room in 0..ROOMS.len() {
            world.connect(room, true, room, Start::Live, true, None);
        }
        sleep(Duration::from_millis(10)).await;
        world
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Connect {
                place,
                full,
                room: of,
                start,
                presence,
                window,
            } => self.connect(Crowd::place(*place), *full, room(*of), *start, *presence, *window),
            Step::Break { place } => {
                if let Some(peer) = self.crowd.at(Crowd::place(*place)) {
                    peer.hang_up();
                }
            }
            Step::Take { place, frames } => {
                if let Some(peer) = self.crowd.at(Crowd::place(*place)) {
                    peer.window.add_permits(usize::from(*frames));
                }
            }
            Step::Wait { ms } => self.wait(Duration::from_millis(u64::from(*ms))).await,
            Step::Store {
                elsewhere,
                room: of,
                first,
                then,
            } => {
                for what in std::iter::once(first).chain(then) {
                    self.store(*elsewhere, room(*of), *what).await;
                }
            }
            Step::Kick { user } => {
                self.other.kick(person(USERS[usize::from(*user)]).id());
            }
            Step::Carry { which } => {
                if let Some(bytes) = self.carried(*which) {
                    self.deliver(&bytes).await;
                }
            }
            Step::CarryGarbled { .. } | Step::Garbled { .. } if self.honest => {}
            Step::CarryGarbled { which, at, byte } => {
                if let Some(bytes) = self.carried(*which) {
                    self.deliver(&garbled(bytes, *at, *byte)).await;
                }
            }
            Step::Told(told) => {
                let bytes = written(told, &self.rooms().await, self.honest);
                self.deliver(&bytes).await;
            }
            Step::Garbled { told, at, byte } => {
                let bytes = written(told, &self.rooms().await, self.honest);
                self.deliver(&garbled(bytes, *at, *byte)).await;
            }
            Step::Bytes(bytes) => self.deliver(bytes).await,
            Step::Missed => self.wire.inbox.get().expect("it runs").missed(),
            Step::Head { room: of, head } => self.wire.inbox.get().expect("it runs").head(&id(room(*of)), *head),
            Step::Saw { room: of, first, lines } => {
                let entries = self.rooms().await[room(*of)].entries(*first, lines, self.honest);
                entries.iter().for_each(|entry| self.claimed.add(entry));
                let inbox = self.wire.inbox.get().expect("it runs");
                inbox.committed(&id(room(*of)), entries).await;
            }
        }
    }

    /// One of the notices that the other hub has told.
    fn carried(&self, which: u8) -> Option<Vec<u8>> {
        let told = self.told.told.lock().expect("no panic");
        let which = usize::from(which) % told.len().max(1);
        told.get(which).map(|bytes| bytes.to_vec())
    }

    async fn deliver(&mut self, bytes: &[u8]) {
        self.claimed.add_all_in(bytes);
        self.wire.inbox.get().expect("it runs").deliver(bytes).await;
    }

    /// What is stored now.
    async fn rooms(&self) -> Vec<Stored> {
        let mut rooms = Vec::new();
        for n in 0..ROOMS.len() {
            let head = self.store.room(&id(n)).await.expect("memory doesn't fail");
            let log = self.store.log(&id(n), 0, PageLimit::entries(usize::MAX)).await;
            rooms.push(Stored {
                room: id(n),
                epoch: head.map_or("none".into(), |head| head.epoch.to_string()),
                entries: log.map_or(Vec::new(), |log| log.entries),
            });
        }
        rooms
    }

    async fn store(&mut self, elsewhere: bool, room: usize, what: What) {
        let hub = if elsewhere { &self.other } else { &self.hub };
        let bot = person("bot");
        let said = hub.room(id(room)).as_user(bot);
        let of = |message: u8| {
            let own: Vec<_> = self.messages.iter().filter(|(of, _)| *of == room).collect();
            own.get(usize::from(message) % own.len().max(1)).map(|(_, id)| *id)
        };
        let done = match what {
            What::Message { content, large } => {
                let content = format!("said {content}{}", if large { "x".repeat(1500) } else { String::new() });
                self.stored.contents.insert(content.clone());
                timeout(SETTLED, said.send(Draft::text(content))).await
            }
            What::Edit { message, content } => {
                let Some(message) = of(message) else { return };
                let content = format!("edited {content}");
                self.stored.contents.insert(content.clone());
                timeout(SETTLED, said.edit(message, content)).await
            }
            What::Delete { message } => {
                let Some(message) = of(message) else { return };
                timeout(SETTLED, said.delete(message)).await
            }
        };
        match done.expect("it is stored or not") {
            Ok(receipt) if matches!(what, What::Message { .. }) => self.messages.push((room, receipt.id)),
            Ok(_) => {}
            // What was deleted can't be changed.
            Err(refusal) if refusal.code.as_str() == "not_found" => {}
            Err(refusal) => self
                .refused
                .push(format!("{what:?} elsewhere {elsewhere}: {refusal:?}")),
        }
    }

    fn connect(&mut self, place: usize, full: bool, room: usize, start: Start, presence: bool, window: Option<u8>) {
        let user = person(USERS[place]);
        let client = if full {
            Client::v1(user).room(id(room)).presence(presence)
        } else {
            Client::plain(user, id(room))
        };
        let begins = Some((ROOMS[room], start));
        self.crowd.connect(&self.hub, place, client, begins, window);
    }

    /// Looks at what every client got.
    fn look(&mut self) {
        for news in self.crowd.look() {
            match news {
                News::Entry { frame, .. } => self.shown.push(frame),
                News::Room { .. } => {}
                News::Acked { room, .. } => panic!("nobody asked for anything in {room}"),
            }
        }
    }

    /// Time passes, and everybody answers pings.
    async fn wait(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + Duration::from_secs(3))).await;
            self.look();
        }
    }

    /// Everybody takes all. Then each member has what is stored, or was sent away.
    async fn settle(&mut self) {
        self.crowd.take_all();
        self.wait(SETTLED).await;
        let rooms = self.rooms().await;
        rooms
            .iter()
            .flat_map(|room| &room.entries)
            .for_each(|entry| self.stored.add(entry));
        let lied = self.claimed.keys.iter().any(|key| !self.stored.keys.contains(key));
        let keys = self.claimed.keys.union(&self.stored.keys).collect();
        let contents = self.claimed.contents.union(&self.stored.contents).collect();
        self.shown.iter().for_each(|frame| check(frame, &keys, &contents));
        if !lied {
            assert!(self.refused.is_empty(), "{:?}", self.refused);
        }
        let away = |peer: &Peer| peer.closed == Some(UNAVAILABLE);
        assert!(lied || !self.crowd.peers().any(away), "nobody lied");
        let head = |name: &str| {
            let stored = rooms.iter().find(|room| room.room.as_str() == name);
            stored.and_then(|room| room.entries.last()).map_or(0, Entry::seq)
        };
        self.crowd.living(head).for_each(drop);
    }

    async fn end(mut self) {
        for hub in [&self.hub, &self.other] {
            let report = hub.shutdown(SHUTDOWN).await;
            assert!(report.is_clean(), "{report:?}");
        }
        self.look();
        self.crowd.end().await;
    }
}

/// Whether what a member was shown is stored, or was claimed.
fn check(
    frame: &Value,
    keys: &std::collections::HashSet<&super::told::Key>,
    contents: &std::collections::HashSet<&String>,
) {
    let kind = frame["t"].as_str().unwrap_or("message");
    let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
    let message = text(if kind == "message" { "id" } else { "msg" });
    let key = (
        text("room_id"),
        frame["seq"].as_u64().unwrap_or_default(),
        kind.to_owned(),
        message,
    );
    assert!(keys.contains(&key), "neither stored nor claimed: {frame}");
    if let Some(content) = frame["content"].as_str() {
        assert!(contents.contains(&content.to_owned()), "nobody said this: {frame}");
    }
}

fn garbled(mut bytes: Vec<u8>, at: u16, byte: u8) -> Vec<u8> {
    let at = usize::from(at) % bytes.len();
    bytes[at] = byte;
    bytes
}

fn person(name: &str) -> User {
    User::named(name).expect("a name")
}
