//! Several nodes that write one room with all their might, on a store that takes its time.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::trouble::Troubled;
use common::{OPEN, Peer, room, unlimited, user, v1};
use roomcast_core::{Draft, Hub, LocalBus, MemoryStore, OpenPolicy};
use tokio::time::{Instant, sleep};

/// How long an append and a reading take.
const APPEND: u64 = 5;
const READ: u64 = 3;

const SENDERS: usize = 50;
const RUN: Duration = Duration::from_secs(3);

/// How many messages each node has had acknowledged, and the longest wait for an acknowledgement.
async fn shares(nodes: usize, with_members: bool) -> (Vec<usize>, Duration) {
    let store = Troubled::new(MemoryStore::new());
    store.append_ms.store(APPEND, SeqCst);
    store.read_ms.store(READ, SeqCst);
    let bus = LocalBus::new();
    let hubs: Vec<Hub> = (0..nodes)
        .map(|_| {
            let hub = Hub::builder(store.clone(), OpenPolicy)
                .limits(unlimited())
                .bus(bus.end());
            hub.build().unwrap()
        })
        .collect();
    let mut members = Vec::new();
    for hub in hubs.iter().filter(|_| with_members) {
        let mut member = Peer::connect_with(hub, v1("ann", "r"), OPEN, false);
        member.frame_of("hello").await;
        members.push(member);
    }
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let counts: Vec<_> = (0..nodes).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut senders = Vec::new();
    for (hub, count) in hubs.iter().zip(&counts) {
        for n in 0..SENDERS {
            let (hub, count) = (hub.clone(), count.clone());
            senders.push(tokio::spawn(async move {
                let (room, user) = (room("r"), user(&format!("u{n}")));
                let mut longest = Duration::ZERO;
                while began.elapsed() < RUN {
                    let asked = Instant::now();
                    let said = hub.publish(&room, &user, Draft::text("x"));
                    said.await.expect("nobody is refused");
                    longest = longest.max(asked.elapsed());
                    count.fetch_add(1, SeqCst);
                }
                longest
            }));
        }
    }
    let mut longest = Duration::ZERO;
    for sender in senders {
        longest = longest.max(sender.await.unwrap());
    }
    (counts.iter().map(|count| count.load(SeqCst)).collect(), longest)
}

/// Each gets at least half of its fair share, and nobody waits for long. What one node alone would reach isn't lost either: what
/// waits meanwhile is stored together.
async fn take_turns(nodes: usize, with_members: bool) {
    let (alone, _) = shares(1, with_members).await;
    let (shares, longest) = shares(nodes, with_members).await;
    let sum: usize = shares.iter().sum();
    println!("{nodes} nodes: {shares:?} in all {sum}, alone {alone:?}, the longest wait {longest:?}");
    for share in &shares {
        assert!(share * nodes * 2 >= sum, "{shares:?}");
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(sum * 2 >= alone[0], "{shares:?}, alone {alone:?}");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_with_members() {
    take_turns(2, true).await;
}

#[tokio::test(start_paused = true)]
async fn three_nodes_with_members() {
    take_turns(3, true).await;
}

#[tokio::test(start_paused = true)]
async fn three_nodes_without_members() {
    take_turns(3, false).await;
}
