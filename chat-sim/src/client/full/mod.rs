//! A client of `chat.v1.json`: it joins and leaves, edits and deletes, pages, floods, dawdles and comes back, and sends again
//! what it has no answer to.

mod asks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roomcast_core::Protocol;
use tokio::time::{Instant, sleep, sleep_until};

use super::ops::Op;
use super::{Wish, dial};
use crate::frame::Frame;
use crate::network::{ClientEnd, Down, Leave, Up};
use crate::oracle::facts::{Ask, Start};
use crate::rng::Rng;
use crate::world::World;

/// How long a client waits for an answer before it opens another connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long after the last fault everybody says one thing more.
const LAST_WORD: Duration = Duration::from_secs(15);

pub(super) struct Full {
    world: Arc<World>,
    rng: Rng,
    /// Decides when it asks who is there.
    curiosity: Rng,
    number: usize,
    user: String,
    /// A room where it is seen no more, from then on.
    quits: Option<(String, Instant)>,
    rooms: BTreeMap<String, Place>,
    ops: BTreeMap<u64, Op>,
    /// Own messages that are known to be stored.
    own: Vec<(String, String)>,
    /// What the requests under way are about.
    asked: BTreeMap<u64, About>,
    last_id: u64,
    due: Instant,
    /// How long it takes over each frame.
    slow: Duration,
    calm_since: Option<Instant>,
    last_word: bool,
}

/// What a client knows of a room.
struct Place {
    cursor: Option<(String, u64)>,
    epoch: String,
    joined: bool,
    joining: bool,
    /// Whether it wants to be in there.
    wanted: bool,
    due: Instant,
}

enum About {
    Op(u64, Instant),
    Join(String),
    Leave,
    Other,
}

impl Full {
    pub(super) fn new(world: Arc<World>, rng: Rng, number: usize, user: String) -> Self {
        let now = Instant::now();
        let place = || Place {
            cursor: None,
            epoch: String::new(),
            joined: false,
            joining: false,
            wanted: true,
            due: now,
        };
        let rooms = world.plan.rooms.iter().map(|room| (room.clone(), place())).collect();
        let curiosity = world.curiosity.fork();
        let plan = &world.plan;
        let quits = (plan.presence > 0 && plan.rooms.len() > 1 && curiosity.chance(400)).then(|| {
            let after = plan.chaos.mul_f64(curiosity.below(1000) as f64 / 1000.0);
            (curiosity.pick(&plan.rooms).clone(), now + after)
        });
        Self {
            curiosity,
            quits,
            world,
            rng,
            number,
            user,
            rooms,
            ops: BTreeMap::new(),
            own: Vec::new(),
            asked: BTreeMap::new(),
            last_id: 0,
            due: now,
            slow: Duration::ZERO,
            calm_since: None,
            last_word: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.offline();
            let names = self.world.plan.rooms.iter().filter(|room| !self.has_quit(room));
            let names: Vec<_> = names.cloned().collect();
            let room = self.rng.pick(&names).clone();
            let start = self.start(&room);
            let wish = Wish {
                protocol: Protocol::V1,
                room: &room,
                start: &start,
                presence: self.wants_presence(),
            };
            let wait = match dial(&self.world, &self.rng, &self.user, wish).await {
                Ok(end) => {
                    self.slow = if self.rng.chance(250) {
                        self.rng.millis(1, 200)
                    } else {
                        Duration::ZERO
                    };
                    self.talk(end).await;
                    self.rng.millis(0, 400)
                }
                Err(wait) => wait.min(Duration::from_secs(3)),
            };
            sleep(wait).await;
        }
    }

    /// Nothing is known of what is under way.
    fn offline(&mut self) {
        self.world.todo(self.number, self.ops.len() + 1);
        self.asked.clear();
        for place in self.rooms.values_mut() {
            place.joined = false;
            place.joining = false;
            place.due = Instant::now();
        }
        self.ops.retain(|_, op| op.request.is_none() || op.is_repeatable());
        self.ops.values_mut().for_each(|op| op.request = None);
    }

    /// Whether it asks who is there, this time.
    fn wants_presence(&self) -> bool {
        self.curiosity.chance(self.world.plan.presence)
    }

    /// Whether it is seen no more in this room.
    fn has_quit(&self, room: &str) -> bool {
        let quits = self.quits.as_ref();
        quits.is_some_and(|(quits, since)| quits == room && *since <= Instant::now())
    }

    /// Leaves the room where it is to be seen no more, and forgets what it had to say there.
    fn quit(&mut self, end: &mut ClientEnd) {
        let Some((room, _)) = self.quits.clone().filter(|(room, _)| self.has_quit(room)) else {
            return;
        };
        self.ops.retain(|_, op| op.room != room);
        self.own.retain(|(other, _)| *other != room);
        if !self.asked.values().any(|about| matches!(about, About::Leave)) {
            self.leave(end, &room);
        }
    }

    /// Where to begin in this room.
    fn start(&mut self, room: &str) -> Start {
        let most = self.world.plan.limits.history_page_max as u64;
        let last = Start::Last(self.rng.between(0, most));
        let draw = if self.world.is_calm() {
            1000
        } else {
            self.rng.below(1000)
        };
        match &self.rooms[room] {
            _ if draw < 70 => Start::Live,
            _ if draw < 140 => last,
            Place {
                cursor: Some((epoch, seq)),
                ..
            } => Start::Since(epoch.clone(), *seq),
            Place { epoch, .. } if draw < 500 && !epoch.is_empty() => Start::Since(epoch.clone(), 0),
            _ => Start::Live,
        }
    }

