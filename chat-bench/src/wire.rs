//! As much of WebSocket's framing as the floor and the load program need. Headers are read by hand: millions a second.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The subprotocol that `docs/PROTOCOL.md` describes.
pub(crate) const V1: &str = "chat.v1.json";

/// A text frame's opcode.
pub(crate) const TEXT: u8 = 1;
/// A ping's opcode.
pub(crate) const PING: u8 = 9;

/// What a client asks for first, perhaps with this subprotocol.
pub(crate) fn handshake(port: u16, target: &str, subprotocol: Option<&str>) -> String {
    let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
        subprotocol.unwrap_or_default()
    )
}

/// What the first bytes of a frame say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) opcode: u8,
    /// The key, if the frame is masked.
    pub(crate) mask: Option<[u8; 4]>,
    /// How long the header is itself.
    pub(crate) size: usize,
    /// Length of the payload.
    pub(crate) payload: usize,
}

impl Header {
    /// `None` if there aren't enough bytes yet.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (payload, mut size) = match second & 0x7f {
            126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(bytes.get(size..size + 4)?.try_into().ok()?);
            size += 4;
        }
        Some(Self {
            opcode: first & 0x0f,
            mask,
            size,
            payload,
        })
    }
}

/// Adds a text frame, as a server sends it.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push(out, OpCode::Data(Data::Text), text, false);
}

/// Adds a text frame, as a client sends it. The mask is all zeroes, so masking costs nothing.
pub(crate) fn push_masked_text(out: &mut Vec<u8>, text: &[u8]) {
    push(out, OpCode::Data(Data::Text), text, true);
}

/// Adds a client's answer to a ping.
pub(crate) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, OpCode::Control(Control::Pong), payload, true);
}

fn push(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], masked: bool) {
    let header = FrameHeader {
        opcode,
        mask: masked.then_some([0; 4]),
        ..FrameHeader::default()
    };
    header
        .format(payload.len() as u64, out)
        .expect("a vector takes everything");
    out.extend_from_slice(payload);
}

/// So much of the beginning of a payload is looked at: what a message is, and when it was due, stands there.
pub(crate) const START: usize = 256;

/// Finds the frames in a stream of bytes, of which it keeps nothing but the beginning of one that was cut in two.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The header and the start of the present frame, as far as they came; empty between frames.
    partial: Vec<u8>,
    /// How much of its payload is still to come once its start is here.
    remaining: usize,
}

impl Frames {
    /// Tells of each frame that ends in these bytes: its opcode, and the first [`START`] bytes of its payload.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u8, &[u8])) {
        if self.remaining > 0 {
            if bytes.len() < self.remaining {
                self.remaining -= bytes.len();
                return;
            }
            bytes = &bytes[self.remaining..];
            self.remaining = 0;
            self.end(&mut ended);
        } else if !self.partial.is_empty() {
            while start_of(&self.partial).is_none() {
                // How much is missing is known once the header is here.
                let whole = Header::read(&self.partial).map(|header| header.size + header.payload.min(START));
                let missing = whole.map_or(1, |whole| whole - self.partial.len());
                let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                if taken.is_empty() {
                    return;
                }
                self.partial.extend_from_slice(taken);
                bytes = rest;
            }
            bytes = self.skip(bytes);
            if self.remaining > 0 {
                return;
            }
            self.end(&mut ended);
        }
        while !bytes.is_empty() {
            match start_of(bytes) {
                Some((header, start)) if bytes.len() >= header.size + header.payload => {
                    ended(header.opcode, start);
                    bytes = &bytes[header.size + header.payload..];
                }
                Some((header, start)) => {
                    let kept = header.size + start.len();
                    self.partial.extend_from_slice(&bytes[..kept]);
                    self.skip(&bytes[kept..]);
                    return;
                }
                None => {
                    self.partial.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// Passes over the rest of the frame whose start is here, and returns what is behind it.
    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (header, start) = start_of(&self.partial).expect("it is here");
        let rest = header.payload - start.len();
        let skipped = rest.min(bytes.len());
        self.remaining = rest - skipped;
        &bytes[skipped..]
    }

    fn end(&mut self, ended: &mut impl FnMut(u8, &[u8])) {
        let (header, start) = start_of(&self.partial).expect("it is here");
        ended(header.opcode, start);
        self.partial.clear();
    }
}

/// A frame's header and the start of its payload, if both are here.
fn start_of(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let header = Header::read(bytes)?;
    let start = bytes.get(header.size..header.size + header.payload.min(START))?;
    Some((header, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (length, letter) in [0, 1, 125, 126, 256, 257, 300, 70_000, 5].into_iter().zip(b'a'..) {
            push_text(&mut stream, &vec![letter; length]);
            expected.push(vec![letter; length.min(START)]);
        }
        for piece in [1, 2, 3, 7, 100, 1000, stream.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                frames.feed(bytes, |opcode, start| {
                    assert_eq!(opcode, TEXT);
                    found.push(start.to_vec());
                });
            }
            assert_eq!(found, expected, "in pieces of {piece}");
            assert!(frames.partial.is_empty() && frames.remaining == 0);
        }
    }

    #[test]
    fn a_frame_is_told_when_it_ends_and_not_before() {
        let mut stream = Vec::new();
        push_text(&mut stream, &[b'x'; 1000]);
        let (mut frames, mut count) = (Frames::default(), 0);
        let (most, last) = stream.split_at(stream.len() - 1);
        frames.feed(most, |_, _| count += 1);
        assert_eq!(count, 0);
        frames.feed(last, |_, _| count += 1);
        assert_eq!(count, 1);
    }
}
