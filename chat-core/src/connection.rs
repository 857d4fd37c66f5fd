//! The contract of a transport: how frames come and go.

use std::error::Error;
use std::future::Future;

use bytes::Bytes;

/// One client's connection, as a transport brings it: text frames in both directions.
///
/// The hub splits it and drives both halves from one task, so neither half ever waits for the other: reading goes on
/// while a write is stuck, and the other way round. Whichever half's waker is called, both are polled.
pub trait Connection: Send + 'static {
    /// The half that reads.
    type Reader: ConnectionReader;
    /// The half that writes.
    type Writer: ConnectionWriter;

    /// Takes the connection apart.
    fn split(self) -> (Self::Reader, Self::Writer);
}

/// The half of a [`Connection`] that reads.
pub trait ConnectionReader: Send + 'static {
    /// Waits for what the client sends next.
    ///
    /// The hub keeps the future until it is ready, unless the connection is to end. Then it may drop one, and call again
    /// only to see the client hang up: so the part of a frame that a dropped future had read may be lost, but not
    /// that the connection was closed or broke. After [`Inbound::TooLarge`] it is called on in the same way. After
    /// [`Inbound::Closed`] or an error it is not called again.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] if the connection broke.
    fn recv(&mut self) -> impl Future<Output = Result<Inbound, ConnectionError>> + Send;
}

/// The half of a [`Connection`] that writes.
pub trait ConnectionWriter: Send + 'static {
    /// Sends these text frames in order and flushes once, after the last. Ready when all of it was handed to the
    /// transport below (the kernel, say).
    ///
    /// If the future is dropped before, the connection is given up: nothing but [`close`](Self::close) is called after,
    /// which must not write into the middle of a frame.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] if the connection broke.
    fn send(&mut self, frames: &[Bytes]) -> impl Future<Output = Result<(), ConnectionError>> + Send;

    /// Asks the client for a sign of life, as soon as what was sent before is flushed. The answer comes as
    /// [`Inbound::Pong`]. `Ok(false)` if the transport has no such thing; then silence is not taken for death. If the future
    /// is dropped, the same goes as for [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] if the connection broke.
    fn ping(&mut self) -> impl Future<Output = Result<bool, ConnectionError>> + Send;

    /// Says goodbye in the transport's own way and flushes. Nothing is sent after. The hub then goes on calling
    /// [`recv`](ConnectionReader::recv) for a moment, until `Closed` or an error, and drops both halves.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] if the connection broke.
    fn close(&mut self, close: &CloseFrame) -> impl Future<Output = Result<(), ConnectionError>> + Send;
}

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inbound {
    /// A text frame. It needs not be valid UTF-8: the hub checks.
    Text(Bytes),
    /// A binary frame, which the protocol refuses.
    Binary,
    /// A frame larger than the transport allows. What follows needn't be read as frames any more: the hub closes the
    /// connection, and waits for [`Closed`](Self::Closed) or an error.
    TooLarge,
    /// The client pinged; the transport answers by itself.
    Ping,
    /// The client answered a ping.
    Pong,
    /// A piece of a text frame came whose end is still to come: a sign of life, and nothing more. A transport that puts
    /// messages together says so for each piece, so that the hub can count them.
    Fragment,
    /// The client closed the connection, and no frame follows.
    Closed,
}

/// How a connection is closed: [`CloseCode`](crate::CloseCode)'s number, and a word that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code, as on the wire.
    pub code: u16,
    /// The reason, at most 123 bytes (what a WebSocket's close frame has room for).
    pub reason: std::borrow::Cow<'static, str>,
}

/// The connection broke: a reset, a time-out, a violation of the transport's own protocol.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke")]
pub struct ConnectionError {
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl ConnectionError {
    /// Wraps the transport's own error.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}