    async fn talk(&mut self, mut end: ClientEnd) {
        loop {
            let pause = tokio::select! {
                biased;
                down = end.recv() => match down {
                    Down::Frame(frame) => {
                        self.take(&frame);
                        self.slow
                    }
                    Down::Close(_) | Down::Gone => return,
                },
                () = sleep_until(self.due) => {
                    let pause = match self.act(&mut end) {
                        Ok(pause) => pause,
                        Err(how) => return end.leave(how).await,
                    };
                    let pace = self.world.plan.pace.mul_f64(self.rng.below(1000) as f64 / 500.0);
                    self.due = Instant::now() + pause + pace.max(Duration::from_millis(1));
                    pause
                }
            };
            if pause > Duration::ZERO && !self.world.is_calm() {
                sleep(pause).await;
            }
        }
    }

    /// Does something. Returns for how long it then reads nothing, or how it leaves, since it has had enough of this
    /// connection.
    fn act(&mut self, end: &mut ClientEnd) -> Result<Duration, Leave> {
        let mut pause = Duration::ZERO;
        if self.world.is_calm() {
            self.wind_up();
        } else {
            let late = |about: &About| matches!(about, About::Op(_, asked) if asked.elapsed() > PATIENCE);
            if self.asked.values().any(late) {
                return Err(Leave::Abruptly);
            }
            match self.rng.below(1000) {
                0..12 => return Err(Leave::Politely),
                12..18 => return Err(Leave::ByHalf),
                18..22 => return Err(Leave::MidFrame),
                22..34 => return Err(Leave::Abruptly),
                34..46 => pause = self.rng.millis(100, 4_000),
                46..50 => pause = self.rng.millis(4_000, 14_000),
                50..60 => (0..self.rng.between(5, 60)).for_each(|_| self.ping(end)),
                60..64 => self.page_through(end),
                64..68 => (0..self.rng.between(1, 60)).for_each(|_| end.send(Up::Ping)),
                68..72 => end.send(Up::Text("{\"t\":".into())),
                72..74 => self.spoil(end, Up::Binary),
                74..76 => self.spoil(end, Up::TooLarge),
                76..82 => self.spoil(end, Up::Broken),
                _ => self.ask(end),
            }
        }
        self.quit(end);
        self.join_wanted(end);
        self.send_due(end);
        let missing = self
            .rooms
            .iter()
            .filter(|(room, place)| place.joined == self.has_quit(room));
        let missing = missing.count();
        let count = self.ops.len() + missing + usize::from(!self.last_word);
        self.world.todo(self.number, count);
        Ok(pause)
    }

    /// The faults are over: it wants to be in every room, and says one thing more in each.
    fn wind_up(&mut self) {
        let since = *self.calm_since.get_or_insert_with(Instant::now);
        self.rooms.values_mut().for_each(|place| place.wanted = true);
        if since.elapsed() >= LAST_WORD && !self.last_word {
            self.last_word = true;
            for room in self.world.plan.rooms.clone() {
                self.say(&room);
            }
        }
    }

    /// Takes in a frame.
    fn take(&mut self, frame: &Frame) {
        match frame.t.as_str() {
            "hello" => frame.rooms.iter().for_each(|room| self.joined(room)),
            "joined" => self.joined(frame),
            "left" => {
                if let Some(place) = self.rooms.get_mut(&frame.room_id) {
                    place.joined = false;
                    place.wanted = self.rng.chance(800);
                }
            }
            "gap" => {
                if let Some(place) = self.rooms.get_mut(&frame.room_id)
                    && let Some(to) = frame.to
                {
                    place.cursor = Some((place.epoch.clone(), to));
                }
            }
            "ack" | "err" => {}
            _ if frame.is_entry() => {
                if let Some(place) = self.rooms.get_mut(&frame.room_id) {
                    place.cursor = Some((place.epoch.clone(), frame.seq));
                }
            }
            _ => {}
        }
        if let Some(about) = frame.answers().and_then(|id| self.asked.remove(&id)) {
            self.answered(about, frame);
        }
    }

    fn joined(&mut self, room: &Frame) {
        if let Some(place) = self.rooms.get_mut(&room.room_id) {
            place.joined = true;
            place.joining = false;
            place.epoch.clone_from(&room.epoch);
            if room.resume == "fresh" {
                place.cursor = Some((room.epoch.clone(), room.head));
            }
        }
    }

    fn answered(&mut self, about: About, frame: &Frame) {
        let wait = Duration::from_millis(frame.retry_ms.unwrap_or(50)).min(Duration::from_secs(3));
        match about {
            About::Join(room) => {
                if let Some(place) = self.rooms.get_mut(&room) {
                    place.joining = false;
                    place.due = Instant::now() + wait;
                }
            }
            About::Op(number, _) => self.settle(number, frame, wait),
            About::Leave | About::Other => {}
        }
    }

    fn settle(&mut self, number: u64, frame: &Frame, wait: Duration) {
        let Some(mut op) = self.ops.remove(&number) else { return };
        if frame.t == "ack" {
            if matches!(op.ask, Ask::Send { .. }) {
                self.own.push((op.room, frame.msg.clone()));
                if self.own.len() > 12 {
                    self.own.remove(0);
                }
            }
            return;
        }
        if matches!(frame.error(), "rate_limited" | "unavailable" | "not_joined") && op.is_repeatable() {
            op.request = None;
            op.due = Instant::now() + wait;
            self.ops.insert(number, op);
        }
    }
}
