//! A real server that is killed, stands still, isn't there, or won't let anybody in.

mod common;

use std::time::Duration;

use chat_driver::supervised::free_port;
use common::nodes::{Listener, complaint, healthy, hub_on, hub_that_compares, say};
use common::server::Server;
use roomcast_core::{Hub, MemoryStore, User};
use roomcast_nats::NatsBus;
use roomcast_testkit::bus::SharedStore;
use tokio::time::{Instant, sleep};

fn store() -> SharedStore {
    SharedStore::new(MemoryStore::new())
}

async fn stop(hub: Hub) {
    let report = hub.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}

/// Two hubs that talk all the time, each with a member.
struct Talk {
    hubs: [Hub; 2],
    members: [Listener; 2],
    said: usize,
}

impl Talk {
    async fn begin(server: &Server) -> Self {
        let store = store();
        let bus = async || NatsBus::connect(server.url()).await.unwrap();
        let hubs = [hub_on(&store, bus().await), hub_on(&store, bus().await)];
        let members = [
            Listener::join(&hubs[0], "ann", "r").await,
            Listener::join(&hubs[1], "bob", "r").await,
        ];
        let mut talk = Self { hubs, members, said: 0 };
        talk.say_for(Duration::from_millis(300)).await;
        talk.all_see(Duration::from_secs(5)).await;
        talk
    }

    /// Says something every 10 ms, on one node and the other, and gives the longest time that it took.
    async fn say_for(&mut self, span: Duration) -> Duration {
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        while began.elapsed() < span {
            let asked = Instant::now();
            say(&self.hubs[self.said % 2], "r", &self.said.to_string()).await;
            longest = longest.max(asked.elapsed());
            self.said += 1;
            sleep(Duration::from_millis(10)).await;
        }
        longest
    }

    /// Both members see everything that was said, in order, and says how long that took.
    async fn all_see(&mut self, limit: Duration) -> Duration {
        let began = Instant::now();
        for member in &mut self.members {
            for said in 0..self.said {
                member
                    .sees_within(&said.to_string(), limit.saturating_sub(began.elapsed()))
                    .await;
            }
        }
        self.said = 0;
        began.elapsed()
    }

