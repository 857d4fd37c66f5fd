//! A [`Bus`](roomcast_core::Bus) on [NATS](https://nats.io): the hubs of several servers, which share a store, hear at once
//! what the others store.
//!
//! ```no_run
//! # async fn open(store: roomcast_core::MemoryStore) -> Result<(), Box<dyn std::error::Error>> {
//! use roomcast_core::{Hub, OpenPolicy};
//! use roomcast_nats::NatsBus;
//!
//! let bus = NatsBus::connect("nats://127.0.0.1:4222").await?;
//! let hub = Hub::builder(store, OpenPolicy).bus(bus).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`NatsBus::builder`] has the settings: several servers, how to sign in, TLS, the prefix of subjects.
//!
//! It needs NATS 2.2 or newer, a single server or a cluster. Core NATS alone: nothing is kept there, since the store is the truth.
//!
//! # Subjects
//!
//! | subject | carries |
//! |---|---|
//! | `roomcast.room.ROOM` | notices about a room, to the hubs with members in it; letters, digits, `-` and `_` of the id stand for themselves, each other byte is `=` and two hexadecimal digits |
//! | `roomcast.all` | notices to all hubs |
//! | `roomcast.nobody`, `roomcast.reply.>` | how a hub makes sure that the server has taken what was sent |
//!
//! `roomcast` is the prefix, which can be [set](Builder::prefix). Let nobody but the hubs publish on these subjects; a user of theirs
//! needs permission to publish and subscribe to `roomcast.>`, and nothing else.
//!
//! # When NATS is away
//!
//! The hub goes on: what is said on a node is stored and seen there, and what other nodes store is seen when heads are
//! compared ([`Limits::head_check`](roomcast_core::Limits::head_check)). The connection is made again without end, with pauses of up to
//! two seconds; a server that keeps silent is given up after six. Then the heads of all rooms with members are compared, and what
//! waited is sent, as well as what the server may not have got: up to 4,096 notices and 8 MiB, of which the last one of each room
//! is kept longest.
//!
//! Up to 1,024 notices of each room may wait to be taken in; if more come at once, they are read from the store. A notice larger than the
//! server's `max_payload` is dropped with a warning: notices have up to 128 KiB, the server's default is 1 MiB.
//!
//! Between the servers of a cluster it takes a moment until all know that a hub listens; 50 ms are waited for that.

mod answer;
mod builder;
mod bus;
mod link;
mod queue;
mod send;
mod shared;
mod subject;
mod tls;

pub use builder::{Builder, InvalidSetting};
pub use bus::NatsBus;
