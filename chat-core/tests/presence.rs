//! Who is in a room: on one node, and on several with a bus between them that may do anything to what it carries.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::by_hand::ByHand;
use common::{OPEN, Peer, hub_of, room, unlimited, user, v1};
use roomcast_core::{Bus, Client, Draft, Hub, Limits, LocalBus, MemoryStore, Notice, OpenPolicy};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything takes that isn't a hub's death.
const SOON: Duration = Duration::from_secs(5);

/// A client that wants to know, and what it knows.
struct Watcher {
    peer: Peer,
    users: BTreeMap<String, String>,
    online: u64,
    more: bool,
}

impl Watcher {
    async fn connect(hub: &Hub, name: &str) -> Self {
        let mut watcher = Self::join(hub, v1(name, "r").presence(true), OPEN).await;
        watcher.whole().await;
        watcher
    }

    async fn join(hub: &Hub, client: Client, window: usize) -> Self {
        let mut peer = Peer::connect_with(hub, client, window, false);
        assert_eq!(peer.frame().await["t"], "hello");
        Self {
            peer,
            users: BTreeMap::new(),
            online: 0,
            more: false,
        }
    }

    /// Takes the next frame, which is of presence, and returns it.
    async fn next(&mut self) -> Value {
        let frame = self.peer.frame().await;
        self.take(&frame);
        frame
    }

    /// Takes the next frame, which holds the whole state.
    async fn whole(&mut self) -> Value {
        let frame = self.next().await;
        assert!(frame.get("users").is_some(), "{frame}");
        frame
    }

    fn take(&mut self, frame: &Value) {
        assert_eq!(
            (&frame["t"], &frame["room_id"]),
            (&"presence".into(), &"r".into()),
            "{frame}"
        );
        let named = |user: &Value| {
            let text = |key: &str| user[key].as_str().unwrap().to_owned();
            (text("id"), text("name"))
        };
        self.online = frame["online"].as_u64().unwrap();
        if let Some(users) = frame.get("users") {
            self.users = users.as_array().unwrap().iter().map(named).collect();
            assert_eq!(self.users.len(), users.as_array().unwrap().len(), "each once: {frame}");
            self.more = frame["more"].as_bool().unwrap();
        } else {
            self.users.extend(frame["came"].as_array().unwrap().iter().map(named));
            for id in frame["left"].as_array().unwrap() {
                assert!(self.users.remove(id.as_str().unwrap()).is_some(), "left twice: {frame}");
            }
        }
        assert!(self.online >= self.users.len() as u64, "{frame}");
        assert!(self.more || self.online == self.users.len() as u64, "{frame}");
    }

    /// Takes what comes for so long, and returns how many frames those were.
    async fn listen(&mut self, span: Duration) -> usize {
        let until = Instant::now() + span;
        let mut frames = 0;
        while let Ok(frame) = timeout(until - Instant::now(), self.peer.frame()).await {
            self.take(&frame);
            frames += 1;
        }
        frames
    }

    fn names(&self) -> String {
        self.users.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// A client that doesn't want to know.
async fn member(hub: &Hub, name: &str) -> Peer {
    let mut peer = Peer::connect_with(hub, v1(name, "r"), OPEN, false);
    peer.frame_of("hello").await;
    peer
}

fn hub_on(store: &Arc<MemoryStore>, limits: Limits, bus: impl Bus) -> Hub {
    let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits).seed(7);
    hub.bus(bus).build().unwrap()
}

fn hub() -> Hub {
    hub_of(MemoryStore::new(), unlimited())
}

/// Two hubs on one bus.
fn two() -> [Hub; 2] {
    let (store, bus) = (Arc::new(MemoryStore::new()), LocalBus::new());
    [(); 2].map(|()| hub_on(&store, unlimited(), bus.end()))
}

/// Two hubs, whose notices are carried by hand.
struct ByHands {
    hubs: [Hub; 2],
    buses: [Arc<ByHand>; 2],
}

impl ByHands {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let buses = [(); 2].map(|()| Arc::new(ByHand::default()));
        let hubs = [0, 1].map(|n| hub_on(&store, unlimited(), buses[n].clone()));
        Self { hubs, buses }
    }

