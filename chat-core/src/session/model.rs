//! A connection of `chat.v1.json` in arbitrary sequences of requests, held to the rules of `docs/PROTOCOL.md`. All of it is the real
//! code, between a client that does as the sequence says and a store whose answers come when and in the order that it says.

mod client;
mod rate;
mod rules;
mod store;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use self::client::Line;
use self::rules::Rules;
use self::store::Gate;
use crate::properties::config;
use crate::{Client, Draft, Hub, Limits, OpenPolicy, QueueLimit, RoomId, User};

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    Ask(Ask),
    /// Somebody else speaks in a room.
    Other(Room),
    /// From now on the store's answers are held back, or not.
    Hold(bool),
    /// One of them comes.
    Release(Index),
    /// The client takes nothing more, or all.
    Stall(bool),
    Wait(u64),
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// The client is still there when all is done.
    Stays,
    HangsUp,
    IsKicked,
    /// The hub stops.
    Drains,
}

/// Which of three rooms.
type Room = u8;

/// What the client asks for. A room may be left out.
#[derive(Debug, Clone)]
enum Ask {
    Join(Room, Begin),
    Leave(Option<Room>),
    /// What is said, and perhaps under which nonce.
    Send(Option<Room>, u8, Option<u8>),
    /// Of one of the messages that were acknowledged, or of none.
    Edit(Option<Room>, Index),
    Delete(Option<Room>, Index),
    History(Option<Room>, u64, usize),
    Ping,
    /// What no server knows yet.
    Unknown,
    Garbage,
}

#[derive(Debug, Clone, Copy)]
enum Begin {
    Now,
    Last(u64),
    Since(u64),
    /// With a cursor of another log.
    Foreign,
}

fn ask() -> impl Strategy<Value = Ask> {
    let room = || proptest::option::weighted(0.8, 0..3_u8);
    let begin = prop_oneof![
        Just(Begin::Now),
        (0..4_u64).prop_map(Begin::Last),
        (0..12_u64).prop_map(Begin::Since),
        Just(Begin::Foreign),
    ];
    prop_oneof![
        6 => (0..3_u8, begin).prop_map(|(room, begin)| Ask::Join(room, begin)),
        3 => room().prop_map(Ask::Leave),
        6 => (room(), 0..2_u8, proptest::option::of(0..2_u8)).prop_map(|(room, says, nonce)| Ask::Send(room, says, nonce)),
        2 => (room(), any::<Index>()).prop_map(|(room, message)| Ask::Edit(room, message)),
        2 => (room(), any::<Index>()).prop_map(|(room, message)| Ask::Delete(room, message)),
        2 => (room(), 1..9_u64, 1..4_usize).prop_map(|(room, before, limit)| Ask::History(room, before, limit)),
        1 => Just(Ask::Ping),
        1 => Just(Ask::Unknown),
        1 => Just(Ask::Garbage),
    ]
}

fn sequences() -> impl Strategy<Value = (Vec<Event>, Ending)> {
    let event = prop_oneof![
        12 => ask().prop_map(Event::Ask),
        5 => (0..3_u8).prop_map(Event::Other),
        2 => any::<bool>().prop_map(Event::Hold),
        4 => any::<Index>().prop_map(Event::Release),
        2 => any::<bool>().prop_map(Event::Stall),
        1 => (1..12_000_u64).prop_map(Event::Wait),
    ];
    let ending = prop_oneof![
        4 => Just(Ending::Stays),
        1 => Just(Ending::HangsUp),
        1 => Just(Ending::IsKicked),
        2 => Just(Ending::Drains),
    ];
    (proptest::collection::vec(event, 1..60), ending)
}

/// Small, so that each is met; but nobody is sent away for being slow, whose times are not looked at here.
fn limits() -> Limits {
    let mut limits = Limits::default();
    let hour = Duration::from_secs(3600);
    (limits.rate, limits.in_flight, limits.rooms_per_connection) = (None, 2, 2);
    (limits.write, limits.ping, limits.catch_up) = (hour, hour, hour);
    limits.send_queue = QueueLimit {
        messages: 3,
        bytes: 1 << 20,
    };
    limits.tail = QueueLimit {
        messages: 4,
        bytes: 1 << 20,
    };
    limits
}

fn room(room: Room) -> RoomId {
    RoomId::new(["a", "b", "c"][usize::from(room)]).unwrap()
}

/// Lets all that can be done now be done. Time stands still meanwhile.
async fn settle() {
    for _ in 0..60 {
        tokio::task::yield_now().await;
    }
}

/// Runs it in a time that passes only when nothing is left to do.
fn paused(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run);
}

fn the_rules_are_kept((events, ending): (Vec<Event>, Ending)) {
    paused(run(events, ending));
}

async fn run(events: Vec<Event>, ending: Ending) {
    let gate = Arc::new(Gate::default());
    let hub = Hub::builder(gate.clone(), OpenPolicy)
        .limits(limits())
        .seed(0)
        .build()
        .unwrap();
    let line = Line::default();
    let served = tokio::spawn({
        let (hub, line) = (hub.clone(), line.clone());
        async move { hub.serve(Client::v1(User::named("ann").unwrap()), line).await }
    });
    let mut rules = Rules::default();
    for event in events {
        match event {
            Event::Ask(ask) => line.say(rules.ask(ask, &line.heard())),
            Event::Other(at) => {
                let hub = hub.clone();
                // It may be told that its message isn't known to be stored.
                tokio::spawn(async move {
                    hub.publish(&room(at), &User::named("bob").unwrap(), Draft::text("hi"))
                        .await
                });
            }
            Event::Hold(hold) => gate.hold(hold),
            Event::Release(index) => gate.release(index),
            Event::Stall(stall) => line.stall(stall),
            Event::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        settle().await;
    }
    let mut stopped = None;
    match ending {
        Ending::Stays => {}
        Ending::HangsUp => line.hang_up(),
        Ending::IsKicked => {
            hub.kick(User::named("ann").unwrap().id());
        }
        Ending::Drains => {
            let hub = hub.clone();
            stopped = Some(tokio::spawn(async move { hub.shutdown(Duration::from_secs(30)).await }));
            settle().await;
        }
    }
    gate.open();
    line.stall(false);
    // Whatever was under way is settled within its time, and what it left in doubt is found.
    tokio::time::sleep(Duration::from_secs(60)).await;
    if ending == Ending::Stays {
        for at in 0..3 {
            hub.publish(&room(at), &User::named("bob").unwrap(), Draft::text("hi"))
                .await
                .unwrap();
        }
        line.say(json!({"t": "ping", "id": "last"}).to_string());
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let logs = gate.logs().await;
    rules.check(&line.heard(), line.close_code(), ending, &logs);
    if let Some(stopped) = stopped {
        let report = stopped.await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
    line.hang_up();
    served.await.unwrap().unwrap();
}

proptest! {
    #![proptest_config(config(400, "proptest-regressions/session.txt"))]

    #[test]
    fn whatever_a_client_asks_the_rules_are_kept(sequence in sequences()) {
        the_rules_are_kept(sequence);
    }
}

#[cfg(feature = "bugs")]
#[test]
fn known_bugs_are_found() {
    use crate::bugs::Bug;
    for bug in [
        Bug::LiveBeforeReplay,
        Bug::LateAnswer,
        Bug::OverflowDrops,
        Bug::RepairOutOfOrder,
        Bug::AckBeforeCommit,
        Bug::DrainForgets,
    ] {
        crate::properties::finds(bug, sequences(), the_rules_are_kept);
    }
}