    async fn end(self) {
        drop(self.members);
        for hub in self.hubs {
            stop(hub).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again_is_found_again() {
    let mut server = Server::start();
    let mut talk = Talk::begin(&server).await;
    for away in [0, 100, 3000] {
        server.kill9();
        let longest = talk.say_for(Duration::from_millis(away)).await;
        assert!(
            longest < Duration::from_secs(1),
            "speaking took {longest:?} without the bus"
        );
        server.restart();
        let began = Instant::now();
        talk.say_for(Duration::from_millis(50)).await;
        talk.all_see(Duration::from_secs(15)).await;
        println!(
            "{away} ms away: everything was seen {:?} after the start",
            began.elapsed()
        );
        for hub in &talk.hubs {
            healthy(hub).await;
        }
        println!(
            "{away} ms away: both were healthy {:?} after the start",
            began.elapsed()
        );
    }
    // It is the bus again by which they hear each other.
    talk.say_for(Duration::from_millis(300)).await;
    talk.all_see(Duration::from_secs(1)).await;
    talk.end().await;
}

/// A kick that was told when the connection was gone, or just before, isn't lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_survives_the_server() {
    let mut server = Server::start();
    let mut talk = Talk::begin(&server).await;
    let mut cid = Listener::join(&talk.hubs[0], "cid", "other").await;
    server.pause();
    // Into the socket, where it is lost with the server.
    talk.hubs[1].kick(User::named("cid").unwrap().id());
    sleep(Duration::from_millis(100)).await;
    server.kill9();
    let mut dan = Listener::join(&talk.hubs[0], "dan", "other").await;
    talk.hubs[1].kick(User::named("dan").unwrap().id());
    server.restart();
    for member in [&mut cid, &mut dan] {
        let frame = loop {
            let (_, frame) = member.frame_within(Duration::from_secs(15)).await;
            if !frame.contains(r#""t":"bye""#) {
                break frame;
            }
        };
        assert_eq!(frame, "4503");
    }
    talk.all_see(Duration::from_secs(1)).await;
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_keeps_nobody_from_speaking() {
    let server = Server::start();
    let mut talk = Talk::begin(&server).await;
    // A short while, in which the connection holds, and one that is too long for it.
    for still in [1, 9] {
        server.pause();
        let longest = talk.say_for(Duration::from_secs(1)).await;
        assert!(
            longest < Duration::from_secs(1),
            "speaking took {longest:?} without the bus"
        );
        // A member who joins now doesn't wait for the bus either.
        let asked = Instant::now();
        let newcomer = Listener::join(&talk.hubs[0], "cid", "new").await;
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert!(complaint(&talk.hubs[0]).await.is_some());
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "health took {:?}",
            asked.elapsed()
        );
        sleep(Duration::from_secs(still - 1)).await;
        server.resume();
        let began = Instant::now();
        talk.all_see(Duration::from_secs(15)).await;
        println!("still for {still} s: everything was seen {:?} after", began.elapsed());
        let mut newcomer = newcomer;
        say(&talk.hubs[1], "new", "hi").await;
        newcomer.sees("hi").await;
    }
    talk.end().await;
}

/// A hub that is up before NATS is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_begins_without_the_server() {
    let mut server = Server::start();
    server.kill9();
    let store = store();
    let bus = async || NatsBus::connect(server.url()).await.unwrap();
    let (one, two) = (hub_on(&store, bus().await), hub_on(&store, bus().await));
    let mut ann = Listener::join(&one, "ann", "r").await;
    say(&one, "r", "1").await;
    ann.sees("1").await;
    let complained = complaint(&one).await.expect("there is no server");
    assert!(complained.contains("refused"), "{complained}");
    // Heads are compared a moment after somebody has joined.
    sleep(Duration::from_millis(300)).await;
    say(&two, "r", "2").await;
    ann.hears_nothing_for(Duration::from_millis(200)).await;
    server.restart();
    let began = Instant::now();
    ann.sees("2").await;
    println!("after {:?} the members saw what was said before", began.elapsed());
    for hub in [&one, &two] {
        healthy(hub).await;
    }
    say(&two, "r", "3").await;
    ann.sees("3").await;
    drop(ann);
    stop(one).await;
    stop(two).await;
}

/// With the bus out of order, comparing heads does what it did before there was one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_server_heads_are_compared() {
    let store = store();
    let url = format!("nats://127.0.0.1:{}", free_port());
    let bus = NatsBus::connect(&url).await.unwrap();
    let one = hub_that_compares(&store, bus, Duration::from_millis(500));
    let two = hub_on(&store, NatsBus::connect(&url).await.unwrap());
    let mut ann = Listener::join(&one, "ann", "r").await;
    say(&two, "r", "hi").await;
    ann.sees_within("hi", Duration::from_secs(3)).await;
    drop(ann);
    let began = Instant::now();
    stop(one).await;
    stop(two).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// The last one is stopped while what it tells can't be sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_stops_though_the_server_stands_still() {
    let server = Server::start();
    let mut talk = Talk::begin(&server).await;
    server.pause();
    talk.say_for(Duration::from_millis(200)).await;
    let began = Instant::now();
    let [one, two] = talk.hubs;
    tokio::join!(stop(one), stop(two));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.resume();
}

