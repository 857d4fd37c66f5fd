//! As much of WebSocket's framing as the floor and the load program need. Headers are read by hand: millions a second.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A text frame's opcode.
pub(crate) const TEXT: u8 = 1;
/// A ping's opcode.
pub(crate) const PING: u8 = 9;

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

/// Counts frames in a stream of bytes, of which it keeps nothing but a header that was cut in two.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of a header.
    partial: Vec<u8>,
    /// How much of the present frame's payload is still to come.
    remaining: usize,
}

impl Frames {
    /// Tells of each frame that ends in these bytes; with its payload if all of it is here.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u8, Option<&[u8]>)) {
        loop {
            if self.remaining > 0 {
                let skipped = self.remaining.min(bytes.len());
                self.remaining -= skipped;
                bytes = &bytes[skipped..];
                if self.remaining > 0 {
                    return;
                }
                ended(TEXT, None);
            }
            if bytes.is_empty() {
                return;
            }
            let kept = self.partial.len();
            let header = if kept == 0 {
                Header::read(bytes)
            } else {
                // A server's header has 10 bytes at most.
                self.partial.extend_from_slice(&bytes[..bytes.len().min(10)]);
                Header::read(&self.partial)
            };
            let Some(header) = header else {
                if kept == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                return;
            };
            self.partial.clear();
            bytes = &bytes[header.size - kept..];
            match bytes.get(..header.payload) {
                Some(payload) => {
                    ended(header.opcode, Some(payload));
                    bytes = &bytes[header.payload..];
                }
                None => self.remaining = header.payload,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut stream = Vec::new();
        for length in [0, 1, 125, 126, 300, 70_000, 5] {
            push_text(&mut stream, &vec![b'x'; length]);
        }
        for piece in [1, 2, 3, 7, 100, 1000, stream.len()] {
            let (mut frames, mut count) = (Frames::default(), 0);
            for bytes in stream.chunks(piece) {
                frames.feed(bytes, |opcode, _| {
                    assert_eq!(opcode, TEXT);
                    count += 1;
                });
            }
            assert_eq!(count, 7, "in pieces of {piece}");
            assert!(frames.partial.is_empty() && frames.remaining == 0);
        }
    }

    #[test]
    fn a_whole_frame_is_given_with_its_payload() {
        let mut stream = Vec::new();
        push_text(&mut stream, b"hello");
        let mut seen = Vec::new();
        Frames::default().feed(&stream, |_, payload| seen.push(payload.map(<[u8]>::to_vec)));
        assert_eq!(seen, [Some(b"hello".to_vec())]);
    }
}
