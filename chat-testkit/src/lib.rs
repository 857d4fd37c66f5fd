//! What every [`MessageStore`](roomcast_core::MessageStore) and every [`Bus`](roomcast_core::Bus) must keep to, written down as tests.
//!
//! # A store
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
//!
//! # A bus
//!
//! Say how nodes are made that share a store and a bus ([`BusHarness`](bus::BusHarness)), and let [`bus_tests!`] make a test of each check:
//!
//! ```
//! use std::sync::Arc;
//!
//! use roomcast_core::{LocalBus, MemoryStore, RoomId};
//! use roomcast_testkit::async_trait;
//! use roomcast_testkit::bus::{BusHarness, Node, SharedStore};
//!
//! struct Local(SharedStore, LocalBus);
//!
//! #[async_trait]
//! impl BusHarness for Local {
//!     async fn node(&self) -> Node {
//!         Node { store: Arc::new(self.0.clone()), bus: Arc::new(self.1.end()) }
//!     }
//!
//!     async fn inject(&self, _room: Option<&RoomId>, _bytes: &[u8]) -> bool {
//!         false // only hubs can tell anything
//!     }
//!
//!     async fn cut(&self) -> bool {
//!         false
//!     }
//!
//!     async fn heal(&self) {}
//! }
//!
//! roomcast_testkit::bus_tests!(Local(SharedStore::new(MemoryStore::new()), LocalBus::new()));
//! ```

pub mod bus;
mod harness;
mod runtime;
pub mod store;

pub use async_trait::async_trait;
pub use harness::{StoreHarness, run};
