//! One client of the crowd.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::wrong;
use crate::wire::{Header, PING, TEXT, V1, handshake, push_masked_text, push_pong};

/// A close frame's opcode.
const CLOSE: u8 = 8;

/// What a client at the other end of a network lets wait: on the loopback, whose segments have 64 KB, the system would take
/// megabytes for each.
const SEGMENT: u32 = 1448;
const WAITING: usize = 32 << 10;

/// How a client comes.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
    /// Whether it asks for `chat.v1.json`.
    pub(super) v1: bool,
    /// Whether the system keeps as little for it as over a network.
    pub(super) distant: bool,
}

pub(super) struct Member {
    stream: TcpStream,
    is_open: bool,
    /// What was read and isn't a whole frame yet, or a whole answer to the handshake.
    input: Vec<u8>,
    /// What the socket had no place for.
    waiting: Vec<u8>,
    pub(super) is_reading: bool,
    /// How many messages it was sent.
    pub(super) messages: u64,
    /// The number of the newest one.
    pub(super) seq: u64,
    /// How many numbers were left out between the first and the newest one.
    pub(super) missed: u64,
}

/// What a client was sent.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Message(&'a [u8]),
    /// A frame of `chat.v1.json` that is no message.
    Frame(&'a [u8]),
}

impl Member {
    pub(super) fn come(registry: &Registry, number: usize, arrival: &Arrival) -> io::Result<Self> {
        let Arrival {
            port,
            target,
            v1,
            distant,
        } = arrival;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if *distant {
            socket.set_tcp_mss(SEGMENT)?;
            socket.set_recv_buffer_size(WAITING)?;
        }
        match socket.connect(&SocketAddr::from(([127, 0, 0, 1], *port)).into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let request = handshake(*port, target, v1.then_some(V1));
        Ok(Self {
            stream,
            is_open: false,
            input: Vec::new(),
            waiting: request.into_bytes(),
            is_reading: true,
            messages: 0,
            seq: 0,
            missed: 0,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sends a text frame, behind what waits.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        push_masked_text(&mut self.waiting, text.as_bytes());
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

    /// Reads all there is, unless it isn't reading, and tells of each frame.
    pub(super) fn read(&mut self, buffer: &mut [u8], heard: &mut impl FnMut(Heard<'_>)) -> io::Result<()> {
        while self.is_reading {
            match self.stream.read(buffer) {
                Ok(0) => return Err(wrong("the server closed a connection")),
                Ok(read) if self.input.is_empty() => {
                    let used = self.take(&buffer[..read], heard)?;
                    self.input.extend_from_slice(&buffer[used..read]);
                }
                Ok(read) => {
                    let mut input = std::mem::take(&mut self.input);
                    input.extend_from_slice(&buffer[..read]);
                    let used = self.take(&input, heard)?;
                    input.drain(..used);
                    if !input.is_empty() {
                        self.input = input;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    /// Takes the whole frames at the beginning of these bytes, and says how long they are.
    fn take(&mut self, bytes: &[u8], heard: &mut impl FnMut(Heard<'_>)) -> io::Result<usize> {
        let mut used = 0;
        if !self.is_open {
            let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return Ok(0);
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let said = String::from_utf8_lossy(bytes);
                return Err(wrong(format!("the server refused a connection: {said}")));
            }
            self.is_open = true;
            used = end + 4;
        }
        while let Some(header) = Header::read(&bytes[used..])
            && let Some(payload) = bytes[used..].get(header.size..header.size + header.payload)
        {
            used += header.size + header.payload;
            match header.opcode {
                TEXT => self.hear(payload, heard),
                PING => push_pong(&mut self.waiting, payload),
                CLOSE => {
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(wrong(format!("the server closes a connection: {reason}")));
                }
                _ => {}
            }
        }
        Ok(used)
    }

    fn hear(&mut self, text: &[u8], heard: &mut impl FnMut(Heard<'_>)) {
        if text.starts_with(br#"{"t":"#) {
            return heard(Heard::Frame(text));
        }
        let seq = number(text, br#""seq":"#).unwrap_or_default();
        if self.messages > 0 {
            self.missed += seq.saturating_sub(self.seq + 1);
        }
        self.messages += 1;
        self.seq = seq;
        heard(Heard::Message(text));
    }
}

/// A connect that isn't done at once, on Linux, where alone this runs.
const IN_PROGRESS: i32 = 115;

/// The number behind the first place where this is said.
fn number(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = text.windows(name.len()).position(|bytes| bytes == name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    std::str::from_utf8(&text[at..at + digits.count()]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        let text = br#"{"id":"x","seq":417,"user":{}}"#;
        assert_eq!(number(text, br#""seq":"#), Some(417));
        assert_eq!(number(text, br#""head":"#), None);
        assert_eq!(number(br#"{"seq":"x"}"#, br#""seq":"#), None);
    }
}
