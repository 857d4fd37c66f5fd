//! A chat engine that you embed in your own server: a [`Hub`] of rooms, each an append-only log in a store of your
//! choice, and WebSocket clients that never miss an entry.
//!
//! This crate gathers the others under one name: the engine, `roomcast-core`, is at the root; adapters are modules behind
//! features.
//!
//! # With no server yet
//!
//! The listener accepts clients by itself, at `/ws/{room_id}`. (Of tokio it needs the features `macros` and
//! `rt-multi-thread`.)
//!
#![cfg_attr(feature = "ws", doc = "```no_run")]
#![cfg_attr(not(feature = "ws"), doc = "```ignore")]
//! use roomcast::ws::{Listener, http::request::Parts};
//! use roomcast::{ErrorCode, Hub, MemoryStore, OpenPolicy, Refusal, User};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
//!     let auth = |request: &Parts| {
//!         let name = request.uri.query().and_then(|query| query.strip_prefix("user=")).unwrap_or("guest").to_owned();
//!         async { User::named(name).map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string())) }
//!     };
//!     Listener::bind("127.0.0.1:8080", hub, auth).await?.serve().await;
//!     Ok(())
//! }
//! ```
//!
//! Here anybody may claim any name. A real server reads a cookie or a token instead, and refuses who has none.
//!
//! # In an axum server
//!
//! With the feature `axum`, a handler takes a [`ChatUpgrade`](https://docs.rs/roomcast-ws/latest/roomcast_ws/struct.ChatUpgrade.html)
//! and says who the user is:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use std::collections::HashMap;
//!
//! use axum::extract::{Path, Query, State};
//! use axum::http::StatusCode;
//! use axum::response::{IntoResponse, Response};
//! use axum::{Router, routing::get};
//! use roomcast::{Hub, MemoryStore, OpenPolicy, User, ws::ChatUpgrade};
//!
//! type Pairs = HashMap<String, String>;
//!
//! async fn chat(State(hub): State<Hub>, Path(room): Path<String>, Query(query): Query<Pairs>, chat: ChatUpgrade) -> Response {
//!     // Here anybody may claim any name, with `?user=ann`. Ask your own login instead.
//!     match User::named(query.get("user").map_or("guest", String::as_str)) {
//!         Ok(user) => chat.room(room).serve(&hub, user).await,
//!         Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()).into_response(),
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
//!     let app = Router::new().route("/ws/{room}", get(chat)).with_state(hub);
//!     Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?)
//! }
//! ```
//!
//! # Then what
//!
//! - Speak for the server itself with [`Room::publish`], and read a room for an HTTP handler with [`Room::as_user`].
//! - Listen on the server's side by a [`Client`] of your own: [`Hub::serve`] it with a [`Connection`] that is a queue instead
//!   of a socket, and every entry of the room is handed to its writer, as in
//!   [`examples/bot.rs`](https://github.com/roomcast/roomcast/blob/main/examples/bot.rs). What may be said is better
//!   decided in a [`Policy`], which is asked before anything is stored.
//! - Decide who may do what with a [`Policy`] of your own; the attribute that it needs is
//!   [`async_trait`](macro@async_trait).
//! - Bound everything with [`Limits`].
//! - Let hubs on several machines share one store, and hear each other over a [`Bus`].
//! - Stop with [`Hub::shutdown`]: what was accepted is committed, and clients learn when to come back.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | `ws` (default) | the module `ws`, with a listener of its own |
//! | `axum`, `hyper` | the module `ws`, with entrances for these servers |
//! | `tls` | TLS for the listener |
//! | `sqlite` | the module `sqlite`: a store in one file, with search |
//! | `mongo` | the module `mongo`: a store on MongoDB, which several servers may share |
//! | `change-streams` | in the module `mongo`, a bus between the hubs of several servers, by the database itself |
//! | `nats` | the module `nats`: a bus between the hubs of several servers that share a store |
//! | `metrics` | figures through the `metrics` crate |

#[doc(inline)]
pub use roomcast_core::*;

/// WebSocket clients: the crate `roomcast-ws`.
#[cfg(any(feature = "ws", feature = "axum", feature = "hyper"))]
pub mod ws {
    /// The types of HTTP requests, as login code sees them.
    #[doc(no_inline)]
    pub use http;
    #[doc(inline)]
    pub use roomcast_ws::*;
}

/// A store in one SQLite file: the crate `roomcast-sqlite`.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    #[doc(inline)]
    pub use roomcast_sqlite::*;
}

/// A store on MongoDB: the crate `roomcast-mongo`.
#[cfg(feature = "mongo")]
pub mod mongo {
    #[doc(inline)]
    pub use roomcast_mongo::*;
}

/// A bus on NATS: the crate `roomcast-nats`.
#[cfg(feature = "nats")]
pub mod nats {
    #[doc(inline)]
    pub use roomcast_nats::*;
}

/// The examples of the README, so that they stay true.
#[cfg(all(doctest, feature = "ws"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The same for the README of the repository, which a package of this crate alone doesn't have.
#[cfg(all(doctest, feature = "ws", feature = "axum"))]
#[doc = include_str!("../../README.md")]
struct RepositoryReadme;
