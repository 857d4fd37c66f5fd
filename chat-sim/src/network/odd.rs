//! A client's frames, written by hand: in fragments with others between them, and such as no library would write.

use crate::rng::Rng;

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The bit of a message's last frame.
const FIN: u8 = 0x80;

/// Appends a frame: the first byte as it is, and the payload masked.
fn put(out: &mut Vec<u8>, rng: &Rng, first: u8, payload: &[u8]) {
    out.push(first);
    put_length(out, payload.len() as u64);
    let mask = (rng.next() as u32).to_be_bytes();
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends a length, with the bit of a mask.
fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
    }
}

/// A frame that is a message of its own.
pub(super) fn whole(rng: &Rng, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    put(&mut out, rng, FIN | opcode, payload);
    out
}

/// A text in up to five fragments, some of them empty, with pings and pongs between them.
pub(super) fn in_fragments(rng: &Rng, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut opcode) = (text, TEXT);
    for _ in 0..rng.below(4) {
        // In the middle of a character as well.
        let (piece, after) = rest.split_at(rng.size(0, rest.len()));
        put(&mut out, rng, opcode, piece);
        (rest, opcode) = (after, CONTINUATION);
        match rng.below(4) {
            0 => put(&mut out, rng, FIN | PING, b"still there?"),
            1 => put(&mut out, rng, FIN | PONG, b""),
            _ => {}
        }
    }
    put(&mut out, rng, FIN | opcode, rest);
    out
}

/// A text that is larger than allowed: as it says itself, or as it turns out.
pub(super) fn too_large(rng: &Rng, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    match rng.below(3) {
        0 => put(&mut out, rng, FIN | TEXT, &vec![b'x'; limit + 1]),
        1 => {
            put(&mut out, rng, TEXT, &vec![b'x'; limit]);
            put(&mut out, rng, CONTINUATION, b"");
            put(&mut out, rng, CONTINUATION, b"y");
        }
        _ => {
            // Of which hardly anything comes.
            out.push(FIN | TEXT);
            put_length(&mut out, 1 << rng.between(40, 62));
            out.extend([0; 10]);
        }
    }
    out
}

/// What breaks the protocol.
pub(super) fn broken(rng: &Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let text = br#"{"t":"ping"}"#;
    match rng.below(12) {
        // Without a mask.
        0 => out.extend(b"\x81\x02{}"),
        1 => put(&mut out, rng, FIN | 0x10 << rng.below(3) | TEXT, text),
        2 => put(&mut out, rng, FIN | rng.between(3, 7) as u8, text),
        3 => put(&mut out, rng, FIN | rng.between(11, 15) as u8, b""),
        4 => put(&mut out, rng, rng.between(8, 10) as u8, b""),
        5 => put(&mut out, rng, FIN | PING, &[b'x'; 126]),
        6 => put(&mut out, rng, FIN | CONTINUATION, text),
        7 => {
            put(&mut out, rng, TEXT, b"{");
            put(&mut out, rng, FIN | TEXT, text);
        }
        8 => put(&mut out, rng, FIN | TEXT, b"{\"t\":\"ping\",\"x\":\"\xc3\x28\"}"),
        9 => put(&mut out, rng, FIN | CLOSE, b"\x03"),
        10 => put(&mut out, rng, FIN | CLOSE, &1005_u16.to_be_bytes()),
        _ => put(&mut out, rng, FIN | CLOSE, b"\x03\xe8\xff"),
    }
    out
}
