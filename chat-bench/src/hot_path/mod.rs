//! The path of a message without sockets: the engine and its WebSockets in one thread, over streams in memory. What it takes in
//! instructions is the same on every run, so that `cargo xtask instructions` can hold it to what it took before.

mod scale;
mod stream;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{Bytes, Client, Hub, Limits, MemoryStore, OpenPolicy, RoomId, User};
use roomcast_ws::{WebSocket, WsConfig};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::wire::push_masked_text;
pub(crate) use scale::{Scale, Scaled, scale};
use stream::{Audience, Line};

/// How long a run may take, which takes seconds under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);

/// As long as in the other benchmarks.
const CONTENT: usize = 64;

struct Scenario {
    name: &'static str,
    rooms: usize,
    members: usize,
    /// So many members of each room speak at the same time, and again when all have heard it.
    speakers: usize,
    rounds: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1x1000",
        rooms: 1,
        members: 1000,
        speakers: 1,
        rounds: 50,
    },
    Scenario {
        name: "1x1000-64-at-once",
        rooms: 1,
        members: 1000,
        speakers: 64,
        rounds: 5,
    },
    Scenario {
        name: "200x10",
        rooms: 200,
        members: 10,
        speakers: 1,
        rounds: 20,
    },
];

/// What was done while instructions were counted.
#[derive(Debug, Serialize)]
struct Done {
    messages: usize,
    deliveries: usize,
}

/// Runs the scenario of this name, and says what was done in it; without one, the names.
pub(crate) fn drive(name: Option<&str>) -> Result<(), Box<dyn Error>> {
    let Some(name) = name else {
        SCENARIOS.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(());
    };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| format!("there is no scenario {name}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut hall = runtime.block_on(Hall::open(scenario, usize::MAX))?;
    // The first messages find buffers and tables that have yet to grow.
    runtime.block_on(hall.rounds(scenario.rounds.div_ceil(5)))?;
    counted(&runtime, &mut hall, scenario.rounds)?;
    let messages = scenario.rounds * scenario.rooms * scenario.speakers;
    let done = Done {
        messages,
        deliveries: messages * scenario.members,
    };
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

/// Instructions are counted from the beginning of this to its end: valgrind knows it by its name.
#[inline(never)]
fn counted(runtime: &Runtime, hall: &mut Hall, rounds: usize) -> Result<(), Box<dyn Error>> {
    runtime.block_on(hall.rounds(rounds))
}

/// The rooms with their members.
struct Hall {
    _hub: Hub,
    /// Those who count together, with the number of frames that each of them hears in a round.
    audiences: Vec<(Arc<Audience>, usize)>,
    /// Of each room, the lines of those who speak.
    speakers: Vec<Line>,
    /// What each of them says.
    frame: Vec<u8>,
}

impl Hall {
    /// So many members count together what they hear; who counts together waits for each other's counting.
    async fn open(scenario: &Scenario, together: usize) -> Result<Self, Box<dyn Error>> {
        let mut limits = Limits::default();
        limits.rate = None;
        limits.connections_per_user = limits.connections;
        // Nothing else is to happen while instructions are counted, however slow the machine.
        limits.ping = PATIENCE * 2;
        limits.head_check = PATIENCE * 2;
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy).limits(limits).build()?;
        let config = WsConfig::of(hub.limits());
        let mut audiences: Vec<(Arc<Audience>, usize)> = Vec::new();
        let mut speakers = Vec::new();
        for room in 0..scenario.rooms {
            let room = RoomId::new(format!("room-{room}"))?;
            for member in 0..scenario.members {
                match audiences.last_mut() {
                    Some((_, frames)) if *frames < together.saturating_mul(scenario.speakers) => {
                        *frames += scenario.speakers;
                    }
                    _ => audiences.push((Arc::default(), scenario.speakers)),
                }
                let (audience, _) = audiences.last().expect("one was just pushed");
                let line = Line::new(audience);
                if member < scenario.speakers {
                    speakers.push(line.clone());
                }
                let client = Client::plain(User::named("ann")?, room.clone());
                let admission = hub.admit(client).await.map_err(|refusal| refusal.to_string())?;
                hub.spawn(admission.serve(WebSocket::from_upgraded(line, Bytes::new(), &config)));
            }
        }
        // Each is in its room, and waits.
        for _ in 0..scenario.rooms * scenario.members {
            tokio::task::yield_now().await;
        }
        let mut frame = Vec::new();
        push_masked_text(
            &mut frame,
            format!(r#"{{"content":"{}"}}"#, "x".repeat(CONTENT)).as_bytes(),
        );
        Ok(Self {
            _hub: hub,
            audiences,
            speakers,
            frame,
        })
    }

    /// All who speak do so, and are waited for until everybody in their rooms has heard all of it.
    async fn rounds(&mut self, rounds: usize) -> Result<(), Box<dyn Error>> {
        let all = async {
            for _ in 0..rounds {
                for (audience, frames) in &self.audiences {
                    audience.expect(*frames);
                }
                for speaker in &self.speakers {
                    speaker.say(&self.frame);
                }
                for (audience, _) in &self.audiences {
                    audience.heard().await;
                }
            }
        };
        let timeout = tokio::time::timeout(PATIENCE, all).await;
        timeout.map_err(|_| "a message was not heard by all within two minutes".into())
    }
}
