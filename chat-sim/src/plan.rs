//! What a seed decides before anything happens: how many take part, how narrow the limits are, how rough it gets.

use std::time::Duration;

use roomcast_core::{Limits, QueueLimit, Rate};

use crate::rng::Rng;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) hubs: usize,
    pub(crate) rooms: Vec<String>,
    pub(crate) clients: usize,
    pub(crate) plain: usize,
    /// How many parts of the embedding server do things in rooms by themselves.
    pub(crate) bots: usize,
    /// How many connections are WebSockets, in thousandths.
    pub(crate) sockets: u64,
    pub(crate) limits: Limits,
    /// How many entries the store keeps of each room.
    pub(crate) retention: Option<usize>,
    /// For how long faults are made.
    pub(crate) chaos: Duration,
    /// How long a client waits between two things that it does, at most.
    pub(crate) pace: Duration,
    /// How rough the store gets, in thousandths.
    pub(crate) store: u64,
    /// How often connections break, in thousandths.
    pub(crate) network: u64,
    /// How often hubs are killed or drained, in thousandths.
    pub(crate) restarts: u64,
    /// How often the policy changes its mind, in thousandths.
    pub(crate) policy: u64,
    /// What joins the hubs beside the store, if anything does.
    pub(crate) bus: Option<BusPlan>,
    /// How many joins ask who is there, in thousandths.
    pub(crate) presence: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct BusPlan {
    /// Whether it sees what the store writes, so that hubs needn't tell of it.
    pub(crate) sees_store: bool,
    /// How rough it gets, in thousandths; 0 is a good bus.
    pub(crate) faults: u64,
    /// How often hubs lose their way to it, in thousandths.
    pub(crate) cuts: u64,
}

impl Plan {
    /// The bus and presence have generators of their own: a seed without is what it was before there were any.
    pub(crate) fn draw(rng: &Rng, of_bus: &Rng, of_presence: &Rng) -> Self {
        let mut plan = Self::without_bus(rng);
        plan.bus = bus(of_bus);
        if plan.bus.is_some() {
            plan.hubs = plan.hubs.max(2);
            // Rarely, so that what the bus should have told isn't found by it.
            plan.limits.head_check = of_bus.millis(20_000, 30_000);
        }
        if of_presence.chance(500) {
            plan.presence = *of_presence.pick(&[300, 800, 1_000]);
            plan.limits.presence_heartbeat = of_presence.millis(1_000, 10_000);
            if of_presence.chance(300) {
                plan.limits.presence_users = of_presence.size(1, 4);
            }
        }
        plan
    }

    fn without_bus(rng: &Rng) -> Self {
        // Some runs have faults of one kind only: there the deeper ones show.
        let rough = |rng: &Rng, most: u64| if rng.chance(350) { 0 } else { rng.between(1, most) };
        Self {
            hubs: rng.size(1, 3),
            rooms: (1..=rng.size(1, 2)).map(|n| format!("room{n}")).collect(),
            clients: rng.size(2, 6),
            plain: rng.size(0, 2),
            bots: rng.size(0, 2),
            sockets: *rng.pick(&[0, 400, 400, 1_000]),
            limits: limits(rng),
            retention: rng.chance(300).then(|| rng.size(4, 60)),
            chaos: rng.millis(8_000, 30_000),
            pace: Duration::from_millis(*rng.pick(&[20, 60, 200, 600])),
            store: rough(rng, 250),
            network: rough(rng, 60),
            restarts: rough(rng, 300),
            policy: rough(rng, 200),
            bus: None,
            presence: 0,
        }
    }
}

fn bus(rng: &Rng) -> Option<BusPlan> {
    let faults = match rng.below(100) {
        0..25 => return None,
        25..45 => 0,
        _ => rng.between(20, 300),
    };
    Some(BusPlan {
        sees_store: rng.chance(250),
        faults,
        cuts: if faults == 0 { 0 } else { *rng.pick(&[0, 60, 200]) },
    })
}

/// Narrow enough that every one of them is met.
fn limits(rng: &Rng) -> Limits {
    let mut limits = Limits::default();
    let queue = |messages: usize, rng: &Rng| QueueLimit {
        messages,
        bytes: if rng.chance(300) { rng.size(600, 6_000) } else { 1 << 20 },
    };
    limits.send_queue = queue(rng.size(3, 40), rng);
    limits.tail = queue(rng.size(2, 60), rng);
    limits.commit_batch = queue(rng.size(1, 20), rng);
    limits.commit_queue = queue(rng.size(2, 60), rng);
    limits.history_page_max = rng.size(3, 40);
    limits.history_page = limits.history_page_max.min(5);
    limits.in_flight = rng.size(1, 16);
    limits.message_bytes = *rng.pick(&[2_000, 2_000, 64 << 10]);
    if rng.chance(300) {
        limits.control_rate = Some(Rate {
            per_second: rng.between(1, 20) as f64,
            burst: rng.between(20, 100) as u32,
        });
    }
    limits.rate = rng.chance(400).then(|| Rate {
        per_second: rng.between(5, 40) as f64,
        burst: rng.between(3, 40) as u32,
    });
    limits.commit = rng.millis(1_000, 3_000);
    limits.store_read = rng.millis(1_000, 3_000);
    limits.write = rng.millis(800, 2_500);
    limits.catch_up = rng.millis(2_000, 8_000);
    limits.ping = rng.millis(2_000, 5_000);
    limits.pong = rng.millis(1_000, 3_000);
    limits.head_check = rng.millis(500, 3_000);
    limits.drain_spread = rng.millis(0, 1_000);
    limits
}
