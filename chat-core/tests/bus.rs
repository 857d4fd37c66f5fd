//! Several hubs on one store, and a bus between them that may do anything to what it carries.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::by_hand::ByHand;
use common::trouble::Troubled;
use common::{OPEN, Peer, Seen, room, unlimited, user, v1, within};
use roomcast_core::{Bus, Draft, Hub, LocalBus, MemoryStore, MessageStore, OpenPolicy, Receipt, Start};
use serde_json::json;
use tokio::time::{Instant, sleep};

fn hub_on<S: MessageStore>(store: &Arc<S>, bus: impl Bus) -> Hub {
    Hub::builder(store.clone(), OpenPolicy)
        .limits(unlimited())
        .bus(bus)
        .build()
        .unwrap()
}

async fn say(hub: &Hub, text: &str) -> Receipt {
    hub.publish(&room("r"), &user("bot"), Draft::text(text)).await.unwrap()
}

/// How long until the member sees the message with this seq next.
async fn sees(member: &mut Peer, seq: u64) -> Duration {
    let asked = Instant::now();
    let frame = within(60, "an entry", member.frame()).await;
    assert_eq!(frame["seq"], seq, "{frame}");
    asked.elapsed()
}

async fn member(hub: &Hub, name: &str) -> Peer {
    let mut member = Peer::connect_with(hub, v1(name, "r"), OPEN, false);
    member.frame_of("hello").await;
    // So that the bus listens for the room.
    sleep(Duration::from_millis(10)).await;
    member
}

/// Two hubs: what the first one tells is carried by hand to the second.
fn by_hand() -> (Arc<MemoryStore>, [(Hub, Arc<ByHand>); 2]) {
    let store = Arc::new(MemoryStore::new());
    let hubs = [(); 2].map(|()| {
        let bus = Arc::new(ByHand::default());
        (hub_on(&store, bus.clone()), bus)
    });
    (store, hubs)
}

#[tokio::test(start_paused = true)]
async fn a_member_hears_at_once_what_another_node_stored() {
    let store = Arc::new(MemoryStore::new());
    let bus = LocalBus::new();
    let [one, two] = [(); 2].map(|()| hub_on(&store, bus.end()));
    let mut ann = member(&one, "ann").await;
    let said = say(&two, "x").await;
    assert!(sees(&mut ann, 1).await < Duration::from_millis(1));
    two.room(room("r"))
        .as_user(user("bot"))
        .edit(said.id, "y")
        .await
        .unwrap();
    let edit = ann.frame().await;
    assert_eq!(
        (&edit["t"], &edit["seq"], &edit["content"]),
        (&"edit".into(), &2.into(), &"y".into())
    );
    two.room(room("r")).as_user(user("bot")).delete(said.id).await.unwrap();
    assert_eq!(ann.frame().await["t"], "delete");
}

/// A bus may be well only while it is run, and who sends clients may wait for that.
#[tokio::test(start_paused = true)]
async fn a_hub_that_is_asked_for_its_bus_runs_it() {
    let (_store, [(hub, bus), _]) = by_hand();
    hub.bus_health().await.expect("there is a bus").unwrap();
    within(1, "the bus runs", bus.inbox()).await;
}

#[tokio::test(start_paused = true)]
async fn rooms_are_watched_while_they_have_members() {
    let (_store, [(hub, bus), _]) = by_hand();
    say(&hub, "x").await;
    assert!(bus.watched.lock().is_empty(), "nobody is there");
    let ann = member(&hub, "ann").await;
    let bob = member(&hub, "bob").await;
    assert_eq!(*bus.watched.lock(), [room("r")], "once");
    drop(ann);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bus.watched.lock().len(), 1);
    drop(bob);
    sleep(Duration::from_secs(2)).await;
    assert!(bus.watched.lock().is_empty());
}

/// Between Ann's look at the store and her bus's beginning to listen, something is stored.
#[tokio::test(start_paused = true)]
async fn nothing_falls_between_joining_and_watching() {
    let (_store, [(one, bus), (two, _)]) = by_hand();
    *bus.slowness.lock() = Duration::from_millis(100);
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    say(&two, "x").await;
    let waited = sees(&mut ann, 1).await;
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    assert_eq!(bus.watched.lock().len(), 1);
}

