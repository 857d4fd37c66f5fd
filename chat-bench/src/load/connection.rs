//! One connection of the load program.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::wire::{Frames, PING, TEXT, push_pong};

pub(super) struct Connection {
    stream: TcpStream,
    frames: Frames,
    /// The answer to the handshake, as far as it came; `None` once it is done.
    handshake: Option<Vec<u8>>,
    /// What the socket had no place for.
    waiting: Vec<u8>,
    /// Messages that arrived.
    pub(super) received: u64,
}

impl Connection {
    pub(super) fn open(registry: &Registry, number: usize, port: u16, room: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(([127, 0, 0, 1], port).into())?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let request = format!(
            "GET /ws/room{room} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        Ok(Self {
            stream,
            frames: Frames::default(),
            handshake: Some(Vec::new()),
            waiting: request.into_bytes(),
            received: 0,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Sends these bytes, behind those that wait.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all there is, and tells of each message that arrived.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut arrived: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let mut bytes = &buffer[..read];
            let answer;
            if let Some(handshake) = &mut self.handshake {
                handshake.extend_from_slice(bytes);
                let Some(end) = handshake.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                    continue;
                };
                answer = self.handshake.take().unwrap_or_default();
                if !answer.starts_with(b"HTTP/1.1 101") {
                    let said = String::from_utf8_lossy(&answer).into_owned();
                    return Err(io::Error::other(format!("the server refused a connection: {said}")));
                }
                bytes = &answer[end + 4..];
            }
            let (received, waiting) = (&mut self.received, &mut self.waiting);
            self.frames.feed(bytes, |opcode, payload| match opcode {
                TEXT => {
                    *received += 1;
                    arrived(payload);
                }
                PING => push_pong(waiting, payload.unwrap_or_default()),
                _ => {}
            });
            if read < buffer.len() {
                // There is nothing more; if there is, it is told.
                break;
            }
        }
        self.flush()
    }
}
