//! Kicks, and how hubs and buses begin and end.

use std::time::Duration;

use roomcast_core::{Bus as _, Hub, OpenPolicy};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::cluster::*;
use super::harness::{BusHarness, Node};
use super::member::{Member, SOON};
use super::shared::SharedStore;

/// The code of the close frame of who was kicked.
const KICKED: u16 = 4503;

/// A user's connections are closed on all nodes, and no other user's.
pub async fn a_kick_reaches_every_node(harness: &dyn BusHarness) {
    let hubs: [_; 3] = hubs(harness).await;
    let (room, other) = (room("r"), room("other"));
    let mut kicked = Vec::new();
    let mut stay = Vec::new();
    for hub in &hubs {
        kicked.push(Member::join(hub, "ann", &room).await);
        kicked.push(Member::join(hub, "ann", &other).await);
        stay.push(Member::join(hub, "bob", &room).await);
    }
    settle(&hubs).await;
    hubs[0].kick(user("ann").id());
    for member in &mut kicked {
        assert_eq!(member.is_closed().await, KICKED);
    }
    say(&hubs[1], &room, "bot", "still here").await;
    for member in &mut stay {
        member.sees("still here").await;
    }
    drop((kicked, stay));
    stop(hubs).await;
}

/// A hub that nobody has used yet, and whose bus doesn't run therefore, tells all the same.
pub async fn a_kick_may_be_the_first_thing(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    settle([&one]).await;
    two.kick(user("ann").id());
    assert_eq!(ann.is_closed().await, KICKED);
    drop(ann);
    stop([one, two]).await;
}

/// What a hub commits while it stops is seen elsewhere.
pub async fn a_stopping_hub_still_tells(harness: &dyn BusHarness) {
    let one = hub(harness).await;
    let Node { store, bus } = harness.node().await;
    let slow = SharedStore::slow(store, APPENDING);
    let two = Hub::builder(slow, OpenPolicy).bus(bus).build().unwrap();
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    let bob = Member::join(&two, "bob", &room).await;
    settle([&one]).await;
    bob.say("last words");
    sleep(APPENDING / 4).await;
    let report = two.shutdown(SOON).await;
    assert!(report.is_clean(), "{report:?}");
    ann.sees("last words").await;
    drop((ann, bob));
    stop([one]).await;
}

/// How long the store of a hub that stops takes for each append.
const APPENDING: Duration = Duration::from_millis(400);

/// A bus over which notices get through says so.
pub async fn an_open_bus_is_healthy(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    say(&two, &room, "bot", "hi").await;
    ann.sees("hi").await;
    for hub in [&one, &two] {
        let began = Instant::now();
        hub.bus_health().await.expect("there is a bus").expect("it is healthy");
        assert!(began.elapsed() < SOON / 2, "it took {:?} to say so", began.elapsed());
    }
    drop(ann);
    stop([one, two]).await;
}

/// Closing is idempotent, and what is told after it is dropped.
pub async fn a_bus_is_closed_twice(harness: &dyn BusHarness) {
    let Node { store, bus } = harness.node().await;
    let hub = Hub::builder(store, OpenPolicy).bus(bus.clone()).build().unwrap();
    let room = room("r");
    let ann = Member::join(&hub, "ann", &room).await;
    ann.leave().await;
    let report = hub.shutdown(SOON).await;
    assert!(report.is_clean(), "{report:?}");
    for _ in 0..2 {
        tokio::time::timeout(SOON, bus.close())
            .await
            .expect("closing again takes no time");
    }
    hub.kick(user("ann").id());
    bus.unwatch(std::slice::from_ref(&room));
    tokio::time::timeout(SOON, bus.watch(std::slice::from_ref(&room)))
        .await
        .expect("a closed bus returns at once");
}

/// When a hub has stopped, nothing of its bus is left.
pub async fn a_stopped_hub_leaves_no_task(harness: &dyn BusHarness) {
    let before = Handle::current().metrics().num_alive_tasks();
    let [one, two] = hubs(harness).await;
    let mut ann = Member::join(&one, "ann", &room("r")).await;
    say(&two, &room("r"), "bot", "hi").await;
    ann.sees("hi").await;
    ann.leave().await;
    stop([one, two]).await;
    no_task_is_left(before).await;
}

/// The same when the hub is dropped without being stopped.
pub async fn a_dropped_hub_leaves_no_task(harness: &dyn BusHarness) {
    let before = Handle::current().metrics().num_alive_tasks();
    let [one, two] = hubs(harness).await;
    let mut ann = Member::join(&one, "ann", &room("r")).await;
    say(&two, &room("r"), "bot", "hi").await;
    ann.sees("hi").await;
    ann.leave().await;
    drop((one, two));
    no_task_is_left(before).await;
}

async fn no_task_is_left(before: usize) {
    let alive = || Handle::current().metrics().num_alive_tasks();
    until("no task is left", || alive() <= before).await;
}