/// The last member leaves, a notice comes and is passed over, and another member joins, whose look at the store was before. The
/// bus takes long to watch another room, so it is told neither of the one nor of the other.
#[tokio::test(start_paused = true)]
async fn nothing_falls_into_a_moment_without_members() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let ann = member(&one, "ann").await;
    *bus.slowness.lock() = Duration::from_secs(1);
    let _carol = Peer::connect(&one, v1("carol", "another"));
    sleep(Duration::from_millis(10)).await;
    let admitted = one.admit(v1("bob", "r")).await.unwrap();
    drop(ann);
    sleep(Duration::from_millis(10)).await;
    say(&two, "x").await;
    for notice in other.sent() {
        bus.deliver(&notice).await;
    }
    let mut bob = Peer::serve(admitted);
    bob.frame_of("hello").await;
    let waited = sees(&mut bob, 1).await;
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(bus.watched.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn repeated_notices_show_nothing_twice() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    say(&two, "1").await;
    say(&two, "2").await;
    let notices = other.sent();
    for notice in notices.iter().chain(&notices).chain(notices.iter().rev()) {
        bus.deliver(notice).await;
    }
    sees(&mut ann, 1).await;
    sees(&mut ann, 2).await;
    say(&two, "3").await;
    bus.deliver(&other.sent()[0]).await;
    sees(&mut ann, 3).await;
    assert!(ann.hears_nothing(Duration::from_secs(5)).await);
}

