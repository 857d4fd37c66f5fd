//! The protocol's frames: `docs/PROTOCOL.md` in the repository describes them.

mod client;
mod field;
mod server;

#[cfg(fuzzing)]
pub(crate) use client::Rejected;
pub(crate) use client::{ClientFrame, History, RequestId, parse_plain, parse_v1};
pub(crate) use server::{
    GapReason, HelloRoom, Resume, ack, bye, deletion, edit, err, gap, hello, history, joined, left, message, pong,
    presence, presence_change,
};
