//! Clients that take what they are sent slowly, or much of it.

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::trouble::Troubled;
use common::{OPEN, Peer, Seen, hub_of, room, unlimited, user, v1};
use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    Limits, MemoryStore, OpenPolicy, Start,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

fn hub(set: impl FnOnce(&mut Limits)) -> Hub {
    let mut limits = Limits::default();
    limits.rate = None;
    set(&mut limits);
    Hub::builder(MemoryStore::new(), OpenPolicy)
        .limits(limits)
        .build()
        .unwrap()
}

async fn say(hub: &Hub, room_id: &str, text: impl Into<String>) {
    hub.publish(&room(room_id), &user("bot"), Draft::text(text))
        .await
        .unwrap();
}

async fn from_the_beginning(hub: &Hub, room_id: &str) -> String {
    let epoch = hub.room(room(room_id)).head().await.unwrap().unwrap().epoch;
    format!("{epoch}:0")
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// A silent client takes a replay at 15 KB a second, so a page takes longer than a pong may. The ping that it is sent for its
/// silence waits behind what is being written: it must not be expected to answer before it was asked.
#[tokio::test(start_paused = true)]
async fn a_slow_client_that_answers_every_ping_stays() {
    let hub = hub(|_| {});
    for _ in 0..100 {
        say(&hub, "r", "x".repeat(60_000)).await;
    }
    let start = Start::Since(from_the_beginning(&hub, "r").await.parse().unwrap());
    let mut ann = Peer::connect_with(&hub, v1("ann", "r").start(start), 1, true);
    ann.frame_of("hello").await;
    let window = ann.window.clone();
    let trickle = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(4)).await;
            window.add_permits(1);
        }
    });
    let (mut messages, mut pings) = (0, 0);
    while messages < 100 {
        match ann.next().await {
            Seen::Ping => {
                pings += 1;
                ann.send_raw(Inbound::Pong);
            }
            Seen::Frame(frame) if frame["t"] == "bye" => panic!("after {messages} messages: {frame}"),
            Seen::Frame(_) => messages += 1,
            Seen::Close(code, reason) => panic!("after {messages} messages: {code} {reason}"),
        }
    }
    assert!(pings > 10, "{pings}");
    trickle.abort();
}

/// A thousand messages are one commit: four times what a member may have waiting. Who takes what it is sent keeps up with the
/// live stream all the same; the memory for newest entries is so small here that whoever lagged would have to read the store.
#[tokio::test(start_paused = true)]
async fn a_commit_larger_than_a_send_queue_makes_nobody_lag_who_reads() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 1;
    let hub = hub_of(store.clone(), limits);
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    let says: Vec<_> = (0..1000)
        .map(|n| {
            let hub = hub.clone();
            tokio::spawn(async move { say(&hub, "r", format!("message {n}")).await })
        })
        .collect();
    for seq in 1..=1000 {
        assert_eq!(ann.frame().await["seq"], seq);
    }
    for say in says {
        say.await.unwrap();
    }
    assert_eq!(store.appends.load(SeqCst), 1);
    assert_eq!(store.entries_read.load(SeqCst), 0, "nobody had to catch up");
}

/// A client that replays a long log at full speed sends a ping. Everything that the writer needs is ready at once, so nothing
/// ever makes it wait: it has to let the reader have its turn by itself.
#[tokio::test(start_paused = true)]
async fn a_replay_at_full_speed_does_not_starve_the_reader() {
    let hub = hub(|_| {});
    for _ in 0..8000 {
        say(&hub, "r", "x").await;
    }
    let start = Start::Since(from_the_beginning(&hub, "r").await.parse().unwrap());
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(start));
    for _ in 0..100 {
        ann.frame().await;
    }
    ann.send(json!({"t":"ping","id":1}));
    let mut before = 0;
    while ann.frame().await["t"] != "pong" {
        before += 1;
    }
    assert!(before < 1000, "{before} frames came before the pong");
}

/// A client replays ten rooms, takes a frame a second, and asks for something. The answer waits for the piece that is being
/// written, not for a page of each room.
#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_a_page_of_each_room() {
    let hub = hub(|_| {});
    let rooms: Vec<_> = (0..10).map(|n| format!("r{n}")).collect();
    for room_id in &rooms {
        for _ in 0..20 {
            say(&hub, room_id, "x".repeat(30_000)).await;
        }
    }
    let mut ann = Peer::connect_with(&hub, Client::v1(user("ann")), 11, false);
    assert_eq!(ann.frame().await["t"], "hello");
    for room_id in &rooms {
        let since = from_the_beginning(&hub, room_id).await;
        ann.send(json!({"t":"join","room_id":room_id,"since":since}));
    }
    settle().await;
    let window = ann.window.clone();
    let trickle = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            window.add_permits(1);
        }
    });
    let mut seen = vec![0; 10];
    let mut asked = None;
    let mut total = 0;
    while total < 200 || asked.is_some() {
        let frame = ann.frame().await;
        match (frame["t"].as_str(), asked) {
            (Some("pong"), Some(at)) => {
                assert!(total - at <= 6, "{} frames came before the answer", total - at);
                asked = None;
            }
            (None, _) => {
                let n: usize = frame["room_id"].as_str().unwrap()[1..].parse().unwrap();
                seen[n] += 1;
                assert_eq!(frame["seq"], seen[n]);
                total += 1;
                if total % 25 == 0 {
                    ann.send(json!({"t":"ping"}));
                    asked = Some(total);
                }
            }
            _ => {}
        }
    }
    assert_eq!(asked, None);
    assert_eq!(seen, [20; 10]);
    trickle.abort();
}