/// What comes too early waits for what is before it.
#[tokio::test(start_paused = true)]
async fn notices_out_of_order_are_put_in_order_without_the_store() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    for n in 1..=5 {
        say(&two, &n.to_string()).await;
    }
    let notices = other.sent();
    for n in [3, 1, 4, 2] {
        bus.deliver(&notices[n]).await;
        assert!(ann.hears_nothing(Duration::from_millis(1)).await);
    }
    bus.deliver(&notices[0]).await;
    for seq in 1..=5 {
        assert!(sees(&mut ann, seq).await < Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_read_from_the_store() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    for n in 1..=5 {
        say(&two, &n.to_string()).await;
    }
    bus.deliver(&other.sent()[4]).await;
    let mut waited = Duration::ZERO;
    for seq in 1..=5 {
        waited += sees(&mut ann, seq).await;
    }
    assert!(waited < Duration::from_millis(100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_bus_was_away_heads_are_compared() {
    let (_store, [(one, bus), (two, _)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    say(&two, "x").await;
    assert!(ann.hears_nothing(Duration::from_secs(2)).await);
    bus.inbox().await.missed();
    assert!(sees(&mut ann, 1).await < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_found_by_comparing_heads() {
    let (_store, [(one, _), (two, _)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    say(&two, "x").await;
    sees(&mut ann, 1).await;
}

/// Nonsense, and a notice of a head that the store hasn't got, stop nothing.
#[tokio::test(start_paused = true)]
async fn lies_are_found_out() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    say(&two, "1").await;
    let notice = other.sent().remove(0);
    let text = String::from_utf8(notice.bytes().to_vec()).unwrap();
    let inbox = bus.inbox().await;
    inbox.deliver(b"\xff\xfe").await;
    inbox.deliver(b"").await;
    inbox.head(&room("r"), u64::MAX);
    let far = text
        .lines()
        .next()
        .unwrap()
        .replace(r#""head":1"#, r#""head":9007199254740991"#);
    assert_ne!(far, text.lines().next().unwrap());
    inbox.deliver(far.as_bytes()).await;
    sees(&mut ann, 1).await;
    let epoch = one.room(room("r")).head().await.unwrap().unwrap().epoch;
    inbox.deliver(text.replace(epoch.as_str(), "another").as_bytes()).await;
    say(&two, "2").await;
    bus.deliver(&other.sent()[0]).await;
    assert!(sees(&mut ann, 2).await < Duration::from_millis(50));
    assert!(ann.hears_nothing(Duration::from_secs(60)).await);
}

/// Somebody told of a head that isn't there, and while the store is read for that, another hub stores an entry and tells of it: the
/// notice came too early, since the one before it was still being read, and the reading was taken for one of what it told as well.
#[tokio::test(start_paused = true)]
async fn what_is_told_while_a_lie_is_found_out_is_not_forgotten() {
    let store = Troubled::new(MemoryStore::new());
    let (bus, other) = (Arc::new(ByHand::default()), Arc::new(ByHand::default()));
    let mut limits = unlimited();
    // One entry is read after the other.
    limits.commit_batch.messages = 1;
    let one = Hub::builder(store.clone(), OpenPolicy)
        .limits(limits)
        .bus(bus.clone())
        .build()
        .unwrap();
    let two = hub_on(&store, other.clone());
    let mut ann = member(&one, "ann").await;
    say(&two, "1").await;
    say(&two, "2").await;
    other.sent();
    store.read_ms.store(100, SeqCst);
    bus.inbox().await.head(&room("r"), 10);
    sees(&mut ann, 1).await;
    say(&two, "3").await;
    bus.deliver(&other.sent()[0]).await;
    sees(&mut ann, 2).await;
    let waited = sees(&mut ann, 3).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

/// Another hub edits a message and deletes it. Who comes then has this hub read the message, which is a tombstone; the notice of the
/// edit comes after, and put its words onto the tombstone.
#[tokio::test(start_paused = true)]
async fn a_late_notice_of_an_edit_digs_nothing_out() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let said = say(&two, "x").await;
    let mut ann = member(&one, "ann").await;
    let verbs = two.room(room("r")).as_user(user("bot"));
    verbs.edit(said.id, "y").await.unwrap();
    verbs.delete(said.id).await.unwrap();
    let last = |name| Peer::connect_with(&one, v1(name, "r").start(Start::Last(1)), OPEN, false);
    let is_buried = |frame: serde_json::Value| {
        assert_eq!((&frame["seq"], &frame["deleted"]), (&1.into(), &true.into()), "{frame}");
        assert!(frame.get("content").is_none(), "{frame}");
    };
    let mut bob = last("bob");
    bob.frame_of("hello").await;
    is_buried(bob.frame().await);
    bus.deliver(&other.sent()[1]).await;
    sees(&mut ann, 2).await;
    let mut carol = last("carol");
    carol.frame_of("hello").await;
    is_buried(carol.frame().await);
}

/// An append has no known outcome, and isn't in the log yet. The next try fails; then the first one is stored after all, and comes
/// into the log here by another way than the committer's. The third try must not take it for another's.
#[tokio::test(start_paused = true)]
async fn a_late_first_try_that_comes_by_the_bus_is_not_stored_twice() {
    let store = Troubled::new(MemoryStore::new());
    let bus = Arc::new(ByHand::default());
    let hub = hub_on(&store, bus.clone());
    let mut ann = member(&hub, "ann").await;
    store.append_is_late.store(true, SeqCst);
    let said = tokio::spawn({
        let hub = hub.clone();
        async move { say(&hub, "x").await }
    });
    while store.store.room(&room("r")).await.unwrap().unwrap().head == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    bus.inbox().await.head(&room("r"), 1);
    assert_eq!(said.await.unwrap().seq, 1);
    sees(&mut ann, 1).await;
    assert!(ann.hears_nothing(Duration::from_secs(60)).await, "it is there twice");
    assert_eq!(store.store.room(&room("r")).await.unwrap().unwrap().head, 1);
}

/// Two nodes with members write one room as fast as they can, over a bus.
#[tokio::test(start_paused = true)]
async fn two_nodes_write_one_room() {
    let store = Arc::new(MemoryStore::new());
    let bus = LocalBus::new();
    let hubs = [(); 2].map(|()| hub_on(&store, bus.end()));
    let mut members = [member(&hubs[0], "ann").await, member(&hubs[1], "bob").await];
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let hub = hubs[n % 2].clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    say(&hub, &format!("from {n}")).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    for member in &mut members {
        for seq in 1..=400 {
            assert!(sees(member, seq).await < Duration::from_secs(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kick_reaches_every_node() {
    let store = Arc::new(MemoryStore::new());
    let bus = LocalBus::new();
    let [one, two] = [(); 2].map(|()| hub_on(&store, bus.end()));
    let mut ann = member(&one, "ann").await;
    let mut bob = member(&one, "bob").await;
    two.kick(user("ann").id());
    assert_eq!(ann.frame().await["code"], 4503);
    assert_eq!(ann.next().await, Seen::Close(4503, "kicked".into()));
    say(&two, "x").await;
    sees(&mut bob, 1).await;
}

/// Ann is sent away elsewhere and comes back; then the bus hands the same notice over again. Another kick is another matter.
#[tokio::test(start_paused = true)]
async fn a_kick_that_comes_again_closes_nothing_more() {
    let (_store, [(one, bus), (two, other)]) = by_hand();
    let mut ann = member(&one, "ann").await;
    two.kick(user("ann").id());
    let first = other.sent();
    assert_eq!(first.len(), 1);
    bus.deliver(&first[0]).await;
    assert_eq!(ann.closed().await, 4503);
    let mut ann = member(&one, "ann").await;
    for _ in 0..3 {
        bus.deliver(&first[0]).await;
    }
    assert!(ann.hears_nothing(Duration::from_secs(1)).await);
    two.kick(user("ann").id());
    for notice in other.sent() {
        bus.deliver(&notice).await;
    }
    assert_eq!(ann.closed().await, 4503);
}

/// A hub that stops still tells of what it commits, and its own bus doesn't keep it.
#[tokio::test(start_paused = true)]
async fn a_stopping_hub_tells_of_what_it_commits() {
    let store = Troubled::new(MemoryStore::new());
    let bus = LocalBus::new();
    let [one, two] = [(); 2].map(|()| hub_on(&store, bus.end()));
    let mut ann = member(&one, "ann").await;
    let bob = member(&two, "bob").await;
    store.append_ms.store(500, SeqCst);
    bob.send(json!({"t": "send", "content": "last words"}));
    sleep(Duration::from_millis(100)).await;
    assert!(ann.hears_nothing(Duration::from_millis(1)).await);
    let report = two.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    assert!(sees(&mut ann, 1).await < Duration::from_millis(50));
    let report = one.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
}
