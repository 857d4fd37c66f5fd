//! The bus keeps to the contract.

mod common;

use std::sync::Arc;

use common::server::Server;
use roomcast_core::{Bytes, MemoryStore, RoomId};
use roomcast_nats::NatsBus;
use roomcast_testkit::async_trait;
use roomcast_testkit::bus::{BusHarness, Node, SharedStore};
use tokio::sync::{Mutex, OnceCell};

struct Nats {
    server: Mutex<Server>,
    url: String,
    store: SharedStore,
    stranger: OnceCell<async_nats::Client>,
}

impl Nats {
    fn new() -> Self {
        let server = Server::start();
        Self {
            url: server.url(),
            server: Mutex::new(server),
            store: SharedStore::new(MemoryStore::new()),
            stranger: OnceCell::new(),
        }
    }
}

#[async_trait]
impl BusHarness for Nats {
    async fn node(&self) -> Node {
        Node {
            store: Arc::new(self.store.clone()),
            bus: Arc::new(NatsBus::connect(&self.url).await.unwrap()),
        }
    }

    async fn inject(&self, room: Option<&RoomId>, bytes: &[u8]) -> bool {
        let connect = async || async_nats::connect(&self.url).await.unwrap();
        let stranger = self.stranger.get_or_init(connect).await;
        let subject = match room {
            Some(room) => format!("roomcast.room.{room}"),
            None => "roomcast.all".to_owned(),
        };
        stranger.publish(subject, Bytes::copy_from_slice(bytes)).await.unwrap();
        stranger.flush().await.unwrap();
        true
    }

    async fn cut(&self) -> bool {
        self.server.lock().await.kill9();
        true
    }

    async fn heal(&self) {
        self.server.lock().await.restart();
    }
}

roomcast_testkit::bus_tests!(Nats::new());
