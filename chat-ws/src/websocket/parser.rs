//! What the client sends, from bytes to messages: plain synchronous code without a socket.
//!
//! The headers are tungstenite's. The payloads are put together here, because tungstenite's own reader keeps one buffer for
//! each connection, idle or not, and never gives back what one large message made of it. A parser that waits for the next
//! frame holds no heap memory at all.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;

/// The largest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL: u64 = 125;

/// A message grows from this size on as its bytes arrive: a length that is only announced costs nothing.
const FIRST_PIECE: usize = 4 << 10;

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole text message, checked to be UTF-8.
    Text(Vec<u8>),
    /// A piece of a text message is there, and more is to come.
    Fragment,
    /// A binary message begins; its payload is skipped.
    Binary,
    /// A message begins or goes on beyond the limit; from now on only a close frame is looked for.
    TooLarge,
    /// A ping, to be answered with the same payload.
    Ping(Vec<u8>),
    Pong,
    /// A close frame, with the code that it carries.
    Close(Option<u16>),
}

/// The client broke the WebSocket protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client broke the WebSocket protocol: {what} (close code {code})")]
pub(super) struct Violation {
    /// The close code that says so.
    pub(super) code: u16,
    what: &'static str,
}

impl Violation {
    fn protocol(what: &'static str) -> Self {
        Self { code: 1002, what }
    }

    fn not_utf8(what: &'static str) -> Self {
        Self { code: 1007, what }
    }
}

/// What becomes of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Skipped,
    Ping,
    Pong,
    Close,
}

/// A frame whose header was read.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    is_final: bool,
    /// Payload that hasn't come yet.
    left: u64,
    /// Turned so that the first byte belongs to the next byte of payload.
    mask: [u8; 4],
}

/// Puts frames together. See the [module](self).
#[derive(Debug)]
pub(super) struct Parser {
    /// The largest message, in bytes.
    limit: usize,
    /// The beginning of a header that came in pieces.
    head: [u8; MAX_HEADER],
    head_len: u8,
    /// Only a close frame is looked for.
    discarding: bool,
    frame: Option<Frame>,
    /// Text or something skipped: what a continuation goes on with.
    message: Option<Kind>,
    text: Vec<u8>,
    /// The payload of a control frame, which may stand between the fragments of a message.
    control: Vec<u8>,
}

impl Parser {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            head: [0; MAX_HEADER],
            head_len: 0,
            discarding: false,
            frame: None,
            message: None,
            text: Vec::new(),
            control: Vec::new(),
        }
    }

    /// From now on only a close frame matters.
    pub(super) fn discard(&mut self) {
        self.discarding = true;
        self.text = Vec::new();
    }

    /// How much payload the frame in hand still lacks.
    pub(super) fn wanted(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.left)
    }

    /// Takes bytes off the front of `input` until something happened (`Some`) or all are used up (`None`).
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header(input)? {
                    None => return Ok(None),
                    Some((header, length)) => match self.begin(&header, length)? {
                        (frame, None) => frame,
                        (frame, event) => {
                            self.frame = Some(frame);
                            return Ok(event);
                        }
                    },
                },
            };
            self.payload(&mut frame, input);
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(event) = self.end(&frame)? {
                return Ok(Some(event));
            }
        }
    }

    /// Reads a header, whole or over several calls.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<(FrameHeader, u64)>, Violation> {
        let had = usize::from(self.head_len);
        let (parsed, end) = if had == 0 {
            parse_header(input)?
        } else {
            let taken = input.len().min(MAX_HEADER - had);
            self.head[had..had + taken].copy_from_slice(&input[..taken]);
            parse_header(&self.head[..had + taken])?
        };
        if parsed.is_some() {
            *input = &input[end - had..];
            self.head_len = 0;
        } else {
            // A header without its end is shorter than the longest, so all of the input belongs to it.
            if had == 0 {
                self.head[..input.len()].copy_from_slice(input);
            }
            self.head_len += u8::try_from(input.len()).unwrap_or(0);
            *input = &[];
        }
        Ok(parsed)
    }

    /// Checks a header and says what becomes of the payload.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(Frame, Option<Event>), Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let Some(mask) = header.mask else {
            return Err(Violation::protocol("a frame isn't masked"));
        };
        let mut event = None;
        let kind = match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final {
                    return Err(Violation::protocol("a control frame is fragmented"));
                }
                if length > MAX_CONTROL {
                    return Err(Violation::protocol("a control frame is longer than 125 bytes"));
                }
                match control {
                    Control::Close => Kind::Close,
                    Control::Ping => Kind::Ping,
                    Control::Pong => Kind::Pong,
                    Control::Reserved(_) => return Err(Violation::protocol("the opcode is unknown")),
                }
            }
            OpCode::Data(data) => {
                let kind = match (data, self.message) {
                    (Data::Continue, None) => return Err(Violation::protocol("a continuation of nothing")),
                    (Data::Continue, Some(kind)) => kind,
                    (_, Some(_)) => return Err(Violation::protocol("a message begins within another")),
                    (Data::Text, None) => Kind::Text,
                    (Data::Binary, None) => {
                        event = Some(Event::Binary);
                        Kind::Skipped
                    }
                    (Data::Reserved(_), None) => return Err(Violation::protocol("the opcode is unknown")),
                };
                self.message = (!header.is_final).then_some(kind);
                if self.discarding {
                    event = None;
                    Kind::Skipped
                } else if kind != Kind::Skipped && length > (self.limit - self.text.len()) as u64
                    || length > self.limit as u64
                {
                    self.discard();
                    event = Some(Event::TooLarge);
                    Kind::Skipped
                } else {
                    kind
                }
            }
        };
        let frame = Frame {
            kind,
            is_final: header.is_final,
            left: length,
            mask,
        };
        Ok((frame, event))
    }

    /// Takes what there is of a frame's payload.
    fn payload(&mut self, frame: &mut Frame, input: &mut &[u8]) {
        let count = usize::try_from(frame.left).map_or(input.len(), |left| left.min(input.len()));
        let (piece, rest) = input.split_at(count);
        *input = rest;
        frame.left -= count as u64;
        let body = match frame.kind {
            Kind::Text if !self.discarding => &mut self.text,
            Kind::Ping | Kind::Close => &mut self.control,
            Kind::Text | Kind::Skipped | Kind::Pong => return,
        };
        grow(body, count, frame.left);
        let start = body.len();
        body.extend_from_slice(piece);
        unmask(&mut body[start..], frame.mask);
        frame.mask.rotate_left(count % 4);
    }

    /// A frame is complete.
    fn end(&mut self, frame: &Frame) -> Result<Option<Event>, Violation> {
        Ok(match frame.kind {
            Kind::Text if frame.is_final && !self.discarding => {
                let text = std::mem::take(&mut self.text);
                if std::str::from_utf8(&text).is_err() {
                    return Err(Violation::not_utf8("a text message isn't UTF-8"));
                }
                Some(Event::Text(text))
            }
            // Even an empty one: pieces are counted, and a message may have no end.
            Kind::Text if !self.discarding => Some(Event::Fragment),
            Kind::Text | Kind::Skipped => None,
            Kind::Ping => Some(Event::Ping(std::mem::take(&mut self.control))),
            Kind::Pong => Some(Event::Pong),
            Kind::Close => Some(Event::Close(close_code(&std::mem::take(&mut self.control))?)),
        })
    }
}

