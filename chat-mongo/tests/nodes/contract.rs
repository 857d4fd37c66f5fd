//! Change streams keep to the contract of a bus.

use std::sync::Arc;

use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use roomcast_core::RoomId;
use roomcast_mongo::MongoStore;
use roomcast_testkit::async_trait;
use roomcast_testkit::bus::{BusHarness, Node};
use tokio::sync::OnceCell;

use crate::common::proxy::Proxy;
use crate::common::shared::{self, Database};

/// Each node has a store and a bus of its own, which goes by another way than the store, so that it can be cut.
struct Mongo {
    database: Database,
    way: Option<Proxy>,
    signals: OnceCell<Collection<Document>>,
}

impl Mongo {
    fn new() -> Self {
        Self {
            database: Database::on(shared::replica_set()),
            way: shared::replica_set_address().map(Proxy::to),
            signals: OnceCell::new(),
        }
    }

    async fn store(&self, uri: String) -> MongoStore {
        let store = MongoStore::builder(uri).database(&self.database.name).search(true);
        store.connect().await.unwrap()
    }
}

#[async_trait]
impl BusHarness for Mongo {
    async fn node(&self) -> Node {
        let store = self.store(self.database.uri.clone()).await;
        let bus = match &self.way {
            Some(way) => self.store(way.uri()).await.bus().await,
            None => store.bus().await,
        };
        Node {
            store: Arc::new(store),
            bus: Arc::new(bus.unwrap()),
        }
    }

    async fn inject(&self, room: Option<&RoomId>, bytes: &[u8]) -> bool {
        let notice = match std::str::from_utf8(bytes) {
            Ok(text) => Bson::from(text),
            Err(_) => Bson::Binary(Binary {
                subtype: BinarySubtype::Generic,
                bytes: bytes.to_vec(),
            }),
        };
        let mut signal = doc! { "at": DateTime::now(), "notice": notice };
        if let Some(room) = room {
            signal.insert("room", room.as_str());
        }
        let signals = self.signals.get_or_init(|| async {
            let database = self.database.open().await;
            database.collection("roomcast_entries.signals")
        });
        signals.await.insert_one(signal).await.unwrap();
        true
    }

    async fn cut(&self) -> bool {
        self.way.iter().for_each(Proxy::cut);
        self.way.is_some()
    }

    async fn heal(&self) {
        self.way.iter().for_each(Proxy::open);
    }
}

roomcast_testkit::bus_tests!(Mongo::new());
