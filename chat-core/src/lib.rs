//! The engine of **roomcast**, a chat that you embed in your own server: rooms, their logs, and the delivery of what is
//! said there. It knows no network and no database; crates beside it bring both, behind [`Connection`] and
//! [`MessageStore`].
//!
//! # A room is a log
//!
//! Each room is an append-only log. Every message, edit and deletion is an [`Entry`] with a `seq`, dense from 1. What
//! members see is the log, in order: it is committed to the store first, then sent to the members, and then acknowledged to
//! the sender. A client that keeps its [`Cursor`] and comes back sees every committed entry after it once, in order.
//!
//! # A hub in a few lines
//!
//! ```
//! use roomcast_core::{Draft, HistoryRange, Hub, MemoryStore, OpenPolicy, RoomId, User};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
//!
//! // The server's own voice; everybody in the room hears it.
//! let lobby = hub.room(RoomId::new("lobby")?);
//! lobby.publish(&User::named("bot")?, Draft::text("welcome")).await?;
//!
//! // As a user, with the policy asked: for HTTP handlers.
//! let ann = lobby.as_user(User::named("ann")?);
//! let page = ann.history(HistoryRange::Newest, Some(10)).await?;
//! assert_eq!(page.messages[0].content.as_deref(), Some("welcome"));
//!
//! // Commits what was accepted, says goodbye to every client, and closes the store.
//! assert!(hub.shutdown(std::time::Duration::from_secs(10)).await.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! A transport makes a [`Client`] of each request, lets it in with [`Hub::admit`], and gives its connection to
//! [`Admission::serve`]. The crate `roomcast-ws` does that for WebSockets.
//!
//! # What is yours to choose
//!
//! | trait | what it decides | comes with |
//! |---|---|---|
//! | [`MessageStore`] | where logs are kept | [`MemoryStore`]; `roomcast-sqlite`, `roomcast-mongo` |
//! | [`Connection`] | how frames travel | `roomcast-ws` |
//! | [`Policy`] | who may do what | [`OpenPolicy`] |
//! | [`Bus`] | how hubs on several nodes hear of each other | none; [`LocalBus`] |
//! | [`Clock`], [`IdSource`] | time and names | [`SystemClock`], [`RandomIds`] |
//!
//! [`Limits`] bounds everything, and is on by default.
//!
//! # Who is there
//!
//! A client that asks for it ([`Client::presence`]) is told who is in a room and who comes and goes, on all nodes; the embedding
//! server asks with [`Room::presence`]. Rooms about which nobody asks cost nothing.
//!
//! # Figures for operators
//!
//! With the feature `metrics`, through the facade of that name: the gauges `roomcast_connections` and `roomcast_rooms` (in
//! use); the counters `roomcast_frames_in_total`, `roomcast_frames_out_total`, `roomcast_entries_committed_total`,
//! `roomcast_lags_total` (members that fell behind), `roomcast_notices_in_total` and
//! `roomcast_notices_out_total` (of the bus), `roomcast_repairs_total` (readings of the store that a bus was the reason of), `roomcast_caught_up_frames_total`, `roomcast_closes_total` by `reason`
//! and `roomcast_refusals_total` by `code`; the histograms `roomcast_commit_entries` and `roomcast_commit_seconds`.
//! Spans and events go to `tracing`; what is said in rooms is in none of them.

#[doc(hidden)]
#[cfg(feature = "bench")]
pub mod bench;
#[doc(hidden)]
#[cfg(feature = "bugs")]
pub mod bugs;
#[cfg(not(feature = "bugs"))]
mod bugs;
mod bus;
mod client;
mod connection;
mod cursor;
mod engine;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod id;
mod limits;
mod log;
mod memory;
mod message;
mod metrics;
mod outbox;
mod policy;
mod presence;
#[doc(hidden)]
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(all(test, not(roomcast_loom)))]
mod properties;
mod rate;
mod refusal;
mod room;
mod session;
mod stop;
mod store;
mod sync;
mod time;
mod verbs;
mod weight;
mod wire;

/// For implementations of [`Policy`], [`MessageStore`] and [`MessageSearch`]; see there.
pub use async_trait::async_trait;
pub use bus::{Bus, BusError, Inbox, LocalBus, Notice};
pub use bytes::Bytes;
pub use client::{Client, Protocol};
pub use connection::{CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
pub use cursor::{Cursor, Start};
pub use hub::{Admission, Hub, HubBuilder, HubStats, ShutdownReport};
pub use id::{Epoch, IdSource, InvalidName, MAX_SEQ, MessageId, Nonce, RandomIds, RoomId, User, UserId, UserName};
pub use limits::{InvalidLimit, Limits, QueueLimit, Rate};
pub use log::Receipt;
pub use memory::MemoryStore;
pub use message::{Deletion, Draft, Edit, Entry, Fingerprint, JsonObject, Message};
pub use policy::{Denied, OpenPolicy, Policy};
pub use presence::Presence;
pub use refusal::{CloseCode, ErrorCode, Refusal};
pub use room::{Room, RoomAsUser};
pub use session::Ended;
pub use store::{
    Appended, Change, HistoryPage, HistoryRange, LogPage, MessageSearch, MessageStore, NewEntry, Outcome, PageLimit,
    RoomHead, RoomInfo, Sent, StoreError, StoreErrorKind, search_words,
};
pub use time::{Clock, SystemClock, Timestamp};
