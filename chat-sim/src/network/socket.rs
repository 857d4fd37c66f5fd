//! The real WebSocket on the hub's side, and on the client's tungstenite, which reads with its own eyes, and frames written by
//! hand.

use std::io::{self, Read, Write};
use std::sync::Arc;

use roomcast_core::{
    Admission, Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound,
};
use roomcast_ws::{WebSocket, WebSocketReader, WebSocketWriter, WsConfig};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket as Tungstenite, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use tokio_util::sync::CancellationToken;

use super::pipe::{Pipe, ServerEnd};
use super::{Down, Leave, Line, Up, broken, odd};
use crate::oracle::Event;
use crate::rng::Rng;
use crate::world::Node;

/// The hub's end.
struct HubEnd {
    socket: WebSocket<ServerEnd>,
    pipe: Arc<Pipe>,
    line: Line,
    power: CancellationToken,
}

struct HubReader {
    inner: WebSocketReader<ServerEnd>,
    line: Line,
}

struct HubWriter {
    inner: WebSocketWriter<ServerEnd>,
    pipe: Arc<Pipe>,
    line: Line,
    power: CancellationToken,
}

/// The client's end.
pub(crate) struct Client {
    line: Line,
    pipe: Arc<Pipe>,
    socket: Tungstenite<Stream>,
    rng: Rng,
    limit: usize,
}

/// A connection that lives as long as its hub, and is served by it.
pub(super) fn connect(line: Line, node: &Node, admission: Admission, rng: Rng) -> Client {
    let pipe = Pipe::new(line.clone(), rng.fork());
    let mut config = WsConfig::of(node.hub.limits());
    config.write_chunk = *rng.pick(&[100, 1_000, 64 << 10, 64 << 10]);
    // What the client says first may have come with its request.
    let first = if rng.chance(100) {
        odd::whole(&rng, odd::PING, b"first")
    } else {
        Vec::new()
    };
    let hub_end = HubEnd {
        socket: WebSocket::from_upgraded(ServerEnd::new(pipe.clone()), first.into(), &config),
        pipe: pipe.clone(),
        line: line.clone(),
        power: node.power.clone(),
    };
    let (served, power) = (pipe.clone(), node.power.clone());
    node.hub.spawn(async move {
        let mut serving = std::pin::pin!(admission.serve(hub_end));
        tokio::select! {
            biased;
            () = power.cancelled() => served.reset(true),
            _ended = &mut serving => return,
        }
        serving.await;
    });
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(0);
    Client {
        socket: Tungstenite::from_raw_socket(Stream(pipe.clone()), Role::Client, Some(config)),
        line,
        pipe,
        rng,
        limit: node.hub.limits().message_bytes,
    }
}

impl Connection for HubEnd {
    type Reader = HubReader;
    type Writer = HubWriter;

    fn split(self) -> (HubReader, HubWriter) {
        let Self {
            socket,
            pipe,
            line,
            power,
        } = self;
        let (reader, writer) = socket.split();
        let reader = HubReader {
            inner: reader,
            line: line.clone(),
        };
        let writer = HubWriter {
            inner: writer,
            pipe,
            line,
            power,
        };
        (reader, writer)
    }
}

impl ConnectionReader for HubReader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        let inbound = self.inner.recv().await?;
        if let Inbound::Text(text) = &inbound {
            self.line.read(text);
        }
        Ok(inbound)
    }
}

impl ConnectionWriter for HubWriter {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        if self.power.is_cancelled() {
            return Err(broken());
        }
        let _took = self.line.writing(&self.power);
        self.line.handed(frames);
        let Line { world, conn, .. } = &self.line;
        let conn = *conn;
        for bytes in frames {
            let frame = &*self.line.frame(bytes)?;
            world.see(&Event::Wrote { conn, frame });
        }
        self.inner.send(frames).await
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        self.inner.ping().await
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        if self.power.is_cancelled() {
            return Err(broken());
        }
        self.line.closing(close.code);
        self.pipe.breaks_soon(false, 20);
        self.inner.close(close).await
    }
}

/// The stream as tungstenite has it.
struct Stream(Arc<Pipe>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_down(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_up(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn send(&mut self, up: &Up) {
        let rng = &self.rng;
        let bytes = match up {
            Up::Text(text) if rng.chance(150) => odd::in_fragments(rng, text.as_bytes()),
            Up::Text(text) => odd::whole(rng, odd::TEXT, text.as_bytes()),
            Up::Binary => odd::whole(rng, odd::BINARY, b"{}"),
            Up::TooLarge => odd::too_large(rng, self.limit),
            Up::Broken => odd::broken(rng),
            Up::Ping => odd::whole(rng, odd::PING, &vec![b'p'; rng.size(0, 125)]),
        };
        self.put(&bytes);
    }

    fn put(&self, bytes: &[u8]) {
        // Who sends doesn't learn whether it arrives.
        let _ = self.pipe.send_up(bytes);
    }

    pub(super) fn leave(&mut self, how: Leave) {
        let rng = &self.rng;
        match how {
            Leave::Politely => {
                self.pipe.breaks_soon(true, 6);
                // With what the socket still wants to write behind it, as a well-made client does.
                let _ = self.socket.close(None);
            }
            Leave::MidFrame => {
                let frame = odd::whole(rng, *rng.pick(&[odd::TEXT, odd::PING, odd::CLOSE]), &[b'x'; 100]);
                self.put(&frame[..rng.size(1, frame.len() - 1)]);
            }
            Leave::ByHalf | Leave::Abruptly => {}
        }
        if !matches!(how, Leave::Politely) {
            self.pipe.end_up();
        }
    }

    pub(super) async fn recv(&mut self) -> Down {
        let (world, conn) = (self.line.world.clone(), self.line.conn);
        loop {
            let garbled = match self.socket.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(&text) {
                    Ok(frame) => return Down::Frame(Box::new(frame)),
                    Err(error) => format!("{error} in {text}"),
                },
                Ok(Message::Close(close)) => {
                    // The answer goes out, if it still can.
                    let _ = self.socket.flush();
                    return Down::Close(close.map_or(1005, |close| close.code.into()));
                }
                // Answered with the next read.
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pipe.readable().await;
                    continue;
                }
                Err(
                    Error::Io(_)
                    | Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => return Down::Gone,
                other => format!("{other:?}"),
            };
            world.see(&Event::Garbled { conn, what: &garbled });
            return Down::Gone;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pipe.hang_up();
    }
}
