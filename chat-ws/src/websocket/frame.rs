//! What the server sends: frames from shared bytes, encoded where they are needed and kept nowhere.

use bytes::Bytes;
use roomcast_core::CloseFrame;
use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

/// The longest header of a server's frame, which is never masked.
const MAX_HEADER: usize = 10;

/// The longest reason: the payload of a control frame has 125 bytes, and the code takes two.
const MAX_REASON: usize = 123;

/// The header of a control frame, at the front of the array, and its length.
fn control_header(opcode: Control, length: usize) -> ([u8; MAX_HEADER], usize) {
    let header = FrameHeader {
        opcode: OpCode::Control(opcode),
        ..FrameHeader::default()
    };
    let mut bytes = [0; MAX_HEADER];
    let mut rest = &mut bytes[..];
    header
        .format(length as u64, &mut rest)
        .expect("ten bytes hold every header without a mask");
    let count = MAX_HEADER - rest.len();
    (bytes, count)
}

/// The header of a text frame, at the front of the array, and its length: what tungstenite would write, spelled out because every
/// delivery pays for it.
#[inline]
fn text_header(payload: usize) -> ([u8; MAX_HEADER], usize) {
    let length = text_header_len(payload);
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = 0x81;
    match length {
        2 => bytes[1] = payload as u8,
        4 => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    (bytes, length)
}

#[inline]
fn text_header_len(length: usize) -> usize {
    match length {
        0..126 => 2,
        126..65536 => 4,
        _ => MAX_HEADER,
    }
}

/// How long the text frame with this payload is on the wire.
#[inline]
pub(super) fn text_len(payload: &Bytes) -> usize {
    text_header_len(payload.len()) + payload.len()
}

/// Where the sending of a batch stands: so many frames are through, and so many bytes of the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) frame: usize,
    pub(super) offset: usize,
}

impl Position {
    /// Encodes text frames from here on until `out` is full or there are no more.
    pub(super) fn encode(self, frames: &[Bytes], out: &mut ReadBuf<'_>) {
        let mut skip = self.offset;
        for payload in &frames[self.frame..] {
            let (header, length) = text_header(payload.len());
            let start = out.filled().len();
            if skip == 0 && out.remaining() >= MAX_HEADER {
                // A copy of one length is two instructions. What is too much of it, the payload overwrites.
                out.put_slice(&header);
                out.set_filled(start + length);
            } else {
                put(&header[skip.min(length)..length], out);
            }
            put(&payload[skip.saturating_sub(length)..], out);
            if out.remaining() == 0 {
                return;
            }
            skip = 0;
        }
    }

    /// Goes on by so many bytes that were written.
    pub(super) fn advance(&mut self, frames: &[Bytes], written: usize) {
        self.offset += written;
        while let Some(payload) = frames.get(self.frame) {
            let length = text_len(payload);
            if self.offset < length {
                return;
            }
            self.offset -= length;
            self.frame += 1;
        }
    }
}

/// Appends as much as there is room for.
#[inline]
fn put(bytes: &[u8], out: &mut ReadBuf<'_>) {
    let count = bytes.len().min(out.remaining());
    out.put_slice(&bytes[..count]);
}

fn control(opcode: Control, payload: &[&[u8]], out: &mut Vec<u8>) {
    let length = payload.iter().map(|piece| piece.len()).sum();
    let (head, count) = control_header(opcode, length);
    out.reserve_exact(count + length);
    out.extend_from_slice(&head[..count]);
    for piece in payload {
        out.extend_from_slice(piece);
    }
}

/// Appends a ping.
pub(super) fn ping(out: &mut Vec<u8>) {
    control(Control::Ping, &[], out);
}

/// Appends a pong.
pub(super) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    control(Control::Pong, &[payload], out);
}

/// Whether a close frame may carry this code: those that RFC 6455 and IANA's registry define for the wire, and those for
/// libraries and applications.
pub(super) fn may_close(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Appends a close frame. A code that may not stand on the wire is left out, and the reason with it; a reason that is too
/// long is cut between two characters.
pub(super) fn close(close: Option<&CloseFrame>, out: &mut Vec<u8>) {
    match close {
        Some(close) if may_close(close.code) => {
            let mut end = close.reason.len().min(MAX_REASON);
            while !close.reason.is_char_boundary(end) {
                end -= 1;
            }
            let reason = &close.reason[..end];
            control(Control::Close, &[&close.code.to_be_bytes(), reason.as_bytes()], out);
        }
        _ => control(Control::Close, &[], out),
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

    use super::*;

    fn closing(code: u16, reason: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = CloseFrame {
            code,
            reason: reason.to_owned().into(),
        };
        close(Some(&frame), &mut out);
        out
    }

    fn encoded(at: Position, frames: &[Bytes], room: usize) -> Vec<u8> {
        let mut out = vec![0; room];
        let mut buffer = ReadBuf::new(&mut out);
        at.encode(frames, &mut buffer);
        buffer.filled().to_vec()
    }

    #[test]
    fn headers_are_those_of_tungstenite() {
        for length in [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 1 << 24] {
            let header = FrameHeader {
                opcode: OpCode::Data(Data::Text),
                ..FrameHeader::default()
            };
            let mut expected = Vec::new();
            header.format(length as u64, &mut expected).unwrap();
            let (header, count) = text_header(length);
            assert_eq!(header[..count], expected);
        }
    }

    #[test]
    fn batches_are_the_same_however_they_are_cut() {
        let frames: Vec<Bytes> = [0, 1, 125, 126, 200, 65535, 65536, 3]
            .map(|len| Bytes::from(vec![b'a'; len]))
            .to_vec();
        let whole = encoded(Position::default(), &frames, 1 << 20);
        assert_eq!(whole[..5], [0x81, 0, 0x81, 1, b'a']);
        assert_eq!(whole.len(), frames.iter().map(text_len).sum::<usize>());
        for piece in [1, 3, 127, 1000, 1 << 16] {
            let mut at = Position::default();
            let mut got = Vec::new();
            while at.frame < frames.len() {
                let out = encoded(at, &frames, piece);
                at.advance(&frames, out.len());
                got.extend(out);
            }
            assert!(got == whole, "in pieces of {piece}");
            assert_eq!(at.offset, 0);
        }
    }

    #[test]
    fn a_reason_is_cut_at_a_character_and_a_wrong_code_is_left_out() {
        assert_eq!(closing(4000, "draining"), b"\x88\x0a\x0f\xa0draining");
        let long = format!("{}é and more", "x".repeat(122));
        let cut = closing(4000, &long);
        assert_eq!((cut[1], cut.len()), (124, 126));
        let fits = closing(4000, &"é".repeat(61));
        assert_eq!(fits[1], 124);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(closing(code, "why"), b"\x88\x00", "{code}");
        }
        for code in [1000, 1009, 1014, 3000, 4999] {
            assert_eq!(closing(code, "")[..2], [0x88, 2], "{code}");
        }
    }
}
