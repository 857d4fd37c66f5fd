//! What servers want to hear, and what they say: as little of it as the load program needs, since it looks at each message.

use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::wire::{V1, handshake};

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dialect {
    /// The rooms are in the path, and each text is a message.
    Plain,
    /// `chat.v1.json`, as `docs/PROTOCOL.md` has it.
    V1,
    /// Socket.IO 5 on Engine.IO 4, over WebSocket from the first byte on. The rooms are in the query.
    SocketIo,
}

/// What a text of a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Message,
    /// The connection is there, and may join.
    Welcome,
    Joined,
    Ping,
    /// Something is wrong.
    Refused,
    Other,
}

impl Dialect {
    /// What a connection that will be in these rooms asks for.
    pub(super) fn request(self, port: u16, rooms: Range<usize>) -> String {
        let names: Vec<_> = rooms.map(name).collect();
        let names = names.join(",");
        match self {
            Self::Plain => handshake(port, &format!("/ws/{names}"), None),
            Self::V1 => handshake(port, "/ws", Some(V1)),
            Self::SocketIo => handshake(
                port,
                &format!("/socket.io/?EIO=4&transport=websocket&rooms={names}"),
                None,
            ),
        }
    }

    /// What is said to a welcome.
    pub(super) fn joins(self, rooms: Range<usize>) -> Vec<String> {
        match self {
            Self::Plain => Vec::new(),
            Self::V1 => rooms
                .map(|room| format!(r#"{{"t":"join","room_id":"{}"}}"#, name(room)))
                .collect(),
            Self::SocketIo => vec!["40".to_owned()],
        }
    }

    /// What is said to a ping.
    pub(super) fn pong(self) -> &'static str {
        "3"
    }

    /// What a text is that begins like this.
    pub(super) fn hear(self, start: &[u8]) -> Heard {
        let kinds: &[(&[u8], Heard)] = match self {
            Self::Plain => return Heard::Message,
            Self::V1 => &[
                (br#"{"id":"#, Heard::Message),
                (br#"{"t":"hello""#, Heard::Welcome),
                (br#"{"t":"joined""#, Heard::Joined),
                (br#"{"t":"err""#, Heard::Refused),
                (br#"{"t":"bye""#, Heard::Refused),
            ],
            Self::SocketIo => &[
                (br#"42["message","#, Heard::Message),
                (b"0{", Heard::Welcome),
                (b"40", Heard::Joined),
                (b"2", Heard::Ping),
                (b"1", Heard::Refused),
                (b"41", Heard::Refused),
                (b"44", Heard::Refused),
            ],
        };
        let kind = kinds.iter().find(|(beginning, _)| start.starts_with(beginning));
        kind.map_or(Heard::Other, |(_, heard)| *heard)
    }

    /// A message to this room, which is named if the connection is in others as well.
    pub(super) fn message(self, room: usize, named: bool, content: &str) -> String {
        let mut text = match self {
            Self::Plain => "{",
            Self::V1 => r#"{"t":"send","#,
            Self::SocketIo => r#"42["message",{"#,
        }
        .to_owned();
        if named || self == Self::V1 {
            let _ = write!(text, r#""room_id":"{}","#, name(room));
        }
        let _ = write!(text, r#""content":"{content}"}}"#);
        if self == Self::SocketIo {
            text.push(']');
        }
        text
    }
}

fn name(room: usize) -> String {
    format!("room{room}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_the_rooms() {
        let first_line = |dialect: Dialect, rooms| dialect.request(1, rooms).lines().next().map(str::to_owned);
        assert_eq!(
            first_line(Dialect::Plain, 7..8).as_deref(),
            Some("GET /ws/room7 HTTP/1.1")
        );
        assert_eq!(
            first_line(Dialect::Plain, 0..2).as_deref(),
            Some("GET /ws/room0,room1 HTTP/1.1")
        );
        assert_eq!(first_line(Dialect::V1, 0..2).as_deref(), Some("GET /ws HTTP/1.1"));
        assert_eq!(
            first_line(Dialect::SocketIo, 0..2).as_deref(),
            Some("GET /socket.io/?EIO=4&transport=websocket&rooms=room0,room1 HTTP/1.1")
        );
        for dialect in [Dialect::Plain, Dialect::V1, Dialect::SocketIo] {
            assert!(dialect.request(1, 0..1).ends_with("\r\n\r\n"));
        }
    }

    #[test]
    fn engine_io_is_understood() {
        for (text, heard) in [
            (
                r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000}"#,
                Heard::Welcome,
            ),
            (r#"40{"sid":"wZX3oN0bSVIhsaknAAAI"}"#, Heard::Joined),
            (r#"42["message",{"id":"1"}]"#, Heard::Message),
            (r#"42["other",{"id":"1"}]"#, Heard::Other),
            ("430[]", Heard::Other),
            ("2", Heard::Ping),
            ("1", Heard::Refused),
            ("41", Heard::Refused),
            (r#"44{"message":"Not authorized"}"#, Heard::Refused),
            ("6", Heard::Other),
            ("", Heard::Other),
        ] {
            assert_eq!(Dialect::SocketIo.hear(text.as_bytes()), heard, "{text}");
        }
        assert_eq!(Dialect::SocketIo.joins(0..100), ["40"]);
        assert_eq!(Dialect::SocketIo.pong(), "3");
    }

    #[test]
    fn answers_of_v1_are_no_messages() {
        for (text, heard) in [
            (r#"{"t":"hello","v":1,"user":{"id":"ann"}}"#, Heard::Welcome),
            (r#"{"t":"joined","room_id":"room0","epoch":"e1"}"#, Heard::Joined),
            (r#"{"id":"0192","room_id":"room0","seq":58}"#, Heard::Message),
            (r#"{"t":"ack","room_id":"room0","msg":"0192","seq":58}"#, Heard::Other),
            (r#"{"t":"err","code":"rate_limited"}"#, Heard::Refused),
            (r#"{"t":"bye","code":4000}"#, Heard::Refused),
        ] {
            assert_eq!(Dialect::V1.hear(text.as_bytes()), heard, "{text}");
        }
    }

    #[test]
    fn messages_name_their_room_where_there_are_several() {
        let of = |dialect: Dialect, named| dialect.message(3, named, "hi");
        assert_eq!(of(Dialect::Plain, false), r#"{"content":"hi"}"#);
        assert_eq!(of(Dialect::Plain, true), r#"{"room_id":"room3","content":"hi"}"#);
        assert_eq!(
            of(Dialect::V1, true),
            r#"{"t":"send","room_id":"room3","content":"hi"}"#
        );
        assert_eq!(of(Dialect::SocketIo, false), r#"42["message",{"content":"hi"}]"#);
        assert_eq!(
            of(Dialect::SocketIo, true),
            r#"42["message",{"room_id":"room3","content":"hi"}]"#
        );
    }
}
