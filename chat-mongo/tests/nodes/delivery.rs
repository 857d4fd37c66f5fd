//! What comes from another node while all is well.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use roomcast_core::{Client, Draft, Hub, MessageStore, OpenPolicy, StoreErrorKind};

use crate::common::make::{room, user};
use crate::common::shared::{self, Database};
use crate::{Node, ROOM, store};

async fn two() -> (Database, [Node; 2]) {
    let database = Database::on(shared::replica_set());
    let nodes = [
        Node::on(&database.uri, &database.name).await,
        Node::on(&database.uri, &database.name).await,
    ];
    nodes[0].say("first").await;
    (database, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_come_at_once() {
    let (_database, [one, two]) = two().await;
    let mut ann = one.member("ann").await;
    let mut bob = two.member("bob").await;
    for member in [&mut ann, &mut bob] {
        member.sees_soon(1).await;
    }
    let mut seq = 1;
    let mut took = Vec::new();
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 {
            (&two, &mut ann)
        } else {
            (&one, &mut bob)
        };
        let said = from.say("hello").await;
        seq += 1;
        assert_eq!(said.seq, seq);
        let (frame, time) = to.sees(seq).await;
        assert_eq!(frame["content"], "hello");
        took.push(time);
        let own = if round % 2 == 0 { &mut bob } else { &mut ann };
        own.sees_soon(seq).await;
    }
    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(250), "{took:?}");

    // An edit and a deletion, with what they say.
    let said = two.say("tyop").await;
    ann.sees_soon(22).await;
    let bot = two.hub.room(room(ROOM)).as_user(user("bot"));
    bot.edit(said.id, "typo").await.unwrap();
    let edit = ann.sees_soon(23).await;
    assert_eq!((&edit["t"], &edit["content"]), (&"edit".into(), &"typo".into()));
    bot.delete(said.id).await.unwrap();
    assert_eq!(ann.sees_soon(24).await["t"], "delete");
    // Who comes now is shown nothing of it, by the memory of the node that has only heard.
    let mut late = one.member("late").await;
    for seq in 1..=24 {
        let (frame, _) = late.sees(seq).await;
        assert!(!frame.to_string().contains("typo"), "{frame}");
    }
    for _ in 22..=24 {
        bob.frame().await;
    }
    for node in [one, two] {
        node.ends().await;
    }
}

/// More than one reply of the server carries, in several rooms at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_come_in_order() {
    let (_database, [one, two]) = two().await;
    let mut ann = one.member("ann").await;
    ann.sees_soon(1).await;
    let rooms: Vec<_> = (0..4)
        .map(|n| room(&if n == 0 { ROOM.to_owned() } else { format!("other{n}") }))
        .collect();
    let senders = (0..64).map(|n| {
        let (hub, room) = (two.hub.clone(), rooms[n % 4].clone());
        tokio::spawn(async move {
            for m in 0..40 {
                let text = format!("{n} {m} {}", "x".repeat(20_000));
                hub.publish(&room, &user("bot"), Draft::text(text)).await.unwrap();
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    for seq in 2..=641 {
        ann.sees(seq).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    for node in [one, two] {
        node.ends().await;
    }
}

/// As the shell shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_can_read_signals() {
    let (database, [one, two]) = two().await;
    let mut ann = one.member("ann").await;
    ann.sees_soon(1).await;
    two.hub.kick(user("ann").id());
    assert_eq!(ann.frame().await["t"], "bye");
    let signals = database.open().await.collection::<Document>("roomcast_entries.signals");
    let signal = signals.find_one(doc! {}).await.unwrap().unwrap();
    assert!(
        signal.get_datetime("at").is_ok() && !signal.contains_key("room"),
        "{signal}"
    );
    assert!(
        signal.get_str("notice").unwrap().contains(r#""user":"ann""#),
        "{signal}"
    );
    for node in [one, two] {
        node.ends().await;
    }
}

#[tokio::test]
async fn a_closed_store_has_none() {
    let database = Database::on(shared::replica_set());
    let store = store(&database.uri, &database.name).await;
    store.close().await.unwrap();
    let error = store.bus().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused);
}

#[tokio::test]
async fn a_server_that_stands_alone_has_none() {
    let database = Database::on(shared::standalone());
    let store = store(&database.uri, &database.name).await;
    if std::env::var_os("MONGODB_URI").is_some() {
        return; // It may be anything.
    }
    let error = store.bus().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused);
    let text = error.to_string();
    assert!(
        text.contains("need a replica set") && text.contains("--replSet"),
        "{text}"
    );
    // The store is as good as before.
    let hub = Hub::builder(store, OpenPolicy).build().unwrap();
    let draft = Draft::text("x");
    hub.publish(&room(ROOM), &user("bot"), draft).await.unwrap();
    hub.admit(Client::v1(user("ann")).room(room(ROOM))).await.unwrap();
    assert!(hub.shutdown(Duration::from_secs(5)).await.is_clean());
}
