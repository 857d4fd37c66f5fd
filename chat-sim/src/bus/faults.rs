//! What goes wrong with the bus over time, and how it is well again in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::parcel::noise;
use super::{BusFault, GOOD, Parcel, Weather, Wire};
use crate::oracle::{Event, HubId};
use crate::rng::Rng;
use crate::world::World;

/// How long hubs have to make up for what they missed while the bus was bad, before news has to come soon again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(11);

/// How often hubs are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Starts what happens to the bus, if there is one.
pub(crate) fn start(world: &Arc<World>) {
    let Some(plan) = world.plan.bus.clone() else { return };
    let rng = world.wire.rng.fork();
    tokio::spawn(look(world.clone()));
    if plan.faults == 0 {
        return world.see(&Event::BusIsGood);
    }
    let world = world.clone();
    tokio::spawn(async move {
        let end = Instant::now() + world.plan.chaos;
        while Instant::now() < end {
            sleep(rng.millis(50, 1_500)).await;
            if rng.chance(400) {
                world.wire.state.lock().weather = weather(&rng, plan.faults);
            }
            if rng.chance(plan.cuts) {
                cut(&world, &rng);
            }
            if rng.chance(200) {
                say_again(&world, &rng);
            }
        }
        world.wire.state.lock().weather = GOOD;
        heal(&world, None, &rng);
        sleep(RECOVERY).await;
        world.see(&Event::BusIsGood);
    });
}

fn weather(rng: &Rng, rough: u64) -> Weather {
    if rng.chance(250) {
        return GOOD;
    }
    let share = |of: u64| {
        if rng.chance(600) {
            rng.below(rough) * of / 100
        } else {
            0
        }
    };
    Weather {
        lost: if rng.chance(50) { 1_000 } else { share(150) },
        repeated: share(100),
        delayed: share(200),
        mangled: share(60),
        watch_ms: *rng.pick(&[0, 20, 300, 4_000]),
    }
}

/// Cuts one hub off, or all, for a while. Afterwards the bus says so, sooner or later; or it hasn't noticed.
fn cut(world: &Arc<World>, rng: &Rng) {
    let hubs: Vec<HubId> = world.wire.state.lock().boxes.keys().copied().collect();
    let whole = hubs.is_empty() || rng.chance(300);
    let one = (!whole).then(|| *rng.pick(&hubs));
    {
        let mut state = world.wire.state.lock();
        match one.and_then(|hub| state.boxes.get_mut(&hub)) {
            Some(end) => end.cut = true,
            None => {
                state.down = true;
                // What was on its way is lost; who comes meanwhile finds nothing.
                state.boxes.values_mut().for_each(|end| end.due.clear());
            }
        }
    }
    for hub in hubs.into_iter().filter(|hub| one.is_none_or(|one| one == *hub)) {
        world.see(&Event::BusFault {
            hub,
            what: BusFault::Cut,
        });
    }
    let (world, rng) = (world.clone(), rng.fork());
    let (low, high) = *rng.pick(&[(10, 300), (100, 3_000), (1_000, 10_000)]);
    let noticed = rng.chance(800);
    tokio::spawn(async move {
        sleep(rng.millis(low, high)).await;
        if noticed {
            heal(&world, one, &rng);
        } else {
            world.wire.join(one);
        }
    });
}

/// Joins one hub or all of them again, and tells them so after a while.
fn heal(world: &World, hub: Option<HubId>, rng: &Rng) {
    for hub in world.wire.join(hub) {
        world.see(&Event::BusFault {
            hub,
            what: BusFault::Healed,
        });
        world.wire.put(hub, rng.millis(0, 2_000), Parcel::Missed);
    }
}

impl Wire {
    /// Nothing keeps one hub, or all of them, from the bus any more. Returns whom.
    fn join(&self, hub: Option<HubId>) -> Vec<HubId> {
        let mut state = self.state.lock();
        if hub.is_none() {
            state.down = false;
        }
        let ends = state.boxes.iter_mut();
        let ends = ends.filter(|(end, _)| hub.is_none_or(|hub| hub == **end));
        ends.map(|(hub, end)| {
            end.cut = false;
            *hub
        })
        .collect()
    }
}

/// Something that was told long ago, perhaps to another life of a hub, is told again, or what nobody ever told.
fn say_again(world: &World, rng: &Rng) {
    let (hubs, past): (Vec<HubId>, Vec<Parcel>) = {
        let state = world.wire.state.lock();
        (state.boxes.keys().copied().collect(), state.past.clone())
    };
    if hubs.is_empty() || past.is_empty() {
        return;
    }
    for _ in 0..rng.between(1, 4) {
        let hub = *rng.pick(&hubs);
        let (what, parcel) = match rng.chance(800) {
            true => (BusFault::Repeated, rng.pick(&past).clone()),
            false => (BusFault::Mangled, Parcel::Garbage(noise(rng))),
        };
        world.see(&Event::BusFault { hub, what });
        world.wire.put(hub, Duration::ZERO, parcel);
    }
}

/// Looks at what hubs know.
async fn look(world: Arc<World>) {
    loop {
        sleep(LOOK).await;
        for place in 0..world.plan.hubs {
            if let Some(node) = world.node(place) {
                world.look(node.id);
            }
        }
    }
}
