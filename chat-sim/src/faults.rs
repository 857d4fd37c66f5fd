//! What goes wrong beside the network: the store's weather, hubs that die or drain, clocks that jump, a policy that changes
//! its mind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::oracle::facts::Level;
use crate::rng::Rng;
use crate::store::Weather;
use crate::world::World;

/// Makes faults for that long, and then sees to it that there are none any more.
pub(crate) async fn make(world: &Arc<World>, rng: Rng, span: Duration) {
    let end = Instant::now() + span;
    world.disk.set_weather(usual(&rng));
    while Instant::now() < end {
        sleep(rng.millis(50, 1_500)).await;
        if rng.chance(400) {
            world.disk.set_weather(weather(&rng, world.plan.store));
        }
        if rng.chance(world.plan.restarts) {
            restart(world, &rng);
        }
        if rng.chance(100) {
            world.clock.jump(rng.between(0, 7_200_000) as i64 - 3_600_000);
        }
        if rng.chance(150) {
            world.policy.other_mask();
        }
        if rng.chance(world.plan.policy) {
            let users = world.users();
            let (user, room) = (rng.pick(&users), rng.pick(&world.plan.rooms));
            let level = *rng.pick(&[Level::Nothing, Level::Live, Level::History, Level::History]);
            world.set_level(user, room, level);
        }
    }
    world.disk.set_weather(usual(&rng));
    for user in world.users() {
        for room in &world.plan.rooms {
            world.set_level(&user, room, Level::History);
        }
    }
    for place in 0..world.plan.hubs {
        world.start(place);
    }
}

/// A store that is well.
fn usual(rng: &Rng) -> Weather {
    Weather {
        slow_ms: *rng.pick(&[0, 1, 5, 40]),
        ..Weather::default()
    }
}

fn weather(rng: &Rng, rough: u64) -> Weather {
    let mut weather = usual(rng);
    if rough > 0 && rng.chance(700) {
        let share = |of: u64| {
            if rng.chance(500) {
                rng.below(rough) * of / 100
            } else {
                0
            }
        };
        weather.fails = share(100);
        weather.unknown = share(100);
        weather.hangs = share(20);
        weather.rivals = share(60);
        if rng.chance(200) {
            weather.slow_ms = rng.between(100, 1_500);
        }
        if rng.chance(60) {
            // Nothing goes any more.
            weather.fails = 1000;
        }
    }
    weather
}

/// Kills or drains a hub, and starts the next one in its place, sooner or later.
fn restart(world: &Arc<World>, rng: &Rng) {
    let place = rng.size(0, world.plan.hubs - 1);
    let (kill, pause) = (rng.chance(500), rng.millis(0, 3_000));
    let deadline = rng.millis(0, 8_000);
    let world = world.clone();
    tokio::spawn(async move {
        let next = async {
            sleep(pause).await;
            world.start(place);
        };
        if kill {
            world.crash(place);
            next.await;
        } else {
            tokio::join!(world.drain(place, deadline), next);
        }
    });
}
