//! The store in memory keeps to the contract.

use std::sync::Arc;

use roomcast_core::{MemoryStore, MessageStore};
use roomcast_testkit::{StoreHarness, async_trait};

struct Memory;

#[async_trait]
impl StoreHarness for Memory {
    async fn open(&self) -> Arc<dyn MessageStore> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        None
    }

    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
        Some(Arc::new(MemoryStore::with_retention(entries)))
    }
}

roomcast_testkit::store_tests!(Memory);
