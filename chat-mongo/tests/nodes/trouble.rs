//! What becomes of it when the server or the way to it fails.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::common::make::{room, user};
use crate::common::proxy::Proxy;
use crate::common::replica_set::ReplicaSet;
use crate::{Member, Node, ROOM, SOON};

const DATABASE: &str = "nodes";

/// A replica set of one; a node at it, and one with a member that goes by a proxy.
struct Fixture {
    set: ReplicaSet,
    proxy: Proxy,
    near: Node,
    far: Node,
    ann: Member,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(ReplicaSet::of(1).await).await
    }

    async fn on(set: ReplicaSet) -> Self {
        let proxy = Proxy::to(set.members[0].address());
        let near = Node::on(&set.uri(), DATABASE).await;
        let far = Node::on(&proxy.uri(), DATABASE).await;
        near.say("first").await;
        let mut ann = far.member("ann").await;
        ann.sees_soon(1).await;
        near.say("second").await;
        ann.sees_soon(2).await;
        Self {
            set,
            proxy,
            near,
            far,
            ann,
        }
    }

    async fn ends(self) {
        drop(self.ann);
        self.near.ends().await;
        self.far.ends().await;
    }
}

/// A message is said and edited and deleted while nobody hears it. Who hears it then doesn't hear what it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_meanwhile_is_not_shown() {
    let mut fixture = Fixture::new().await;
    fixture.proxy.cut();
    fixture.far.hears(false).await;
    let secret = fixture.near.say("secret").await;
    fixture.near.say("fourth").await;
    let bot = fixture.near.hub.room(room(ROOM)).as_user(user("bot"));
    bot.edit(secret.id, "secret too").await.unwrap();
    bot.delete(secret.id).await.unwrap();
    fixture.ann.sees_nothing(Duration::from_millis(100)).await;
    fixture.proxy.open();
    for seq in 3..=6 {
        let (frame, took) = fixture.ann.sees(seq).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(!frame.to_string().contains("secret"), "{frame}");
    }
    fixture.far.hears(true).await;
    // And from then on as before.
    fixture.near.say("seventh").await;
    fixture.ann.sees_soon(7).await;
    fixture.ends().await;
}

/// A connection that says nothing any more is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_blocked_is_noticed() {
    let mut fixture = Fixture::new().await;
    fixture.proxy.block();
    fixture.near.say("third").await;
    fixture.far.hears(false).await;
    fixture.ann.sees_nothing(Duration::from_millis(10)).await;
    fixture.proxy.open();
    let (_, took) = fixture.ann.sees(3).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    fixture.ends().await;
}

/// The server has let go of the operations that came after the last that was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_history_is_made_up_for() {
    let mut fixture = Fixture::on(ReplicaSet::forgetful().await).await;
    fixture.proxy.cut();
    fixture.far.hears(false).await;
    fixture.near.say("third").await;
    let client = mongodb::Client::with_uri_str(fixture.set.uri()).await.unwrap();
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let other = client.database("other").collection::<Document>("other");
    let third = doc! {"op": "i", "o.content": "third"};
    let began = Instant::now();
    while oplog.find_one(third.clone()).await.unwrap().is_some() {
        assert!(began.elapsed() < Duration::from_secs(120), "the server keeps it all");
        let filler = doc! {"filler": "x".repeat(1 << 20)};
        other.insert_many(vec![filler; 4]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    fixture.proxy.open();
    let (_, took) = fixture.ann.sees(3).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    fixture.far.hears(true).await;
    fixture.near.say("fourth").await;
    fixture.ann.sees_soon(4).await;
    fixture.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_be_killed() {
    let Fixture {
        mut set,
        near,
        far,
        mut ann,
        proxy,
    } = Fixture::new().await;
    for seq in [3, 5] {
        set.members[0].kill9();
        far.hears(false).await;
        set.members[0].restart();
        // Waits for the server as the hub does.
        near.say("after").await;
        let (_, took) = ann.sees(seq).await;
        assert!(took < Duration::from_secs(15), "{took:?}");
        far.hears(true).await;
        near.say("and then").await;
        let (_, took) = ann.sees(seq + 1).await;
        assert!(took < SOON, "{took:?}");
    }
    let fixture = Fixture {
        set,
        near,
        far,
        ann,
        proxy,
    };
    fixture.ends().await;
}

/// With the collections, the rooms are gone; but the stream, which the server ends then, goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_server_ended_is_opened_anew() {
    let fixture = Fixture::new().await;
    let client = mongodb::Client::with_uri_str(fixture.set.uri()).await.unwrap();
    client.database(DATABASE).drop().await.unwrap();
    fixture.far.hears(true).await;
    fixture.near.hub.kick(user("ann").id());
    let mut ann = fixture.ann;
    while ann.frame().await["t"] != "bye" {}
    fixture.near.ends().await;
    fixture.far.ends().await;
}
