//! How long a message takes to a member of the same node, and to one of another node, over a real NATS server:
//! `cargo run --release -p roomcast-nats --example latency`.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::nodes::{Listener, hub_on};
use common::server::Server;
use roomcast_core::{Draft, MemoryStore, RoomId, User};
use roomcast_nats::NatsBus;
use roomcast_testkit::bus::SharedStore;
use tokio::time::{Instant, sleep};

const MESSAGES: usize = 2000;

/// The time between two messages: nothing waits for anything else.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::main]
async fn main() {
    let server = Server::start();
    let store = SharedStore::new(MemoryStore::new());
    let one = hub_on(&store, NatsBus::connect(server.url()).await.unwrap());
    let two = hub_on(&store, NatsBus::connect(server.url()).await.unwrap());
    let mut here = Listener::join(&one, "ann", "r").await;
    let mut there = Listener::join(&two, "bob", "r").await;
    sleep(Duration::from_millis(500)).await;
    let (room, bot) = (RoomId::new("r").unwrap(), User::named("bot").unwrap());
    let (mut same, mut across) = (Vec::new(), Vec::new());
    for n in 0..MESSAGES {
        let text = n.to_string();
        let said = Instant::now();
        one.publish(&room, &bot, Draft::text(&text)).await.unwrap();
        same.push(here.sees(&text).await - said);
        across.push(there.sees(&text).await - said);
        sleep(PAUSE).await;
    }
    println!("{MESSAGES} messages, one every {PAUSE:?} or more, from `publish` to the member's connection:");
    for (name, mut times) in [("same node", same), ("another node", across)] {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!("{name}: p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));
    }
    drop((here, there));
    for hub in [one, two] {
        hub.shutdown(Duration::from_secs(5)).await;
    }
}