/// More than the connection takes: it is dropped within bounds, and members see it nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_the_server_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("small.conf");
    std::fs::write(&config, "max_payload: 1024\n").unwrap();
    let server = Server::start_with(&["--config", config.to_str().unwrap()]);
    let talk = Talk::begin(&server).await;
    let [one, two] = &talk.hubs;
    let mut cid = Listener::join(one, "cid", "large").await;
    sleep(Duration::from_millis(300)).await;
    let large = "x".repeat(2000);
    say(two, "large", &large).await;
    cid.hears_nothing_for(Duration::from_millis(300)).await;
    assert_eq!(complaint(two).await, None, "the connection holds");
    // The next notice tells of the one before.
    say(two, "large", "small").await;
    cid.sees(&large).await;
    cid.sees("small").await;
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_do_not_mix() {
    let server = Server::start();
    let (here, there) = (store(), store());
    let bus = async |prefix: &str| NatsBus::builder(server.url()).prefix(prefix).connect().await.unwrap();
    let hubs = [
        hub_on(&here, bus("here").await),
        hub_on(&here, bus("here").await),
        hub_on(&there, bus("there").await),
    ];
    let mut ann = Listener::join(&hubs[0], "ann", "r").await;
    let mut bob = Listener::join(&hubs[2], "ann", "r").await;
    say(&hubs[1], "r", "here").await;
    ann.sees("here").await;
    hubs[1].kick(User::named("ann").unwrap().id());
    let (_, frame) = ann.frame_within(Duration::from_secs(5)).await;
    assert!(frame.contains("kicked") || frame == "4503", "{frame}");
    bob.hears_nothing_for(Duration::from_millis(500)).await;
    assert_eq!(hubs[2].stats().notices, 0);
    drop((ann, bob));
    for hub in hubs {
        stop(hub).await;
    }
}

/// Who looks at what goes on, as `nats sub '>'` does, keeps requests without listeners from being answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_listens_to_everything_disturbs_nothing() {
    let server = Server::start();
    let stranger = async_nats::connect(server.url()).await.unwrap();
    let mut everything = stranger.subscribe(">").await.unwrap();
    stranger.flush().await.unwrap();
    let mut talk = Talk::begin(&server).await;
    for hub in &talk.hubs {
        assert_eq!(complaint(hub).await, None);
    }
    talk.say_for(Duration::from_secs(3)).await;
    talk.all_see(Duration::from_secs(1)).await;
    talk.end().await;
    everything.unsubscribe().await.unwrap();
    let mut subjects = Vec::new();
    while let Some(message) = futures_util::StreamExt::next(&mut everything).await {
        subjects.push(message.subject.to_string());
    }
    assert!(subjects.iter().any(|subject| subject == "roomcast.room.r"));
    assert!(
        subjects.iter().all(|subject| subject.starts_with("roomcast.")),
        "{subjects:?}"
    );
}

/// Two servers of one cluster, each with a hub. The one whose server dies goes to the other, of which nobody told it but the
/// server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_on_different_servers_of_a_cluster_hear_each_other() {
    let routes = [free_port(), free_port()].map(|port| format!("nats://127.0.0.1:{port}"));
    let cluster = ["--cluster_name", "test", "--cluster"];
    let mut first = Server::start_with(&[&cluster[..], &[&*routes[0]]].concat());
    let second = Server::start_with(&[&cluster[..], &[&*routes[1], "--routes", &*routes[0]]].concat());
    let began = Instant::now();
    while !first.said().contains("Route connection created") {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", first.said());
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let store = store();
    let bus = async |server: &Server| NatsBus::connect(server.url()).await.unwrap();
    let hubs = [hub_on(&store, bus(&first).await), hub_on(&store, bus(&second).await)];
    // Rooms are new, so that what is said at once is told while the servers tell each other who listens.
    for n in 0..20 {
        let room = format!("r{n}");
        let mut ann = Listener::join(&hubs[0], "ann", &room).await;
        sleep(Duration::from_millis(3 * n)).await;
        say(&hubs[1], &room, "hi").await;
        ann.sees("hi").await;
    }
    let members = [
        Listener::join(&hubs[0], "ann", "r").await,
        Listener::join(&hubs[1], "bob", "r").await,
    ];
    let mut talk = Talk { hubs, members, said: 0 };
    talk.say_for(Duration::from_millis(300)).await;
    talk.all_see(Duration::from_secs(5)).await;
    first.kill9();
    let began = Instant::now();
    talk.say_for(Duration::from_millis(500)).await;
    talk.all_see(Duration::from_secs(15)).await;
    for hub in &talk.hubs {
        healthy(hub).await;
    }
    println!(
        "everything was seen and both were healthy {:?} after the server's death",
        began.elapsed()
    );
    talk.end().await;
}
