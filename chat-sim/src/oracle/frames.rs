//! Promise 9: what a WebSocket sends is whole frames of what it was given, in order, whatever breaks; only the last may be cut
//! short, and nothing stands in it or behind it. What isn't the protocol is refused, and what comes after it isn't looked at.

use std::collections::{BTreeMap, VecDeque};

use roomcast_core::Bytes;

use super::facts::{Conn, Facts};
use super::{ConnId, Event, Promise};

#[derive(Default)]
pub(crate) struct WholeFrames {
    sent: BTreeMap<ConnId, Sent>,
}

impl Promise for WholeFrames {
    fn name(&self) -> &'static str {
        "whole frames"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Handed { conn, frames } if facts.conn(*conn).socket => {
                let sent = self.sent.entry(*conn).or_default();
                sent.texts.extend(frames.iter().cloned());
            }
            Event::Bytes { conn, bytes } => {
                let sent = self.sent.entry(*conn).or_default();
                return sent
                    .take(bytes)
                    .map_err(|what| format!("{} of connection {conn} is sent {what}", facts.conn(*conn).user));
            }
            Event::Garbled { conn, what } => {
                return Err(format!("{} can't read what it got: {what}", facts.conn(*conn).user));
            }
            Event::Read { conn, request } => {
                let conn = facts.conn(*conn);
                if conn.socket && is_behind(conn, *request, &[1002, 1007, 1009]) {
                    return Err(format!("{request} of {} was read behind what can't be", conn.user));
                }
            }
            Event::Wrote { conn, frame } => {
                let conn = facts.conn(*conn);
                let behind = |request| is_behind(conn, request, &[1002, 1007, 1009, 4505]);
                if frame.answers().is_some_and(behind) {
                    return Err(format!(
                        "{} broke the protocol and is still answered {frame:?}",
                        conn.user
                    ));
                }
            }
            Event::Ended { conn } => {
                self.sent.remove(conn);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the request was sent after what the connection is closed for with one of these codes.
fn is_behind(conn: &Conn, request: u64, codes: &[u16]) -> bool {
    let sent = conn.requests.get(&request).map(|request| request.sent);
    let provoked = codes.iter().filter_map(|code| conn.provoked.get(code)).min();
    sent.zip(provoked).is_some_and(|(sent, provoked)| sent > *provoked)
}

/// What a connection has sent.
#[derive(Default)]
struct Sent {
    /// What it was given and has not wholly sent.
    texts: VecDeque<Bytes>,
    /// The beginning of the next frame's header.
    header: Vec<u8>,
    /// The frame that isn't complete.
    frame: Option<Partial>,
    closed: bool,
}

struct Partial {
    is_text: bool,
    length: usize,
    got: usize,
}

impl Sent {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let [first, rest @ ..] = bytes {
            let Some(frame) = &mut self.frame else {
                self.header.push(*first);
                bytes = rest;
                self.begin()?;
                continue;
            };
            let count = (frame.length - frame.got).min(bytes.len());
            let (piece, after) = bytes.split_at(count);
            if frame.is_text {
                let text = self.texts.front().map_or(&[][..], |text| text);
                if text[frame.got..frame.got + count] != *piece {
                    return Err(format!(
                        "{:?} within {:?}",
                        String::from_utf8_lossy(piece),
                        String::from_utf8_lossy(text)
                    ));
                }
            }
            frame.got += count;
            bytes = after;
            self.end();
        }
        Ok(())
    }

    /// One more byte of a header is there.
    fn begin(&mut self) -> Result<(), String> {
        const CLOSE: u8 = 0x88;
        let (first, length) = match self.header[..] {
            [first, length @ 0..126] => (first, usize::from(length)),
            [first, 126, high, low] => (first, usize::from(u16::from_be_bytes([high, low]))),
            [first, 127, ..] if self.header.len() == 10 => {
                let length = self.header[2..]
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (first, length)
            }
            [_] | [_, 126 | 127, ..] => return Ok(()),
            _ => return Err(format!("the header {:x?}", self.header)),
        };
        self.header.clear();
        let allowed = match first {
            _ if self.closed => false,
            0x81 => self.texts.front().is_some_and(|text| text.len() == length),
            CLOSE | 0x89 | 0x8a => length < 126,
            _ => false,
        };
        if !allowed {
            let next = self.texts.front().map(Bytes::len);
            return Err(format!(
                "the frame {first:x} of {length} bytes; closed {}, next is {next:?}",
                self.closed
            ));
        }
        self.closed = first == CLOSE;
        self.frame = Some(Partial {
            is_text: first == 0x81,
            length,
            got: 0,
        });
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(frame) = self.frame.take_if(|frame| frame.got == frame.length)
            && frame.is_text
        {
            self.texts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(texts: &[&'static str]) -> Sent {
        Sent {
            texts: texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect(),
            ..Sent::default()
        }
    }

    #[test]
    fn whole_frames_are_good_however_they_are_cut() {
        let bytes = b"\x81\x02hi\x89\x00\x81\x00\x8a\x01x\x88\x02\x03\xe8";
        for size in 1..bytes.len() {
            let mut sent = sent(&["hi", ""]);
            for piece in bytes.chunks(size) {
                sent.take(piece).unwrap();
            }
            assert!(sent.texts.is_empty() && sent.closed);
        }
    }

    #[test]
    fn what_stands_in_a_frame_or_behind_the_last_is_found() {
        for bytes in [
            &b"\x81\x05he\x88\x00"[..],
            b"\x81\x02he",
            b"\x81\x85hello",
            b"\x88\x00\x81\x05hello",
            b"\x01\x05hello",
            b"\x82\x05hello",
        ] {
            assert!(sent(&["hello"]).take(bytes).is_err(), "{bytes:x?}");
        }
        let long: &'static str = "x".repeat(70_000).leak();
        let mut header = vec![0x81, 127];
        header.extend(70_000_u64.to_be_bytes());
        let mut sent = sent(&[long]);
        sent.take(&header).unwrap();
        sent.take(&long.as_bytes()[..69_999]).unwrap();
        assert!(sent.take(b"y").is_err());
    }
}
