//! The subjects on which notices travel.

use std::fmt::Write as _;

use roomcast_core::RoomId;

/// The subjects that begin with one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// Of one room, or of all hubs.
    pub(crate) fn of(&self, room: Option<&RoomId>) -> String {
        match room {
            Some(room) => format!("{}.room.{}", self.prefix, token(room)),
            None => format!("{}.all", self.prefix),
        }
    }

    /// On which nobody listens: the server itself answers that.
    pub(crate) fn nobody(&self) -> String {
        format!("{}.nobody", self.prefix)
    }

    /// Under which the server's answers come.
    pub(crate) fn replies(&self) -> String {
        format!("{}.reply", self.prefix)
    }
}

/// The room's id as one token of a subject: letters and digits of ASCII, `-` and `_` stand for themselves, and each other
/// byte is `=` with two hexadecimal digits. So it can be read back, and has 1,536 bytes at most; a server takes lines of 4,096.
fn token(room: &RoomId) -> String {
    let mut token = String::with_capacity(room.as_str().len());
    for byte in room.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(byte.into()),
            _ => {
                // Writing into a string can't fail.
                let _ = write!(token, "={byte:02X}");
            }
        }
    }
    token
}

/// Whether the text can begin subjects: tokens of letters and digits of ASCII, `-` and `_`, with dots between them.
pub(crate) fn is_prefix(text: &str) -> bool {
    const LONGEST: usize = 64;
    text.len() <= LONGEST
        && text.split('.').all(|token| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(token: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = token.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            if *first == b'=' {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[2..];
            } else {
                bytes.push(*first);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn any_room_is_a_token_that_can_be_read_back() {
        let long = "\u{10FFFD}".repeat(RoomId::MAX_CHARS);
        for name in [
            "lobby", "a.b", "a=2Eb", "*", ">", "a-_b:@~", "Zürich", "部屋", "$JS", &long,
        ] {
            let token = token(&RoomId::new(name).unwrap());
            assert_eq!(read_back(&token), name);
            assert!(token.len() <= 1536);
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b".*>".contains(&byte)),
                "{token}"
            );
        }
        assert_eq!(
            Subjects::new("a.b".into()).of(Some(&RoomId::new("c.d").unwrap())),
            "a.b.room.c=2Ed"
        );
    }

    #[test]
    fn prefixes_are_checked() {
        for good in ["roomcast", "a.b-c.D_1"] {
            assert!(is_prefix(good), "{good}");
        }
        for wrong in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "*",
            ">",
            "a.>",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
