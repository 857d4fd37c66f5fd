//! The store keeps to the contract.

use std::sync::Arc;

use roomcast_core::MessageStore;
use roomcast_sqlite::{Retention, SqliteStore};
use roomcast_testkit::{StoreHarness, async_trait};
use tempfile::TempDir;

struct Sqlite(TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open_keeping(&self, max_entries: Option<u64>) -> Arc<dyn MessageStore> {
        let retention = Retention {
            max_entries,
            max_age: None,
        };
        let store = SqliteStore::builder(self.0.path().join("chat.db")).retention(retention);
        Arc::new(store.open().await.unwrap())
    }
}

#[async_trait]
impl StoreHarness for Sqlite {
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

roomcast_testkit::store_tests!(Sqlite::new());
