//! What several nodes on one MongoDB cost and gain:
//! `cargo run --release -p roomcast-mongo --features change-streams --example nodes_rate [URI] [PART…]`.
//!
//! Without an address it starts a replica set of one (see `cargo xtask mongod`). The nodes are hubs of one process, each
//! with a store and so with connections of its own. In one run:
//! - `latency`: how long until a member on another node sees a message, with change streams and without any bus, beside the
//!   acknowledgement's time;
//! - `hot`: one room written by one, two and three nodes with all their might, with the bus and without: the sum in relation to
//!   one node's, and each node's share;
//! - `rooms`: the same with a hundred rooms;
//! - `cpu`: what an entry costs a node whose members it doesn't concern, and what its own entries cost it when they come back.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/faults/pipe.rs"]
mod pipe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::make::{room, user};
use common::replica_set::ReplicaSet;
use common::shared::Database;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pipe::{Peer, pipe};
use roomcast_core::{Client, Draft, Hub, Limits, OpenPolicy, RoomId};
use roomcast_mongo::MongoStore;
use rustix::time::{ClockId, clock_gettime};

const MEASURED: Duration = Duration::from_secs(6);
const ROOMS: usize = 100;
/// About as long as people write.
const CONTENT: &str =
    "A message of a length that people write, say a hundred characters or so, with a few words to search.";

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let given = arguments.next_if(|first| first.contains("://"));
    let parts: Vec<String> = arguments.collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let set = match given {
        Some(_) => None,
        None => Some(ReplicaSet::of(1).await),
    };
    let uri = given.or(set.as_ref().map(ReplicaSet::uri)).expect("an address");
    if wanted("latency") {
        latency(&uri).await;
    }
    if wanted("hot") {
        let hot = [room("hot")];
        for (senders, window) in [(64, 1), (16, 64)] {
            println!("one room, {senders} senders on each node, {window} under way each:");
            scale(&uri, &hot, senders, window).await;
        }
    }
    if wanted("rooms") {
        let rooms: Vec<_> = (0..ROOMS).map(|number| room(&format!("room{number}"))).collect();
        println!("{ROOMS} rooms, a sender in each on each node, 4 under way each:");
        scale(&uri, &rooms, ROOMS, 4).await;
    }
    if wanted("cpu") {
        cpu(&uri).await;
    }
}

async fn node(database: &Database, bus: bool) -> Hub {
    let store = MongoStore::builder(&database.uri).database(&database.name);
    let store = store.connect().await.expect("a server");
    let mut limits = Limits::default();
    limits.rate = None;
    // Members here answer no pings, and some wait for longer than a client may be silent.
    limits.ping = Duration::from_secs(600);
    let ends = match bus {
        true => Some(store.bus().await.expect("a replica set")),
        false => None,
    };
    let mut hub = Hub::builder(store, OpenPolicy).limits(limits);
    if let Some(end) = ends {
        hub = hub.bus(end);
    }
    hub.build().unwrap()
}

/// Somebody in the room, who reads.
async fn member(hub: &Hub, room: &RoomId) -> Peer {
    let (connection, mut peer) = pipe();
    let admitted = hub.admit(Client::v1(user("member")).room(room.clone())).await.unwrap();
    tokio::spawn(async move { admitted.serve(connection).await });
    assert_eq!(peer.frames.recv().await.expect("a hello")["t"], "hello");
    peer
}

async fn stop(hubs: Vec<Hub>) {
    for hub in hubs {
        let report = hub.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean(), "{report:?}");
    }
}

fn told(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("median {:.2?}, 99th percentile {:.2?}", at(50), at(99))
}

