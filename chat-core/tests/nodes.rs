//! Several hubs on one store, with nothing that tells one of what the other wrote.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{OPEN, Peer, hub_of, room, since, unlimited, user, v1, within};
use roomcast_core::{Draft, Hub, MemoryStore, Receipt, Start};
use tokio::time::sleep;

fn two_hubs() -> [Hub; 2] {
    let store = Arc::new(MemoryStore::new());
    [0, 1].map(|_| hub_of(store.clone(), unlimited()))
}

async fn say(hub: &Hub, text: &str) -> Receipt {
    hub.publish(&room("r"), &user("bot"), Draft::text(text)).await.unwrap()
}

/// Bob saw two of three messages on node two, and comes back to node one, which has heard of none.
#[tokio::test(start_paused = true)]
async fn a_cursor_of_one_node_resumes_on_another() {
    let [one, two] = two_hubs();
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    for _ in 0..3 {
        say(&two, "x").await;
    }
    let epoch = two.room(room("r")).head().await.unwrap().unwrap().epoch;
    let mut bob = Peer::connect(&one, v1("bob", "r").start(since(epoch.as_str(), 2)));
    let hello = bob.frame().await;
    assert_eq!(hello["rooms"][0]["resume"], "ok", "{hello}");
    assert_eq!(bob.frame().await["seq"], 3);
    assert_eq!(
        ann.frame().await["seq"],
        1,
        "what bob's return has brought in is for all"
    );
}

/// Node one has compared heads just now, and doesn't know of two messages more. Who asks it for the last one is told of the head
/// that it knows, and then sees the last message up to there and all that come after; the newest of the store's was the first.
#[tokio::test(start_paused = true)]
async fn the_last_messages_are_those_up_to_the_head_that_is_told() {
    let [one, two] = two_hubs();
    say(&one, "1").await;
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    say(&two, "2").await;
    say(&two, "3").await;
    let mut bob = Peer::connect_with(&one, v1("bob", "r").start(Start::Last(2)), OPEN, false);
    assert_eq!(bob.frame_of("hello").await["rooms"][0]["head"], 1);
    for seq in 1..=3 {
        let frame = within(60, "all of them", bob.frame()).await;
        assert_eq!(frame["seq"], seq);
    }
}

/// Node one has the message in memory when node two deletes it.
#[tokio::test(start_paused = true)]
async fn what_another_node_deleted_is_not_replayed() {
    let [one, two] = two_hubs();
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    sleep(Duration::from_millis(10)).await;
    let secret = say(&one, "secret").await;
    two.room(room("r"))
        .as_user(user("bot"))
        .delete(secret.id)
        .await
        .unwrap();
    sleep(Duration::from_secs(2)).await;
    let mut bob = Peer::connect(&one, v1("bob", "r").start(Start::Last(10)));
    bob.frame_of("hello").await;
    let tombstone = bob.frame().await;
    assert_eq!(
        (&tombstone["deleted"], tombstone.get("content")),
        (&true.into(), None),
        "{tombstone}"
    );
}

/// A member that only listens hears what another node stored, at the latest when heads are compared.
#[tokio::test(start_paused = true)]
async fn heads_are_compared_now_and_then() {
    let [one, two] = two_hubs();
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    say(&two, "x").await;
    let frame = within(61, "what another node stored", ann.frame()).await;
    assert_eq!(frame["content"], "x");
}

/// Two nodes write one room as fast as they can: each entry is there once, members of both see the same.
#[tokio::test(start_paused = true)]
async fn two_nodes_write_one_room() {
    let hubs = two_hubs();
    let mut members: Vec<_> = hubs
        .iter()
        .map(|hub| Peer::connect_with(hub, v1("ann", "r"), OPEN, false))
        .collect();
    for member in &mut members {
        member.frame_of("hello").await;
    }
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let hub = hubs[n % 2].clone();
            tokio::spawn(async move {
                let mut told = Vec::new();
                for _ in 0..50 {
                    told.push(say(&hub, &format!("from {n}")).await.seq);
                }
                told
            })
        })
        .collect();
    let mut told = Vec::new();
    for sender in senders {
        told.extend(sender.await.unwrap());
    }
    told.sort_unstable();
    assert!(
        told.iter().copied().eq(1..=400),
        "each is acknowledged once, without holes"
    );
    let mut seen = Vec::new();
    for member in &mut members {
        let mut frames = Vec::new();
        for seq in 1..=400 {
            let frame = within(61, "every entry", member.frame()).await;
            assert_eq!(frame["seq"], seq);
            frames.push(frame);
        }
        seen.push(frames);
    }
    assert_eq!(seen[0], seen[1]);
}
