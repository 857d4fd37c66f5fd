//! WebSocket for **roomcast**: how clients of an embedded chat get in, and how their frames travel.
//!
//! Four entrances lead into a hub. They share one handshake, so that they check and answer alike:
//!
//! | you have | you take | feature |
//! |---|---|---|
//! | an axum server | `ChatUpgrade`, an extractor | `axum` |
//! | any other server on hyper | `Upgrader` | `hyper` |
//! | no server yet | `Listener`, with or without `Tls` | `listener` (default), `tls` |
//! | a stream that is upgraded already | [`WebSocket`] | - |
//!
//! # What is checked
//!
//! A request that is turned down gets an HTTP answer with the body `{"error":"code","message":"…"}`:
//!
//! | status | code | because of |
//! |---|---|---|
//! | 400 | `bad_request` | no upgrade to a WebSocket, no `Host` or several, a wrong room id, a wrong `since` or `last`, no room without `chat.v1.json` |
//! | 401 | `unauthenticated` | the login, of the embedder |
//! | 403 | `bad_origin`, `forbidden` | a page of another origin (`Origins`); the policy |
//! | 404 | `not_found`, `unknown_room` | another path (the listener); a room that has to exist |
//! | 405, 426 | `bad_request` | another method than GET; another version than 13 |
//! | 429 | `rate_limited` | the hub's limits; with `Retry-After` |
//! | 503 | `unavailable` | a full or draining hub, or a login that takes too long; with `Retry-After` |
//!
//! The subprotocol `chat.v1.json` selects the full protocol; without it the client talks plainly. The query may hold
//! `since=EPOCH:SEQ` (begin after that entry) or `last=N` (begin with the last N messages), and `presence=1` (be told who is there); other keys are the embedder's.
//!
//! Everything up to the 101 has to happen within [`Limits::handshake`](roomcast_core::Limits::handshake).

#[cfg(feature = "listener")]
mod authenticate;
#[cfg(feature = "axum")]
mod axum;
mod bugs;
#[cfg(all(fuzzing, feature = "listener"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "hyper")]
mod handshake;
#[cfg(feature = "hyper")]
mod listen;
#[cfg(feature = "listener")]
mod listener;
#[cfg(feature = "hyper")]
mod origin;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "hyper")]
mod upgraded;
#[cfg(feature = "hyper")]
mod upgrader;
#[cfg(feature = "hyper")]
mod visitor;
mod websocket;

#[cfg(feature = "listener")]
pub use authenticate::Authenticate;
#[cfg(feature = "axum")]
pub use axum::{ChatUpgrade, ChatUpgradeRejection};
#[cfg(feature = "hyper")]
pub use handshake::refusal_response;
#[cfg(feature = "hyper")]
pub use listen::listen;
#[cfg(feature = "listener")]
pub use listener::Listener;
#[cfg(feature = "hyper")]
pub use origin::{InvalidOrigin, Origins};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
#[cfg(feature = "hyper")]
pub use upgrader::Upgrader;
#[cfg(feature = "hyper")]
pub use visitor::Visitor;
pub use websocket::{WebSocket, WebSocketReader, WebSocketWriter, WsConfig};
