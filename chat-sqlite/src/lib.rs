//! A [`MessageStore`](roomcast_core::MessageStore) on SQLite: all rooms in one file, with full-text search and
//! retention.
//!
//! ```no_run
//! # async fn open() -> Result<(), roomcast_core::StoreError> {
//! use roomcast_sqlite::{Retention, SqliteStore};
//!
//! let store = SqliteStore::builder("chat.db")
//!     .retention(Retention { max_entries: Some(100_000), max_age: None })
//!     .open()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! One thread writes: what waits in its queue goes into one transaction, whichever rooms it is for, and is acknowledged
//! once that is committed. Other threads read, each with a connection of its own: single rows before pages of a log, so
//! that nobody waits for all those who catch up; one of them is for searches only, so that a slow search keeps nothing else
//! waiting.

mod append;
mod builder;
mod checkpoint;
mod error;
mod keys;
mod place;
mod read;
mod readers;
mod retention;
mod row;
mod schema;
mod search;
mod shared;
mod store;
mod words;
mod writer;

pub use builder::{Builder, Retention, Synchronous};
pub use store::SqliteStore;
