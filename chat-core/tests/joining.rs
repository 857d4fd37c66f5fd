//! Joining, joining anew, and leaving.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use common::trouble::Troubled;
use common::{OPEN, Peer, Seen, room, user, v1};
use roomcast_core::{
    Client, Denied, Draft, Hub, Inbound, Limits, MemoryStore, Message, MessageStore, OpenPolicy, Policy, RoomId, Start,
    User,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

fn hub_of(store: impl MessageStore, policy: impl Policy, set: impl FnOnce(&mut Limits)) -> Hub {
    let mut limits = Limits::default();
    limits.rate = None;
    set(&mut limits);
    Hub::builder(store, policy).limits(limits).build().unwrap()
}

fn hub() -> Hub {
    hub_of(MemoryStore::new(), OpenPolicy, |_| {})
}

async fn say(hub: &Hub, room_id: &str, text: &str) {
    hub.publish(&room(room_id), &user("bot"), Draft::text(text))
        .await
        .unwrap();
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

async fn epoch(hub: &Hub, room_id: &str) -> String {
    hub.room(room(room_id)).head().await.unwrap().unwrap().epoch.to_string()
}

#[tokio::test(start_paused = true)]
async fn who_left_hears_nothing_and_may_come_back() {
    let hub = hub();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    ann.send(json!({"t":"leave","id":1}));
    assert_eq!(ann.frame().await, json!({"t":"left","id":1,"room_id":"r"}));
    say(&hub, "r", "meanwhile").await;
    ann.send(json!({"t":"leave","id":2,"room_id":"r"}));
    assert_eq!(ann.frame().await["code"], "not_joined");
    ann.send(json!({"t":"send","id":3,"content":"x"}));
    assert_eq!(ann.frame().await["code"], "not_joined");
    let cursor = format!("{}:0", epoch(&hub, "r").await);
    ann.send(json!({"t":"join","id":4,"room_id":"r","since":cursor}));
    let joined = ann.frame().await;
    assert_eq!((&joined["id"], &joined["resume"]), (&json!(4), &json!("ok")));
    assert_eq!(ann.frame().await["content"], "meanwhile");
    say(&hub, "r", "live").await;
    assert_eq!(ann.frame().await["content"], "live");
}

#[tokio::test(start_paused = true)]
async fn joining_anew_begins_anew_and_counts_once() {
    let hub = hub();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    settle().await;
    for text in ["one", "two"] {
        say(&hub, "r", text).await;
        ann.frame().await;
    }
    ann.send(json!({"t":"join","id":1,"room_id":"r","last":1}));
    assert_eq!(ann.frame().await["t"], "joined");
    assert_eq!(ann.frame().await["content"], "two");
    assert_eq!(hub.room(room("r")).online(), 1);
    say(&hub, "r", "three").await;
    assert_eq!(ann.frame().await["content"], "three");
    ann.send(json!({"t":"ping"}));
    assert_eq!(ann.frame().await["t"], "pong", "everything came once");
}

/// Ann is in room r, of which the store can't be read any more.
async fn unreadable() -> (Arc<Troubled>, Hub, Peer) {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), OpenPolicy, |_| {});
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    settle().await;
    say(&hub, "r", "one").await;
    ann.frame().await;
    store.reads_fail.store(true, SeqCst);
    (store, hub, ann)
}

/// Ann is in the room and asks to join it anew; the store can't say where that begins. She is told so, and is where she was:
/// what is said next, she hears.
#[tokio::test(start_paused = true)]
async fn joining_anew_in_vain_changes_nothing() {
    let (store, hub, mut ann) = unreadable().await;
    ann.send(json!({"t":"join","id":1,"room_id":"r","last":50}));
    assert_eq!(ann.frame_of("err").await["code"], "unavailable");
    store.reads_fail.store(false, SeqCst);
    say(&hub, "r", "two").await;
    assert_eq!(ann.frame().await["content"], "two");
}

/// What is refused because the store can't be read has no nonce, so that nobody is told to send one again.
#[tokio::test(start_paused = true)]
async fn who_only_reads_is_not_told_of_nonces() {
    let (_store, _hub, mut ann) = unreadable().await;
    for request in [
        json!({"t":"join","id":1,"room_id":"r","last":50}),
        json!({"t":"history","id":2,"room_id":"r"}),
    ] {
        ann.send(request);
        let err = ann.frame_of("err").await;
        assert_eq!(
            (&err["code"], &err["message"]),
            (&json!("unavailable"), &json!("the store does not answer; try again"))
        );
    }
}

/// A policy that changes its mind about joining and about history.
#[derive(Default)]
struct Fickle {
    no_join: AtomicBool,
    no_history: AtomicBool,
    unknown: AtomicBool,
}

struct Asked(Arc<Fickle>);

#[async_trait]
impl Policy for Asked {
    async fn join(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        match (self.0.no_join.load(SeqCst), self.0.unknown.load(SeqCst)) {
            (true, _) => Err(Denied::forbidden("no")),
            (_, true) => Err(Denied::unknown_room()),
            _ => Ok(()),
        }
    }
    async fn send(&self, _: &User, _: &RoomId, _: &mut Draft) -> Result<(), Denied> {
        Ok(())
    }
    async fn edit(&self, _: &User, _: &Message, _: &mut String) -> Result<(), Denied> {
        Ok(())
    }
    async fn delete(&self, _: &User, _: &Message) -> Result<(), Denied> {
        Ok(())
    }
    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        match self.0.no_history.load(SeqCst) {
            true => Err(Denied::forbidden("no")),
            false => Ok(()),
        }
    }
    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
}

