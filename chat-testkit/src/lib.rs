//! What every [`MessageStore`](roomcast_core::MessageStore) must keep to, written down as tests.
//!
//! Say how your store is opened ([`StoreHarness`]), and let [`store_tests!`] make a test of each check:
//!
//! ```
//! use std::sync::Arc;
//!
//! use roomcast_core::{MemoryStore, MessageStore};
//! use roomcast_testkit::{StoreHarness, async_trait};
//!
//! struct Memory;
//!
//! #[async_trait]
//! impl StoreHarness for Memory {
//!     async fn open(&self) -> Arc<dyn MessageStore> {
//!         Arc::new(MemoryStore::new())
//!     }
//!
//!     async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
//!         None // nothing outlives a store in memory
//!     }
//!
//!     async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>> {
//!         Some(Arc::new(MemoryStore::with_retention(entries)))
//!     }
//! }
//!
//! roomcast_testkit::store_tests!(Memory);
//! ```
//!
//! Each check is a plain async function in [`store`], for those who want to run some of them otherwise;
//! [`store::ALL`] lists them.

mod harness;
pub mod store;

pub use async_trait::async_trait;
pub use harness::{StoreHarness, run};