/// Parses a header at the front: it and where it ends, or `None` if more bytes are needed.
fn parse_header(bytes: &[u8]) -> Result<(Option<(FrameHeader, u64)>, usize), Violation> {
    let mut cursor = Cursor::new(bytes);
    match FrameHeader::parse(&mut cursor) {
        Ok(parsed) => Ok((parsed, usize::try_from(cursor.position()).unwrap_or(usize::MAX))),
        Err(Error::Protocol(ProtocolError::InvalidOpcode(_))) => Err(Violation::protocol("the opcode is unknown")),
        Err(_) => Err(Violation::protocol("the header makes no sense")),
    }
}

/// Makes room for `count` bytes, of a frame of which `left` more are announced. Exactly, if the rest is small: most
/// messages come whole, and then nothing is copied again and no room is left over.
fn grow(body: &mut Vec<u8>, count: usize, left: u64) {
    if body.capacity() - body.len() >= count {
        return;
    }
    let announced = usize::try_from(left).map_or(usize::MAX, |left| count.saturating_add(left));
    let room = announced.min(count.max(FIRST_PIECE).max(body.capacity()));
    body.reserve_exact(room);
}

/// Takes the mask off. Eight bytes at a time, which the compiler makes wider still.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Checks the payload of a close frame and takes the code out.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::protocol("a close frame holds half a code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !frame::may_close(code) {
                return Err(Violation::protocol("a close code that may not be sent"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(Violation::not_utf8("a close reason isn't UTF-8"));
            }
            Ok(Some(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame: the first byte as given, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = vec![first];
        match payload.len() {
            len @ 0..126 => out.push(0x80 | len as u8),
            len @ 126..65536 => {
                out.push(0xfe);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0xff);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    /// Everything that comes of these bytes, fed in pieces of this size.
    fn events(limit: usize, bytes: &[u8], piece: usize) -> Result<Vec<Event>, Violation> {
        let mut parser = Parser::new(limit);
        let mut events = Vec::new();
        for mut input in bytes.chunks(piece) {
            while let Some(event) = parser.feed(&mut input)? {
                events.push(event);
            }
            assert!(input.is_empty(), "everything was taken");
        }
        Ok(events)
    }

    #[test]
    fn messages_come_out_whole_however_the_bytes_are_cut() {
        let long = "x".repeat(70_000);
        let bytes = [
            frame(0x81, b"hello"),
            frame(0x01, b"frag"),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x8a, b"pong"),
            frame(0x80, b"ments"),
            frame(0x81, long.as_bytes()),
            frame(0x81, &[b'y'; 200]),
            frame(0x02, b"binary"),
            frame(0x80, b"more of it"),
            frame(0x81, b""),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let expected = vec![
            Event::Text(b"hello".to_vec()),
            Event::Fragment,
            Event::Ping(b"ping".to_vec()),
            Event::Fragment,
            Event::Pong,
            Event::Text(b"fragments".to_vec()),
            Event::Text(long.into_bytes()),
            Event::Text(vec![b'y'; 200]),
            Event::Binary,
            Event::Text(Vec::new()),
            Event::Close(Some(1000)),
        ];
        for piece in [1, 2, 3, 5, 7, 13, 14, 15, 100, 4096, bytes.len()] {
            assert_eq!(events(70_000, &bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_message_at_the_limit_passes_and_one_above_is_skipped_up_to_the_close() {
        let at = frame(0x81, &[b'a'; 100]);
        assert_eq!(events(100, &at, 64).unwrap(), [Event::Text(vec![b'a'; 100])]);
        let above = [
            frame(0x81, &[b'a'; 101]),
            frame(0x81, b"never seen"),
            frame(0x82, b"nor this"),
            frame(0x88, b""),
        ]
        .concat();
        assert_eq!(events(100, &above, 9).unwrap(), [Event::TooLarge, Event::Close(None)]);
        let fragments = [
            frame(0x01, &[b'a'; 60]),
            frame(0x00, &[b'a'; 40]),
            frame(0x00, b"a"),
            frame(0x80, b"z"),
        ];
        let expected = [Event::Fragment, Event::Fragment, Event::TooLarge];
        assert_eq!(events(100, &fragments.concat(), 9).unwrap(), expected);
        let mut huge = frame(0x81, b"");
        huge[1] = 0xff;
        huge.splice(2..2, [0xff; 8]);
        assert_eq!(events(100, &huge, 9).unwrap(), [Event::TooLarge], "2^64 - 1 bytes");
    }

    #[test]
    fn violations_have_their_codes() {
        let unmasked = b"\x81\x02hi".to_vec();
        let halves = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
        let cases: &[(&[u8], u16)] = &[
            (&unmasked, 1002),
            (&halves, 1002),
            (&frame(0x80, b"a"), 1002),
            (&frame(0xc1, b"a"), 1002),
            (&frame(0x83, b"a"), 1002),
            (&frame(0x8b, b"a"), 1002),
            (&frame(0x09, b"a"), 1002),
            (&frame(0x89, &[0; 126]), 1002),
            (&frame(0x88, b"\x03"), 1002),
            (&frame(0x88, b"\x03\xed"), 1002),
            (&frame(0x88, b"\x03\xe8\xff"), 1007),
            (&frame(0x81, b"caf\xc3"), 1007),
        ];
        for (bytes, code) in cases {
            for piece in [1, bytes.len()] {
                assert_eq!(events(100, bytes, piece).unwrap_err().code, *code, "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_character_may_be_cut_between_fragments() {
        let bytes = [frame(0x01, b"caf\xc3"), frame(0x80, b"\xa9")].concat();
        let text = "café".as_bytes().to_vec();
        assert_eq!(events(100, &bytes, 100).unwrap(), [Event::Fragment, Event::Text(text)]);
    }

    #[test]
    fn registered_close_codes_are_taken_and_others_are_not() {
        let close = |code: u16| events(100, &frame(0x88, &code.to_be_bytes()), 100);
        for code in [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert_eq!(close(code).unwrap(), [Event::Close(Some(code))], "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(close(code).unwrap_err().code, 1002, "{code}");
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory_and_a_waiting_parser_holds_none() {
        let mut parser = Parser::new(1 << 20);
        let large = frame(0x81, &[b'a'; 1 << 20]);
        let mut input = &large[..100];
        assert_eq!(parser.feed(&mut input), Ok(None));
        assert!(parser.text.capacity() <= FIRST_PIECE);
        let mut input = &large[100..];
        let Ok(Some(Event::Text(text))) = parser.feed(&mut input) else {
            panic!("the message is complete")
        };
        assert_eq!(text.len(), 1 << 20);
        assert_eq!((parser.text.capacity(), parser.control.capacity()), (0, 0));
        let mut whole = &frame(0x81, &[b'a'; 200])[..];
        let Ok(Some(Event::Text(text))) = parser.feed(&mut whole) else {
            panic!("the message is complete")
        };
        assert_eq!(text.capacity(), 200, "a message that comes whole has no room left over");
    }

    #[test]
    fn the_mask_is_taken_off_at_any_offset() {
        let plain: Vec<u8> = (0..61).collect();
        for cut in 0..plain.len() {
            let bytes = frame(0x89, &plain);
            let mut parser = Parser::new(100);
            let (mut first, mut second) = bytes.split_at(6 + cut);
            assert_eq!(parser.feed(&mut first), Ok(None));
            assert_eq!(parser.feed(&mut second), Ok(Some(Event::Ping(plain.clone()))));
        }
    }
}
