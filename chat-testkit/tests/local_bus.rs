//! The bus between hubs of one process keeps to the contract.

use std::sync::Arc;

use roomcast_core::{LocalBus, MemoryStore, RoomId};
use roomcast_testkit::async_trait;
use roomcast_testkit::bus::{BusHarness, Node, SharedStore};

struct Local {
    store: SharedStore,
    bus: LocalBus,
}

impl Local {
    fn new() -> Self {
        Self {
            store: SharedStore::new(MemoryStore::new()),
            bus: LocalBus::new(),
        }
    }
}

#[async_trait]
impl BusHarness for Local {
    async fn node(&self) -> Node {
        Node {
            store: Arc::new(self.store.clone()),
            bus: Arc::new(self.bus.end()),
        }
    }

    async fn inject(&self, _room: Option<&RoomId>, _bytes: &[u8]) -> bool {
        false // only hubs can tell anything
    }

    async fn cut(&self) -> bool {
        false
    }

    async fn heal(&self) {}
}

roomcast_testkit::bus_tests!(Local::new());
