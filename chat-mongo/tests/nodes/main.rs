//! Hubs on several nodes, which share a database and hear of each other by change streams.

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod delivery;
#[path = "../faults/pipe.rs"]
mod pipe;
mod trouble;

use std::time::{Duration, Instant};

use common::make::{room, user};
use pipe::{Peer, pipe};
use roomcast_core::{Client, Draft, Hub, OpenPolicy, Receipt, Start};
use roomcast_mongo::MongoStore;
use serde_json::Value;

/// Far less than it takes until heads are compared.
const SOON: Duration = Duration::from_secs(1);
const ROOM: &str = "r";

/// A hub with everything of its own that it would have on a machine of its own.
struct Node {
    hub: Hub,
}

impl Node {
    async fn on(uri: &str, database: &str) -> Self {
        let store = store(uri, database).await;
        let bus = store.bus().await.unwrap();
        let hub = Hub::builder(store, OpenPolicy).bus(bus).build().unwrap();
        Self { hub }
    }

    async fn member(&self, name: &str) -> Member {
        let (connection, peer) = pipe();
        let client = Client::v1(user(name))
            .room(room(ROOM))
            .start(Start::Since(format!("{}:0", self.epoch().await).parse().unwrap()));
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.serve(client, connection).await.map(drop) });
        let mut member = Member { peer };
        assert_eq!(member.frame().await["t"], "hello");
        member
    }

    async fn epoch(&self) -> String {
        match self.hub.room(room(ROOM)).head().await.unwrap() {
            Some(head) => head.epoch.to_string(),
            None => "none".to_owned(),
        }
    }

    async fn say(&self, text: &str) -> Receipt {
        let draft = Draft::text(text);
        self.hub.publish(&room(ROOM), &user("bot"), draft).await.unwrap()
    }

    /// Until the server tells this node of what is stored, or doesn't.
    async fn hears(&self, whether: bool) {
        let began = Instant::now();
        while self.hub.bus_health().await.unwrap().is_ok() != whether {
            assert!(began.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ends(self) {
        let report = self.hub.shutdown(Duration::from_secs(10)).await;
        assert!(report.is_clean(), "{report:?}");
    }
}

async fn store(uri: &str, database: &str) -> MongoStore {
    let store = MongoStore::builder(uri)
        .database(database)
        .operation_timeout(Duration::from_secs(2));
    store.connect().await.unwrap()
}

struct Member {
    peer: Peer,
}

impl Member {
    async fn frame(&mut self) -> Value {
        let frame = tokio::time::timeout(Duration::from_secs(60), self.peer.frames.recv());
        frame
            .await
            .expect("a frame in time")
            .expect("a connection that is open")
    }

    /// The next frame, which is the entry with this seq, and how long it took to come.
    async fn sees(&mut self, seq: u64) -> (Value, Duration) {
        let began = Instant::now();
        let frame = self.frame().await;
        assert_eq!(frame["seq"], seq, "{frame}");
        (frame, began.elapsed())
    }

    async fn sees_soon(&mut self, seq: u64) -> Value {
        let (frame, took) = self.sees(seq).await;
        assert!(took < SOON, "{seq} took {took:?}");
        frame
    }

    async fn sees_nothing(&mut self, time: Duration) {
        if let Ok(frame) = tokio::time::timeout(time, self.peer.frames.recv()).await {
            panic!("{frame:?}");
        }
    }
}