async fn latency(uri: &str) {
    const MESSAGES: usize = 500;
    let database = Database::on(uri.to_owned());
    let hubs = vec![node(&database, true).await, node(&database, true).await];
    let quiet = room("quiet");
    let (mut here, mut there) = (member(&hubs[0], &quiet).await, member(&hubs[1], &quiet).await);
    let (mut acknowledged, mut seen_here, mut seen_there) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MESSAGES {
        let began = Instant::now();
        let sees = async |peer: &mut Peer| {
            peer.frames.recv().await.expect("a message");
            began.elapsed()
        };
        let send = async {
            let draft = Draft::text(CONTENT);
            hubs[0].publish(&quiet, &user("sender"), draft).await.unwrap();
            began.elapsed()
        };
        let (ack, near, far) = tokio::join!(send, sees(&mut here), sees(&mut there));
        acknowledged.push(ack);
        seen_here.push(near);
        seen_there.push(far);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("a quiet room, {MESSAGES} messages one after the other:");
    println!("  acknowledged: {}", told(&mut acknowledged));
    println!("  seen on the same node: {}", told(&mut seen_here));
    println!("  seen on the other, with change streams: {}", told(&mut seen_there));
    drop((here, there));
    stop(hubs).await;

    let hubs = vec![node(&database, false).await, node(&database, false).await];
    let mut waiting = Vec::new();
    for number in 0..20 {
        let room = room(&format!("quiet{number}"));
        let mut peer = member(&hubs[1], &room).await;
        hubs[0]
            .publish(&room, &user("sender"), Draft::text(CONTENT))
            .await
            .unwrap();
        let began = Instant::now();
        waiting.push(tokio::spawn(async move {
            peer.frames.recv().await.expect("a message");
            began.elapsed()
        }));
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let mut times = Vec::new();
    for seen in waiting {
        times.push(seen.await.unwrap());
    }
    println!("  seen on the other, without a bus (20 messages): {}", told(&mut times));
    stop(hubs).await;
}

/// One, two and three nodes write the rooms, with a member of each room on each node.
async fn scale(uri: &str, rooms: &[RoomId], senders: usize, window: usize) {
    let mut reference = None;
    for bus in [false, true] {
        for nodes in 1..=3 {
            let database = Database::on(uri.to_owned());
            let mut hubs = Vec::new();
            let mut readers = Vec::new();
            for _ in 0..nodes {
                let hub = node(&database, bus).await;
                for room in rooms {
                    let mut peer = member(&hub, room).await;
                    readers.push(tokio::spawn(async move { while peer.frames.recv().await.is_some() {} }));
                }
                hubs.push(hub);
            }
            let counts = write(&hubs, rooms, senders, window).await;
            stop(hubs).await;
            for reader in readers {
                reader.await.unwrap();
            }
            let sum: f64 = counts.iter().sum();
            let shares: Vec<_> = counts
                .iter()
                .map(|count| format!("{:.0} %", 100.0 * count / sum))
                .collect();
            println!(
                "  {} {nodes} nodes: {sum:.0}/s, {:.2} x; shares {}",
                if bus { "with the bus,   " } else { "without a bus, " },
                sum / *reference.get_or_insert(sum),
                shares.join(", ")
            );
        }
    }
}

/// How many messages a second each hub stores.
async fn write(hubs: &[Hub], rooms: &[RoomId], senders: usize, window: usize) -> Vec<f64> {
    let began = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut counts = Vec::new();
    let mut tasks = Vec::new();
    for hub in hubs {
        let count = Arc::new(AtomicU64::new(0));
        for number in 0..senders {
            let (room, user) = (
                hub.room(rooms[number % rooms.len()].clone()),
                user(&format!("user{number}")),
            );
            let (stop, count) = (stop.clone(), count.clone());
            tasks.push(tokio::spawn(async move {
                let mut under_way = FuturesUnordered::new();
                while !stop.load(Ordering::Relaxed) {
                    while under_way.len() < window {
                        under_way.push(room.publish(&user, Draft::text(CONTENT)));
                    }
                    under_way.next().await.expect("one is under way").expect("it is stored");
                    count.fetch_add(1, Ordering::Relaxed);
                }
                while let Some(receipt) = under_way.next().await {
                    receipt.expect("it is stored");
                }
            }));
        }
        counts.push(count);
    }
    tokio::time::sleep(MEASURED).await;
    stop.store(true, Ordering::Relaxed);
    let took = began.elapsed().as_secs_f64();
    let rates = counts.iter().map(|count| count.load(Ordering::Relaxed) as f64 / took);
    let rates = rates.collect();
    for task in tasks {
        task.await.unwrap();
    }
    rates
}

/// What one thread has done for a hub, with its store, its bus and its driver.
struct Thread {
    runtime: tokio::runtime::Runtime,
}

impl Thread {
    fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        Self {
            runtime: runtime.unwrap(),
        }
    }

    async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(future).await.unwrap()
    }

    /// How much it has computed.
    async fn time(&self) -> Duration {
        self.run(async {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(
                time.tv_sec.unsigned_abs(),
                u32::try_from(time.tv_nsec).unwrap_or_default(),
            )
        })
        .await
    }
}

async fn cpu(uri: &str) {
    let database = Arc::new(Database::on(uri.to_owned()));
    let rooms = [room("busy")];
    println!("what a thread computes that has a hub with store, driver and bus, in one busy room:");
    // A node with a member elsewhere, and the same without anybody who writes.
    let listener = Thread::new();
    let shared = database.clone();
    let (hub, _peer) = listener
        .run(async move {
            let hub = node(&shared, true).await;
            let peer = member(&hub, &room("elsewhere")).await;
            (hub, peer)
        })
        .await;
    let began = listener.time().await;
    tokio::time::sleep(MEASURED).await;
    let idle = listener.time().await - began;
    for (senders, window) in [(64, 1), (16, 64)] {
        let writer = node(&database, false).await;
        let began = listener.time().await;
        let rate: f64 = write(std::slice::from_ref(&writer), &rooms, senders, window)
            .await
            .iter()
            .sum();
        let entries = rate * MEASURED.as_secs_f64();
        let took = (listener.time().await - began).saturating_sub(idle).as_secs_f64();
        println!(
            "  an entry of a room without members here, at {rate:.0}/s: {:.2} µs",
            1e6 * took / entries
        );
        stop(vec![writer]).await;
    }
    stop(vec![hub]).await;
    for (senders, window) in [(64, 1), (16, 64)] {
        for bus in [false, true] {
            let thread = Thread::new();
            let shared = database.clone();
            let (hub, mut peer) = thread
                .run(async move {
                    let hub = node(&shared, bus).await;
                    let peer = member(&hub, &room("busy")).await;
                    (hub, peer)
                })
                .await;
            let reader = tokio::spawn(async move { while peer.frames.recv().await.is_some() {} });
            let began = thread.time().await;
            let (written, rooms) = (hub.clone(), rooms.clone());
            let rate: f64 = thread
                .run(async move { write(&[written], &rooms, senders, window).await })
                .await
                .iter()
                .sum();
            let took = (thread.time().await - began).as_secs_f64();
            println!(
                "  a message of its own, {} the bus, at {rate:.0}/s: {:.2} µs",
                if bus { "with" } else { "without" },
                1e6 * took / (rate * MEASURED.as_secs_f64())
            );
            stop(vec![hub]).await;
            reader.await.unwrap();
            thread.runtime.shutdown_background();
        }
    }
    listener.runtime.shutdown_background();
}
