//! RFC 6455 as a plain reader has it that holds all the bytes: what a server with a limit sees of a client, and the frames that a
//! client gets.

/// What a client does, as [`roomcast_core::Inbound`] has it; `Broken` is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Text(Vec<u8>),
    Fragment,
    Binary,
    TooLarge,
    Ping,
    Pong,
    Closed,
    Broken,
}

#[derive(Debug, Default)]
pub struct Description {
    /// All that the server sees, to the end.
    pub seen: Vec<Seen>,
    /// The payloads of the pings.
    pub pings: Vec<Vec<u8>>,
    /// The payload of the server's close frame, if it sends one.
    pub goodbye: Option<Vec<u8>>,
}

/// A frame of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

/// The first and the second byte, the payload's length, and where the payload begins, behind the mask if there is one.
fn head(bytes: &[u8]) -> Option<(u8, u8, u64, usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (length, begin) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let begin = if second & 0x80 == 0 { begin } else { begin + 4 };
    (bytes.len() >= begin).then_some((*first, *second, length, begin))
}

/// Splits what a server sent into its frames, and what was cut off.
pub fn split_frames(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((first, second, length, begin)) = head(bytes) {
        assert!(second & 0x80 == 0, "a server doesn't mask");
        let Some(payload) = bytes[begin..].get(..length as usize) else {
            break;
        };
        frames.push(Frame {
            first,
            payload: payload.to_vec(),
        });
        bytes = &bytes[begin + length as usize..];
    }
    (frames, bytes)
}

/// What a server sees of these bytes, with this limit on a message.
pub fn described(mut bytes: &[u8], limit: usize) -> Description {
    let mut reader = Reader {
        limit,
        ..Reader::default()
    };
    let end = loop {
        let Some((first, second, length, begin)) = head(bytes) else {
            break End::Cut;
        };
        if second & 0x80 == 0 {
            break End::Violation(1002);
        }
        let mask = &bytes[begin - 4..begin];
        let there = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len() - begin);
        let payload = bytes[begin..begin + there].iter().zip(mask.iter().cycle());
        let payload: Vec<u8> = payload.map(|(byte, mask)| byte ^ mask).collect();
        let whole = there as u64 == length;
        if let Some(end) = reader.frame(first, length, payload, whole) {
            break end;
        }
        if !whole {
            break End::Cut;
        }
        bytes = &bytes[begin + there..];
    };
    let Description { seen, goodbye, .. } = &mut reader.description;
    match end {
        // Without a goodbye of the client, there is none to answer.
        End::Cut => seen.push(Seen::Broken),
        End::Violation(code) => {
            seen.push(Seen::Broken);
            *goodbye = Some(code.to_be_bytes().to_vec());
        }
        End::Goodbye(code) => {
            seen.push(Seen::Closed);
            *goodbye = Some(code);
        }
    }
    reader.description
}

enum End {
    Cut,
    Violation(u16),
    /// With the payload of the answer.
    Goodbye(Vec<u8>),
}

#[derive(Default)]
struct Reader {
    limit: usize,
    description: Description,
    /// Whether the message that isn't at its end is text.
    message: Option<bool>,
    text: Vec<u8>,
    too_large: bool,
}

impl Reader {
    /// A frame, of whose payload all came or not.
    fn frame(&mut self, first: u8, length: u64, payload: Vec<u8>, whole: bool) -> Option<End> {
        let last = first & 0x80 != 0;
        match first & 0x0f {
            _ if first & 0x70 != 0 => Some(End::Violation(1002)),
            3..=7 | 11..=15 => Some(End::Violation(1002)),
            opcode @ 8..=10 if last && length <= 125 => whole.then(|| self.control(opcode, payload))?,
            8..=10 => Some(End::Violation(1002)),
            opcode => self.data(opcode, last, length, payload, whole),
        }
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Option<End> {
        match opcode {
            9 => {
                self.description.seen.push(Seen::Ping);
                self.description.pings.push(payload);
                None
            }
            10 => {
                self.description.seen.push(Seen::Pong);
                None
            }
            _ => Some(match &payload[..] {
                [] => End::Goodbye(Vec::new()),
                [_] => End::Violation(1002),
                [high, low, reason @ ..] => {
                    // 1004 to 1006 and 1015 aren't for the wire; 1016 to 2999 are given to nobody.
                    let code = u16::from_be_bytes([*high, *low]);
                    let may = (1000..1016).contains(&code) || (3000..5000).contains(&code);
                    if !may || matches!(code, 1004..=1006 | 1015) {
                        End::Violation(1002)
                    } else if std::str::from_utf8(reason).is_err() {
                        End::Violation(1007)
                    } else {
                        End::Goodbye(code.to_be_bytes().to_vec())
                    }
                }
            }),
        }
    }

    fn data(&mut self, opcode: u8, last: bool, length: u64, payload: Vec<u8>, whole: bool) -> Option<End> {
        let is_text = match (opcode, self.message) {
            (0, Some(is_text)) => is_text,
            (1 | 2, None) => opcode == 1,
            _ => return Some(End::Violation(1002)),
        };
        self.message = (!last).then_some(is_text);
        if self.too_large {
            return None;
        }
        let had = if is_text { self.text.len() as u64 } else { 0 };
        if length > self.limit as u64 - had {
            self.too_large = true;
            self.description.seen.push(Seen::TooLarge);
            return None;
        }
        if opcode == 2 {
            self.description.seen.push(Seen::Binary);
        }
        if !is_text || !whole {
            return None;
        }
        self.text.extend(payload);
        if !last {
            self.description.seen.push(Seen::Fragment);
            return None;
        }
        let text = std::mem::take(&mut self.text);
        if std::str::from_utf8(&text).is_err() {
            return Some(End::Violation(1007));
        }
        self.description.seen.push(Seen::Text(text));
        None
    }
}
