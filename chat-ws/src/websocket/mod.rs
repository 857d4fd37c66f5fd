//! A WebSocket as a [`Connection`], on any stream that was upgraded already.

mod frame;
mod link;
mod parser;
mod reader;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use roomcast_core::{Connection, Limits};
use tokio::io::{AsyncRead, AsyncWrite};

pub use reader::WebSocketReader;
pub use writer::WebSocketWriter;

/// What one WebSocket may use.
///
/// ```
/// # use roomcast_ws::WsConfig;
/// let mut config = WsConfig::default();
/// config.message_bytes = 4 * 1024;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsConfig {
    /// The largest message that is taken, in bytes: 64 KiB. A larger one is
    /// [`Inbound::TooLarge`](roomcast_core::Inbound::TooLarge).
    pub message_bytes: usize,
    /// How much of a batch is put together for one write, in bytes: 64 KiB. The memory is given back after the write.
    pub write_chunk: usize,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 10,
            write_chunk: 64 << 10,
        }
    }
}

impl WsConfig {
    /// What follows from a hub's limits.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            message_bytes: limits.message_bytes,
            ..Self::default()
        }
    }
}

/// The server's side of a WebSocket, on a stream that was upgraded already.
///
/// The entrances make it; [`from_upgraded`](Self::from_upgraded) is for servers that upgrade by themselves. It speaks RFC 6455
/// without extensions:
///
/// - A batch of frames is written in as few writes as its size allows, with one flush after the last.
/// - Fragmented messages are put together. Text is checked to be UTF-8.
/// - Pings are answered at once, or after the frame that is being written; of several unanswered ones only the newest is.
/// - A close frame is answered with its own code, and is [`Inbound::Closed`](roomcast_core::Inbound::Closed) once the answer
///   is sent.
/// - A client that breaks the protocol gets a close frame (1002, or 1007 if text isn't UTF-8), a second to read it, and is an
///   error of [`recv`](roomcast_core::ConnectionReader::recv) then.
/// - After a message above the limit everything is thrown away but the client's close frame. A client that is still sending
///   gets to read the 1009 because of that: the end of a connection with unread bytes would be a reset.
/// - [`close`](roomcast_core::ConnectionWriter::close) leaves out a code that may not stand on the wire, and cuts a reason
///   of more than 123 bytes at a character.
///
/// # Memory
///
/// An idle connection has no buffer in either direction; both halves together take about 300 bytes besides the stream's own (a TLS
/// session has buffers of its own, of several KiB). While a message comes in, it takes as much as arrived of it. A batch that goes out
/// takes at most [`WsConfig::write_chunk`] during the write, and nothing while the stream is not ready for more. After
/// that all of it is given back to the allocator.
///
/// # Cancel safety
///
/// `recv` may be dropped at any time and called again. `send` may not be continued after it was dropped; if that was within
/// a frame, `send` and `ping` refuse to go on, and `close` ends the stream without a close frame and says so with an error.
///
/// # Wake-ups
///
/// Both halves belong to one task, as the hub drives them.
#[derive(Debug)]
pub struct WebSocket<S> {
    reader: WebSocketReader<S>,
    writer: WebSocketWriter<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocket<S> {
    /// Goes on after the 101: with the stream, and with what was read from it behind the request.
    #[must_use]
    pub fn from_upgraded(io: S, leftover: Bytes, config: &WsConfig) -> Self {
        let shared = Arc::new(Mutex::new(link::Link::new(io)));
        Self {
            reader: WebSocketReader::new(Arc::clone(&shared), &leftover, config.message_bytes),
            writer: WebSocketWriter::new(shared, config.write_chunk),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for WebSocket<S> {
    type Reader = WebSocketReader<S>;
    type Writer = WebSocketWriter<S>;

    fn split(self) -> (Self::Reader, Self::Writer) {
        (self.reader, self.writer)
    }
}
