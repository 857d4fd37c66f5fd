//! The store keeps to the contract, on a server that stands alone and on a replica set.

mod common;

use std::sync::Arc;

use common::shared::{self, Database};
use roomcast_core::MessageStore;
use roomcast_mongo::{MongoStore, Retention};
use roomcast_testkit::{StoreHarness, async_trait};

struct Mongo(Database);

impl Mongo {
    async fn open_keeping(&self, max_entries: Option<u64>) -> Arc<dyn MessageStore> {
        let retention = Retention {
            max_entries,
            max_age: None,
        };
        let store = MongoStore::builder(&self.0.uri)
            .search(true)
            .database(&self.0.name)
            .retention(retention);
        Arc::new(store.connect().await.unwrap())
    }
}

#[async_trait]
impl StoreHarness for Mongo {
    async fn open(&self) -> Arc<dyn MessageStore> {
        self.open_keeping(None).await
    }

    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        Some(self.open_keeping(None).await)
    }

    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
        Some(self.open_keeping(Some(entries as u64)).await)
    }
}

mod standalone {
    use super::*;

    roomcast_testkit::store_tests!(Mongo(Database::on(shared::standalone())));
}

mod replica_set {
    use super::*;

    roomcast_testkit::store_tests!(Mongo(Database::on(shared::replica_set())));
}