/// A room is left, and joined anew, in the middle of one of its pages. What is left of the page must not come after `left`.
#[tokio::test(start_paused = true)]
async fn a_page_ends_with_the_membership() {
    let hub = hub(|limits| limits.write = Duration::from_secs(60));
    for _ in 0..20 {
        say(&hub, "r", "x".repeat(30_000)).await;
    }
    let since = from_the_beginning(&hub, "r").await;
    let start = Start::Since(since.parse().unwrap());
    let mut ann = Peer::connect_with(&hub, v1("ann", "r").start(start), 4, false);
    ann.frame_of("hello").await;
    for seq in 1..=3 {
        assert_eq!(ann.frame().await["seq"], seq);
    }
    ann.send(json!({"t":"leave"}));
    ann.send(json!({"t":"join","room_id":"r","since":since}));
    settle().await;
    ann.window.add_permits(OPEN);
    while ann.frame().await["t"] != "left" {}
    assert_eq!(ann.frame().await["t"], "joined");
    for seq in 1..=20 {
        assert_eq!(ann.frame().await["seq"], seq);
    }
}

/// A kick finds a full queue in the writer's hands, of a client that takes a frame every second: only what is being written
/// comes before the goodbye.
#[tokio::test(start_paused = true)]
async fn what_the_writer_holds_does_not_delay_a_goodbye() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), 1, false);
    ann.frame_of("hello").await;
    settle().await;
    for _ in 0..30 {
        say(&hub, "r", "x".repeat(30_000)).await;
    }
    let window = ann.window.clone();
    let trickle = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            window.add_permits(1);
        }
    });
    for _ in 0..5 {
        ann.frame().await;
    }
    hub.kick(user("ann").id());
    let kicked = Instant::now();
    while ann.frame().await["t"] != "bye" {}
    assert!(kicked.elapsed() <= Duration::from_secs(5), "{:?}", kicked.elapsed());
    trickle.abort();
}

/// A client that takes so many bytes a second.
struct Line {
    bytes_a_second: usize,
    from_client: mpsc::UnboundedReceiver<Inbound>,
    to_client: mpsc::UnboundedSender<serde_json::Value>,
}

struct Requests(mpsc::UnboundedReceiver<Inbound>);
struct Answers(usize, mpsc::UnboundedSender<serde_json::Value>);

impl Connection for Line {
    type Reader = Requests;
    type Writer = Answers;

    fn split(self) -> (Requests, Answers) {
        (Requests(self.from_client), Answers(self.bytes_a_second, self.to_client))
    }
}

impl ConnectionReader for Requests {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        Ok(self.0.recv().await.unwrap_or(Inbound::Closed))
    }
}

impl ConnectionWriter for Answers {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            sleep(Duration::from_secs(frame.len() as u64) / self.0 as u32).await;
            let _ = self.1.send(serde_json::from_slice(frame).unwrap());
        }
        Ok(())
    }
    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }
    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// A history page is one frame of a megabyte: at 50 KB a second it takes 20 s, and a write may take 5.
#[tokio::test(start_paused = true)]
async fn a_large_frame_has_the_time_that_it_needs() {
    let hub = hub(|_| {});
    for _ in 0..16 {
        say(&hub, "r", "x".repeat(60_000)).await;
    }
    let (to_server, from_client) = mpsc::unbounded_channel();
    let (to_client, mut from_server) = mpsc::unbounded_channel();
    let line = Line {
        bytes_a_second: 50_000,
        from_client,
        to_client,
    };
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(v1("ann", "r"), line).await }
    });
    assert_eq!(from_server.recv().await.unwrap()["t"], "hello");
    to_server
        .send(Inbound::Text(json!({"t":"history"}).to_string().into()))
        .unwrap();
    let began = Instant::now();
    let page = from_server.recv().await.expect("the page comes");
    assert_eq!(page["messages"].as_array().unwrap().len(), 16);
    assert!(began.elapsed() > Duration::from_secs(15));
    drop(to_server);
    served.await.unwrap().unwrap();
}
