//! One connection of the load program.

use std::io::{self, Read, Write};
use std::ops::Range;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::dialect::{Dialect, Heard};
use crate::wire::{Frames, PING, TEXT, push_masked_text, push_pong};

pub(super) struct Connection {
    stream: TcpStream,
    dialect: Dialect,
    state: State,
    /// What is to be said to the server's welcome.
    joins: Vec<String>,
    frames: Frames,
    /// What the socket had no place for.
    waiting: Vec<u8>,
    /// Messages that arrived.
    pub(super) received: u64,
}

enum State {
    /// The answer to the handshake, as far as it came.
    Handshake(Vec<u8>),
    /// So many joins aren't answered yet.
    Joining(usize),
    Open,
    Closed,
}

impl Connection {
    /// Begins to open a connection that will be in these rooms.
    pub(super) fn open(
        registry: &Registry,
        number: usize,
        port: u16,
        dialect: Dialect,
        rooms: Range<usize>,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(([127, 0, 0, 1], port).into())?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            dialect,
            state: State::Handshake(Vec::new()),
            joins: dialect.joins(rooms.clone()),
            frames: Frames::default(),
            waiting: dialect.request(port, rooms).into_bytes(),
            received: 0,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the server closed it.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Sends these bytes, behind those that wait.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() && !self.is_closed() {
            match self.stream.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => break,
                Err(error) => self.broken(error)?,
            }
        }
        Ok(())
    }

    /// Reads all there is, and tells of each message that arrived: how it begins. `ends` if it is known that the server will send
    /// nothing more.
    pub(super) fn read(&mut self, buffer: &mut [u8], ends: bool, mut arrived: impl FnMut(&[u8])) -> io::Result<()> {
        while !self.is_closed() {
            match self.stream.read(buffer) {
                Ok(0) => self.broken(io::ErrorKind::ConnectionReset.into())?,
                Ok(read) => {
                    self.take(&buffer[..read], &mut arrived)?;
                    if read < buffer.len() && !ends {
                        // There is nothing more; what comes now is told, but an end that was there before isn't.
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.broken(error)?,
            }
        }
        self.flush()
    }

    /// One that was open before is closed from now on; one that couldn't be opened is an error.
    fn broken(&mut self, error: io::Error) -> io::Result<()> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if self.is_open() && matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) {
            self.state = State::Closed;
            return Ok(());
        }
        let what = if self.is_open() { "breaks" } else { "isn't opened" };
        Err(io::Error::other(format!("a connection {what}: {error}")))
    }

    fn take(&mut self, bytes: &[u8], arrived: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let State::Handshake(answer) = &mut self.state else {
            return self.take_frames(bytes, arrived);
        };
        answer.extend_from_slice(bytes);
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(());
        };
        let answer = std::mem::take(answer);
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(refused(&answer));
        }
        self.state = match self.joins.len() {
            0 => State::Open,
            joins => State::Joining(joins),
        };
        self.take_frames(&answer[end + 4..], arrived)
    }

    fn take_frames(&mut self, bytes: &[u8], arrived: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut done = Ok(());
        self.frames.feed(bytes, |opcode, start| match opcode {
            TEXT => match self.dialect.hear(start) {
                Heard::Message => {
                    self.received += 1;
                    arrived(start);
                }
                Heard::Welcome => {
                    for join in self.joins.drain(..) {
                        push_masked_text(&mut self.waiting, join.as_bytes());
                    }
                }
                Heard::Joined => {
                    if let State::Joining(left) = &mut self.state {
                        *left -= 1;
                        if *left == 0 {
                            self.state = State::Open;
                        }
                    }
                }
                Heard::Ping => push_masked_text(&mut self.waiting, self.dialect.pong().as_bytes()),
                Heard::Refused => done = Err(refused(start)),
                Heard::Other => {}
            },
            PING => push_pong(&mut self.waiting, start),
            _ => {}
        });
        done
    }
}

fn refused(answer: &[u8]) -> io::Error {
    io::Error::other(format!("the server refuses: {}", String::from_utf8_lossy(answer)))
}