/// Ann is in the room when the policy learns that she may not be. It isn't asked again by itself; when she asks to join anew
/// and is refused, she must not go on hearing the room.
#[tokio::test(start_paused = true)]
async fn who_is_refused_a_room_is_not_left_in_it() {
    for (no_join, code) in [(true, "forbidden"), (false, "not_found")] {
        let mind = Arc::new(Fickle::default());
        let hub = hub_of(MemoryStore::new(), Asked(mind.clone()), |_| {});
        let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
        ann.frame_of("hello").await;
        settle().await;
        // What was said before is another question: the answer no to it leaves her where she is.
        mind.no_history.store(true, SeqCst);
        ann.send(json!({"t":"join","id":1,"room_id":"r","last":1}));
        assert_eq!(ann.frame().await["code"], "forbidden");
        say(&hub, "r", "live").await;
        assert_eq!(ann.frame().await["content"], "live");

        let which = if no_join { &mind.no_join } else { &mind.unknown };
        which.store(true, SeqCst);
        ann.send(json!({"t":"join","id":2,"room_id":"r"}));
        assert_eq!(ann.frame().await, json!({"t":"left","room_id":"r"}));
        let err = ann.frame().await;
        assert_eq!((&err["id"], &err["code"]), (&json!(2), &json!(code)));
        say(&hub, "r", "secret").await;
        assert!(timeout(Duration::from_secs(60), ann.next()).await.is_err());
        assert_eq!(hub.room(room("r")).online(), 0);
    }
}

/// Bob is admitted, which opens the room; the store panics under it, so the room's log is given up and its members are told to
/// come back; then bob is served. He must not become a member of what was given up, where nobody speaks any more.
#[tokio::test(start_paused = true)]
async fn a_client_admitted_before_a_room_breaks_up_is_in_the_room_that_comes_after() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), OpenPolicy, |_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    let admission = hub.admit(v1("bob", "r")).await.unwrap();
    store.append_panics.store(true, SeqCst);
    hub.publish(&room("r"), &user("bot"), Draft::text("x"))
        .await
        .unwrap_err();
    assert_eq!(ann.closed().await, 4003);
    let mut bob = Peer::serve(admission);
    bob.frame_of("hello").await;
    settle().await;
    say(&hub, "r", "after").await;
    assert_eq!(bob.frame().await["content"], "after");
}

/// Ann's writer is stuck in room a when she leaves r, whose stream it hasn't come to yet. Bob joins r, gets her place there and
/// catches up. Then her writer comes to r and finds nothing left to fetch: that is not for bob's place to know.
#[tokio::test(start_paused = true)]
async fn a_stale_stream_does_not_speak_for_the_next_member() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), OpenPolicy, |limits| {
        limits.write = Duration::from_secs(3600);
        limits.ping = Duration::from_secs(36_000);
        limits.tail.messages = 10;
    });
    for n in 0..500 {
        say(&hub, "a", &n.to_string()).await;
        say(&hub, "r", "x").await;
    }
    let (in_a, in_r) = (epoch(&hub, "a").await, epoch(&hub, "r").await);
    // A member that stays, so that the room does.
    let mut cid = Peer::connect(&hub, v1("cid", "r"));
    cid.frame_of("hello").await;
    let mut ann = Peer::connect_with(&hub, Client::v1(user("ann")), 10, true);
    ann.frame_of("hello").await;
    ann.send(json!({"t":"join","room_id":"a","since":format!("{in_a}:0")}));
    ann.send(json!({"t":"join","room_id":"r"}));
    settle().await;
    ann.send(json!({"t":"leave","room_id":"r"}));
    settle().await;
    store.read_ms.store(1000, SeqCst);
    let start = Start::Since(format!("{in_r}:0").parse().unwrap());
    let mut bob = Peer::connect(&hub, v1("bob", "r").start(start));
    bob.frame_of("hello").await;
    ann.window.add_permits(OPEN);
    settle().await;
    say(&hub, "r", "live").await;
    for next in 1..=501 {
        assert_eq!(bob.frame().await["seq"], next);
    }
}

/// The store can't say where the first room's stream begins: the client is greeted before it is told goodbye.
#[tokio::test(start_paused = true)]
async fn hello_comes_first_even_where_only_a_goodbye_follows() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), OpenPolicy, |_| {});
    say(&hub, "r", "x").await;
    store.reads_fail.store(true, SeqCst);
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(Start::Last(5)));
    let hello = ann.frame().await;
    assert_eq!((&hello["t"], &hello["rooms"]), (&json!("hello"), &json!([])));
    assert_eq!(ann.frame().await["code"], 4003);
    assert_eq!(ann.next().await, Seen::Close(4003, "unavailable".into()));
    ann.send_raw(Inbound::Closed);

    // A plain client has no such frames.
    let mut plain = Peer::connect(&hub, Client::plain(user("bob"), room("r")).start(Start::Last(5)));
    assert_eq!(plain.next().await, Seen::Close(4003, "unavailable".into()));
}
