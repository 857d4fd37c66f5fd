//! Hubs that share a store and a bus, and what they are told.

use std::time::Duration;

use roomcast_core::{Draft, Hub, Limits, OpenPolicy, Receipt, RoomId, User};
use tokio::time::{Instant, sleep};

use super::harness::{BusHarness, Node};
use super::member::SOON;

/// Longer than any check: what is seen before is seen thanks to the bus.
const NEVER: Duration = Duration::from_secs(24 * 3600);

pub(super) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(super) fn user(name: &str) -> User {
    User::named(name).unwrap()
}

pub(super) async fn hub(harness: &dyn BusHarness) -> Hub {
    let Node { store, bus } = harness.node().await;
    let mut limits = Limits::default();
    limits.rate = None;
    limits.head_check = NEVER;
    limits.room_id_char = |_| true;
    limits.message_bytes = 256 << 10;
    let hub = Hub::builder(store, OpenPolicy).limits(limits).bus(bus);
    hub.build().unwrap()
}

pub(super) async fn hubs<const N: usize>(harness: &dyn BusHarness) -> [Hub; N] {
    let mut hubs = Vec::new();
    for _ in 0..N {
        hubs.push(hub(harness).await);
    }
    hubs.try_into().unwrap_or_else(|_| unreachable!("so many were made"))
}

/// Stops the hubs, which have nothing left to do.
pub(super) async fn stop<const N: usize>(hubs: [Hub; N]) {
    for hub in hubs {
        let report = hub.shutdown(SOON).await;
        assert!(report.is_clean(), "a hub stops cleanly: {report:?}");
    }
}

/// Says something as the server, and insists, since two writers on one room may need several tries.
pub(super) async fn say(hub: &Hub, room: &RoomId, name: &str, content: &str) -> Receipt {
    let draft = Draft::text(content);
    hub.publish(room, &user(name), draft)
        .await
        .unwrap_or_else(|error| panic!("{content:?} can't be said: {error}"))
}

/// Waits until something is true.
pub(super) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the hub's bus is healthy.
pub(super) async fn healthy(hub: &Hub, limit: Duration) {
    let began = Instant::now();
    while !matches!(hub.bus_health().await, Some(Ok(()))) {
        assert!(began.elapsed() < limit, "the bus isn't healthy within {limit:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the hubs' buses listen for certain, and the heads that are compared after that are: what is seen from then on is seen
/// because it was told. Nothing says when that is, but when a bus is healthy it has been for long.
pub(super) async fn settle(hubs: impl IntoIterator<Item = &Hub>) {
    for hub in hubs {
        healthy(hub, SOON).await;
    }
    sleep(Duration::from_millis(300)).await;
}