    /// Takes what one of them has told.
    fn said(&self, by: usize) -> Vec<Notice> {
        self.buses[by].sent()
    }

    /// Carries everything, for so long; each notice as often as `copies` says.
    async fn carry(&self, span: Duration, mut copies: impl FnMut(usize, &Notice) -> usize) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
            for by in [0, 1] {
                for notice in self.said(by) {
                    for _ in 0..copies(by, &notice) {
                        self.buses[1 - by].deliver(&notice).await;
                    }
                }
            }
        }
    }

    async fn carry_all(&self, span: Duration) {
        self.carry(span, |_, _| 1).await;
    }
}

fn kind(notice: &Notice) -> String {
    let line = notice.bytes().split(|byte| *byte == b'\n').next().unwrap();
    let head: Value = serde_json::from_slice(line).unwrap();
    head["t"].as_str().unwrap().to_owned()
}

fn of_presence(notices: &[Notice]) -> usize {
    notices
        .iter()
        .filter(|notice| kind(notice).starts_with("presence"))
        .count()
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_told_who_is_there_and_who_comes_and_goes() {
    let hub = hub();
    let _carl = member(&hub, "carl").await;
    let mut ann = Watcher::connect(&hub, "ann").await;
    assert_eq!((ann.names(), ann.more), ("ann carl".into(), false));
    let came = Instant::now();
    let bob = member(&hub, "bob").await;
    let frame = ann.next().await;
    assert_eq!(
        frame,
        json!({"t": "presence", "room_id": "r", "online": 3, "came": [{"id": "bob", "name": "bob"}], "left": []})
    );
    assert!(came.elapsed() <= SECOND);
    let left = Instant::now();
    drop(bob);
    let frame = ann.next().await;
    assert_eq!((&frame["left"], &frame["came"]), (&json!(["bob"]), &json!([])));
    assert!(left.elapsed() <= 4 * SECOND, "{:?}", left.elapsed());
    assert!(ann.peer.hears_nothing(60 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_ask_is_told_nothing() {
    let hub = hub();
    let mut carl = member(&hub, "carl").await;
    let mut plain = Peer::connect_with(&hub, Client::plain(user("dora"), room("r")), OPEN, false);
    let _ann = Watcher::connect(&hub, "ann").await;
    let _bob = member(&hub, "bob").await;
    assert!(carl.hears_nothing(SOON).await);
    assert!(plain.hears_nothing(SOON).await);
}

/// A `join` asks as well, is answered before, and ends it by joining anew without.
#[tokio::test(start_paused = true)]
async fn a_join_asks_too() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, Client::v1(user("ann")), OPEN).await;
    ann.peer
        .send(json!({"t": "join", "id": 1, "room_id": "r", "presence": true}));
    assert_eq!(ann.peer.frame().await["t"], "joined");
    ann.whole().await;
    assert_eq!(ann.names(), "ann");
    let _bob = member(&hub, "bob").await;
    ann.next().await;
    assert_eq!(ann.names(), "ann bob");
    ann.peer
        .send(json!({"t": "join", "id": 1, "room_id": "r", "presence": true}));
    assert_eq!(ann.peer.frame().await["t"], "joined");
    ann.whole().await;
    assert_eq!(ann.names(), "ann bob");
    ann.peer.send(json!({"t": "join", "id": 2, "room_id": "r"}));
    assert_eq!(ann.peer.frame().await["t"], "joined");
    let _carl = member(&hub, "carl").await;
    assert!(ann.peer.hears_nothing(SOON).await);
    ann.peer
        .send(json!({"t": "join", "id": 3, "room_id": "r", "presence": true}));
    assert_eq!(ann.peer.frame().await["t"], "joined");
    ann.whole().await;
    assert_eq!(ann.names(), "ann bob carl");
    ann.peer.send(json!({"t": "leave"}));
    assert_eq!(ann.peer.frame().await["t"], "left");
    let _dora = member(&hub, "dora").await;
    assert!(ann.peer.hears_nothing(SOON).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_watches_several_rooms() {
    let hub = hub();
    let mut ann = Peer::connect_with(&hub, Client::v1(user("ann")), OPEN, false);
    ann.frame_of("hello").await;
    for name in ["one", "two"] {
        ann.send(json!({"t": "join", "room_id": name, "presence": true}));
        let frame = ann.frame_of("presence").await;
        assert_eq!((&frame["room_id"], &frame["online"]), (&name.into(), &1.into()));
    }
    for name in ["two", "one"] {
        let _bob = Peer::connect(&hub, v1("bob", name));
        let frame = ann.frame_of("presence").await;
        assert_eq!((&frame["room_id"], &frame["online"]), (&name.into(), &2.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_with_two_connections_is_there_once() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let mut second = Watcher::connect(&hub, "ann").await;
    assert_eq!(second.names(), "ann");
    let bob = [member(&hub, "bob").await, member(&hub, "bob").await];
    assert_eq!(ann.listen(SOON).await, 1);
    assert_eq!(ann.names(), "ann bob");
    let [one, two] = bob;
    drop(one);
    assert_eq!(ann.listen(SOON).await, 0);
    drop(two);
    assert_eq!((ann.listen(SOON).await, second.listen(SOON).await), (1, 2));
    assert_eq!((ann.names(), second.names()), ("ann".into(), "ann".into()));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_soon_has_neither_left_nor_come() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let mut bob = member(&hub, "bob").await;
    ann.next().await;
    for _ in 0..5 {
        drop(bob);
        sleep(Duration::from_millis(1500)).await;
        bob = member(&hub, "bob").await;
        sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(ann.listen(SOON).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_costs_one_frame_a_second() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let mut crowd = Vec::new();
    for n in 0..300 {
        crowd.push(member(&hub, &format!("u{n:03}")).await);
        sleep(Duration::from_millis(10)).await;
    }
    let frames = ann.listen(SOON).await;
    assert_eq!(ann.online, 301);
    assert!((3..=5).contains(&frames), "{frames}");
    drop(crowd);
    let frames = ann.listen(SOON).await;
    assert_eq!((ann.names(), frames), ("ann".into(), 1));
}

/// A crowd that all want to know: nobody is told more than a few frames.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_watchers_costs_each_of_them_a_few_frames() {
    let hub = hub();
    let mut crowd = Vec::new();
    for n in 0..100 {
        crowd.push(Watcher::join(&hub, v1(&format!("u{n}"), "r").presence(true), OPEN).await);
    }
    for watcher in &mut crowd {
        let frames = watcher.listen(SECOND / 100).await;
        assert!(frames <= 4, "{frames}");
    }
    for watcher in &mut crowd {
        watcher.listen(2 * SECOND).await;
        assert_eq!(watcher.online, 100);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_a_little_behind_gets_each_change() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, v1("ann", "r").presence(true), 2).await;
    ann.whole().await;
    let mut crowd = Vec::new();
    for n in 0..4 {
        crowd.push(member(&hub, &format!("u{n}")).await);
        sleep(Duration::from_millis(1100)).await;
    }
    ann.peer.window.add_permits(OPEN);
    for online in 2..=5 {
        let frame = ann.next().await;
        assert_eq!(frame["came"].as_array().map(Vec::len), Some(1), "{frame}");
        assert_eq!(ann.online, online);
    }
    assert!(ann.peer.hears_nothing(SOON).await);
}

/// One write takes longer than the changes are kept. The limit on a write is wide, so that the client isn't let go.
#[tokio::test(start_paused = true)]
async fn who_is_far_behind_gets_the_whole_state() {
    let mut limits = unlimited();
    limits.write = Duration::from_secs(100);
    let hub = hub_of(MemoryStore::new(), limits);
    let mut ann = Watcher::join(&hub, v1("ann", "r").presence(true), 2).await;
    ann.whole().await;
    let mut crowd = Vec::new();
    for n in 0..20 {
        crowd.push(member(&hub, &format!("u{n:02}")).await);
        sleep(Duration::from_millis(1100)).await;
    }
    ann.peer.window.add_permits(OPEN);
    let frame = ann.next().await;
    assert_eq!(
        frame["came"].as_array().unwrap().len(),
        1,
        "it was being written: {frame}"
    );
    let frame = ann.next().await;
    assert_eq!(frame["users"].as_array().unwrap().len(), 21, "{frame}");
    assert!(ann.peer.hears_nothing(SOON).await);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_names_more_than_there_are_is_a_whole_state() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let mut crowd = Vec::new();
    for n in 0..40 {
        crowd.push(member(&hub, &format!("u{n}")).await);
    }
    ann.listen(SOON).await;
    assert_eq!(ann.online, 41);
    drop(crowd);
    let frame = ann.whole().await;
    assert_eq!(frame["online"], 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_users_are_counted() {
    let mut limits = unlimited();
    limits.presence_users = 3;
    let hub = hub_of(MemoryStore::new(), limits);
    let mut ann = Watcher::connect(&hub, "ann").await;
    ann.more = true;
    let mut others = Vec::new();
    for name in ["bob", "carl", "dora", "emil"] {
        others.push(member(&hub, name).await);
        sleep(2 * SECOND).await;
    }
    ann.listen(SECOND).await;
    assert_eq!((ann.names(), ann.online), ("ann bob carl".into(), 5));
    let mut frank = Watcher::connect(&hub, "frank").await;
    assert_eq!(
        (frank.names(), frank.online, frank.more),
        ("ann bob carl".into(), 6, true)
    );
    let presence = hub.room(room("r")).presence().await;
    assert_eq!((presence.online, presence.users.len(), presence.more), (6, 3, true));
    // A place that becomes free is taken.
    others.remove(0);
    frank.listen(SOON).await;
    assert_eq!((frank.names(), frank.online), ("ann carl dora".into(), 5));
    assert_eq!(hub.room(room("r")).online(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_or_expires_has_left() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let _bob = member(&hub, "bob").await;
    let _carl = Peer::connect(&hub, v1("carl", "r").expires_in(20 * SECOND));
    ann.listen(SOON).await;
    assert_eq!(ann.names(), "ann bob carl");
    hub.kick(user("bob").id());
    ann.listen(SOON).await;
    assert_eq!(ann.names(), "ann carl");
    ann.listen(15 * SECOND).await;
    assert_eq!(ann.names(), "ann");
}

#[tokio::test(start_paused = true)]
async fn a_new_name_is_told() {
    let hub = hub();
    let mut ann = Watcher::connect(&hub, "ann").await;
    let bob = member(&hub, "bob").await;
    ann.next().await;
    let renamed = roomcast_core::User::new(user("bob").id().clone(), "Bob".parse().unwrap());
    let _again = Peer::connect(&hub, Client::v1(renamed).room(room("r")));
    let frame = ann.next().await;
    assert_eq!(frame["came"], json!([{"id": "bob", "name": "Bob"}]));
    drop(bob);
    assert_eq!((ann.listen(SOON).await, ann.online), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn two_nodes_know_of_each_other() {
    let [one, two] = two();
    let _carl = member(&two, "carl").await;
    let mut ann = Watcher::connect(&one, "ann").await;
    assert_eq!(ann.names(), "ann carl", "others had time to answer");
    let mut bob = Watcher::connect(&two, "bob").await;
    ann.next().await;
    assert_eq!(
        (ann.names(), bob.names()),
        ("ann bob carl".into(), "ann bob carl".into())
    );
    let came = Instant::now();
    let dora = member(&one, "dora").await;
    bob.next().await;
    assert!(came.elapsed() <= 2 * SECOND, "{:?}", came.elapsed());
    assert_eq!(bob.names(), "ann bob carl dora");
    let left = Instant::now();
    drop(dora);
    bob.next().await;
    assert!(left.elapsed() <= SOON, "{:?}", left.elapsed());
    assert_eq!(bob.names(), "ann bob carl");
    bob.peer.send(json!({"t": "leave"}));
    ann.listen(2 * SOON).await;
    assert_eq!(ann.names(), "ann carl");
    assert_eq!(ann.listen(60 * SECOND).await, 0, "heartbeats show nothing");
}

#[tokio::test(start_paused = true)]
async fn a_user_on_both_nodes_is_there_once_and_may_move() {
    let [one, two] = two();
    let mut ann = Watcher::connect(&one, "ann").await;
    let here = member(&one, "bob").await;
    let there = member(&two, "bob").await;
    ann.listen(15 * SECOND).await;
    assert_eq!((ann.names(), ann.online), ("ann bob".into(), 2));
    drop(here);
    assert_eq!(ann.listen(SOON).await, 0);
    let here = member(&one, "bob").await;
    drop(there);
    assert_eq!(ann.listen(SOON).await, 0);
    drop(here);
    ann.next().await;
    assert_eq!(ann.names(), "ann");
}

#[tokio::test(start_paused = true)]
async fn the_server_itself_may_ask() {
    let [one, two] = two();
    let _ann = member(&one, "ann").await;
    let [_b, _c, _again] = [
        member(&two, "bob").await,
        member(&two, "carl").await,
        member(&two, "ann").await,
    ];
    sleep(SECOND).await;
    let r = one.room(room("r"));
    let presence = r.presence().await;
    let names: Vec<_> = presence.users.iter().map(|user| user.name()).collect();
    assert_eq!(
        (presence.online, names, presence.more),
        (3, vec!["ann", "bob", "carl"], false)
    );
    let asked = Instant::now();
    let _dora = member(&one, "dora").await;
    assert_eq!(r.presence().await.online, 4, "of this node nothing is gathered first");
    assert!(asked.elapsed() < Duration::from_millis(20), "it is known by now");
    assert_eq!((r.online(), r.members().len()), (2, 2));
    // A node with no members asks as well.
    let (store, bus) = (Arc::new(MemoryStore::new()), LocalBus::new());
    let [three, four] = [(); 2].map(|()| hub_on(&store, unlimited(), bus.end()));
    let _emil = member(&three, "emil").await;
    sleep(SECOND).await;
    let presence = four.room(room("r")).presence().await;
    assert_eq!((presence.online, presence.users), (1, vec![user("emil")]));
    assert_eq!(hub().room(room("r")).presence().await.online, 0);
}

#[tokio::test(start_paused = true)]
async fn as_a_user_it_is_the_policy_that_decides() {
    let hub = hub();
    hub.publish(&room("r"), &user("bot"), Draft::text("x")).await.unwrap();
    let _ann = member(&hub, "ann").await;
    let presence = hub.room(room("r")).as_user(user("bob")).presence().await.unwrap();
    assert_eq!(presence.users, [user("ann")]);
    let refusal = hub
        .room(room("nowhere"))
        .as_user(user("bob"))
        .presence()
        .await
        .unwrap_err();
    assert_eq!(refusal.code, roomcast_core::ErrorCode::UnknownRoom);
}

/// Nobody wants to know any more: the room costs nothing, on either node.
#[tokio::test(start_paused = true)]
async fn rooms_that_nobody_asks_about_cost_nothing() {
    let nodes = ByHands::new();
    let _bob = member(&nodes.hubs[0], "bob").await;
    let _carl = member(&nodes.hubs[1], "carl").await;
    nodes.carry(100 * SECOND, |_, notice| panic!("{}", kind(notice))).await;
    let ann = Watcher::connect(&nodes.hubs[0], "ann").await;
    nodes.carry_all(100 * SECOND).await;
    drop(ann);
    nodes.carry_all(60 * SECOND).await;
    nodes.carry(100 * SECOND, |_, notice| panic!("{}", kind(notice))).await;
}

/// Where only one node wants to know, that one asks and the other tells, once a heartbeat.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_costs_one_notice_of_each_node() {
    let nodes = ByHands::new();
    let _bob = member(&nodes.hubs[1], "bob").await;
    let _ann = Watcher::connect(&nodes.hubs[0], "ann").await;
    nodes.carry_all(SOON).await;
    let mut told = [0, 0];
    nodes
        .carry(100 * SECOND, |by, notice| {
            assert!(kind(notice).starts_with("presence"));
            told[by] += 1;
            1
        })
        .await;
    assert!(told.iter().all(|told| (10..=14).contains(told)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_forgotten_after_three_heartbeats() {
    let nodes = ByHands::new();
    let _bob = member(&nodes.hubs[1], "bob").await;
    let _both = [
        member(&nodes.hubs[0], "carl").await,
        member(&nodes.hubs[1], "carl").await,
    ];
    let mut ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
    nodes.carry_all(20 * SECOND).await;
    ann.listen(SECOND).await;
    assert_eq!(ann.names(), "ann bob carl");
    // From here on nothing comes from the other node.
    let died = Instant::now();
    ann.next().await;
    assert_eq!(ann.names(), "ann carl");
    let took = died.elapsed();
    assert!(took > 15 * SECOND && took <= 34 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_repeated_late_or_nonsense_does_no_harm() {
    let nodes = ByHands::new();
    let _dora = member(&nodes.hubs[1], "dora").await;
    let mut ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
    nodes.carry_all(SOON).await;
    let bob = member(&nodes.hubs[1], "bob").await;
    sleep(2 * SECOND).await;
    let with_bob = nodes.said(1);
    for notice in &with_bob {
        nodes.buses[0].deliver(notice).await;
    }
    ann.listen(SECOND).await;
    assert_eq!(ann.names(), "ann bob dora");
    drop(bob);
    sleep(2 * SECOND).await;
    let without = nodes.said(1);
    assert_eq!(of_presence(&without), 1);
    for notice in without.iter().chain(&with_bob).chain(&without).chain(&with_bob) {
        nodes.buses[0].deliver(notice).await;
    }
    assert_eq!(ann.listen(SOON).await, 1);
    assert_eq!(ann.names(), "ann dora");
    let text = String::from_utf8(without[0].bytes().to_vec()).unwrap();
    let inbox = nodes.buses[0].inbox().await;
    for (from, to) in [
        ("\"online\":1", "\"online\":18446744073709551615"),
        ("\"for_ms\":30000", "\"for_ms\":18446744073709551615"),
        ("\"room\":\"r\"", "\"room\":\"elsewhere\""),
        ("\"no\":", "\"nothing\":"),
    ] {
        assert!(text.contains(from), "{text}");
        inbox.deliver(text.replace(from, to).as_bytes()).await;
    }
    nodes.carry_all(SOON).await;
    ann.listen(SECOND).await;
    assert_eq!(ann.names(), "ann dora");
    // A lie about the number is believed, and ends by itself.
    let from = text.split('"').nth(3).unwrap();
    let lie = text
        .replace(from, "00000000-0000-0000-0000-000000000001")
        .replace("\"online\":1", "\"online\":18446744073709551615");
    inbox.deliver(lie.as_bytes()).await;
    ann.more = true;
    ann.listen(SOON).await;
    assert!(ann.online > 1_000_000);
    nodes.carry_all(60 * SECOND).await;
    ann.listen(SECOND).await;
    assert_eq!((ann.names(), ann.online), ("ann dora".into(), 2));
}

/// Each notice of the changes is lost; the next heartbeat makes up for it.
#[tokio::test(start_paused = true)]
async fn what_is_lost_is_made_up_for_by_the_next_heartbeat() {
    let nodes = ByHands::new();
    let gone = member(&nodes.hubs[1], "gone").await;
    let mut ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
    nodes.carry_all(SOON).await;
    ann.listen(SECOND).await;
    assert_eq!(ann.names(), "ann gone");
    drop(gone);
    let _bob = member(&nodes.hubs[1], "bob").await;
    nodes.carry(SECOND / 2, |_, _| 0).await;
    assert_eq!(ann.listen(SECOND / 2).await, 0);
    let lost = Instant::now();
    while ann.names() != "ann bob" {
        nodes.carry_all(SECOND / 10).await;
        ann.listen(SECOND / 100).await;
    }
    assert!(lost.elapsed() <= 13 * SECOND, "{:?}", lost.elapsed());
}

/// The asks are lost as well, so that the other node doesn't know that somebody wants to know.
#[tokio::test(start_paused = true)]
async fn after_a_bus_was_away_it_is_asked_anew() {
    let nodes = ByHands::new();
    let _bob = member(&nodes.hubs[1], "bob").await;
    let mut ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
    nodes.carry(SOON, |_, _| 0).await;
    ann.whole().await;
    assert_eq!(ann.names(), "ann");
    nodes.buses[0].inbox().await.missed();
    nodes.carry_all(SECOND).await;
    ann.listen(SECOND / 10).await;
    assert_eq!(ann.names(), "ann bob");
}

/// Clients of a stopping node go to the other one within the time that they are told.
#[tokio::test(start_paused = true)]
async fn a_node_that_stops_makes_no_storm() {
    let [one, two] = two();
    let mut ann = Watcher::connect(&one, "ann").await;
    let mut crowd = Vec::new();
    for n in 0..50 {
        // Their tasks keep no handle.
        let client = v1(&format!("u{n}"), "r").presence(true);
        crowd.push(Peer::serve(two.admit(client).await.unwrap()));
    }
    ann.listen(SOON).await;
    assert_eq!(ann.online, 51);
    drop(two);
    let stopped = Instant::now();
    // All but one come back, within the ten seconds and a half that they are told.
    let mut moved = Vec::new();
    for n in 1..50 {
        sleep(Duration::from_millis(200)).await;
        crowd.pop();
        moved.push(member(&one, &format!("u{n}")).await);
    }
    crowd.clear();
    assert_eq!(ann.listen(Duration::from_millis(500)).await, 0);
    let frame = ann.next().await;
    assert_eq!((&frame["left"], &frame["came"]), (&json!(["u0"]), &json!([])));
    assert!(stopped.elapsed() <= 16 * SECOND, "{:?}", stopped.elapsed());
    assert_eq!(ann.listen(60 * SECOND).await, 0);
}

/// Dropping the last handle of a hub is a goodbye too.
#[tokio::test(start_paused = true)]
async fn a_hub_that_is_dropped_says_goodbye() {
    let nodes = ByHands::new();
    // Its task keeps no handle.
    let mut bob = Peer::serve(nodes.hubs[1].admit(v1("bob", "r")).await.unwrap());
    bob.frame_of("hello").await;
    let _ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
    nodes.carry_all(SOON).await;
    let ByHands {
        hubs: [_one, two],
        buses,
    } = nodes;
    drop(two);
    drop(bob);
    sleep(SOON).await;
    let said = buses[1].sent();
    assert_eq!(of_presence(&said), 1, "and nothing after it");
    let text = String::from_utf8_lossy(said[0].bytes());
    assert!(text.contains("\"for_ms\":12500"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_kick_on_another_node_is_seen() {
    let [one, two] = two();
    let mut ann = Watcher::connect(&one, "ann").await;
    let mut bob = Watcher::connect(&two, "bob").await;
    ann.next().await;
    one.kick(user("bob").id());
    ann.next().await;
    assert_eq!(ann.names(), "ann");
    assert_eq!(bob.peer.closed().await, 4503);
}

/// A bus that is slow to listen, and one that never does.
#[tokio::test(start_paused = true)]
async fn a_slow_bus_is_waited_for_but_not_for_long() {
    for (slowness, expected) in [(500, "ann bob"), (100_000, "ann")] {
        let nodes = ByHands::new();
        *nodes.buses[0].slowness.lock() = Duration::from_millis(slowness);
        let _bob = member(&nodes.hubs[1], "bob").await;
        let began = Instant::now();
        let mut ann = Watcher::join(&nodes.hubs[0], v1("ann", "r").presence(true), OPEN).await;
        nodes.carry_all(2 * SECOND).await;
        ann.whole().await;
        assert_eq!(ann.names(), expected);
        assert!(began.elapsed() <= 3 * SECOND);
    }
}

/// Hundreds of users of two nodes, more than a notice holds.
#[tokio::test(start_paused = true)]
async fn large_rooms_travel_in_pieces() {
    let [one, two] = two();
    let long = |n: usize| format!("{n:03}{}", "é".repeat(120));
    let mut crowd = Vec::new();
    for n in 0..400 {
        crowd.push(member(&two, &long(n)).await);
    }
    let mut ann = Watcher::connect(&one, "ann").await;
    assert_eq!((ann.users.len(), ann.online), (401, 401));
    crowd.drain(100..);
    ann.listen(SOON).await;
    assert_eq!(ann.users.len(), 101);
    assert_eq!(ann.listen(60 * SECOND).await, 0);
}
