//! Frames that no client may send.

use tokio::io::AsyncWriteExt;

use super::{Rogue, SOON, expect};
use crate::socket::{BINARY, PING, Raw, TEXT, frame, until_end};

pub(crate) struct Nonsense {
    pub(super) name: &'static str,
    /// What is sent.
    bytes: fn() -> Vec<u8>,
    v1: bool,
    /// The close code; none if there is nothing left to be told.
    code: Option<u16>,
    /// Whether a `bye` comes before. Who breaks the WebSocket protocol itself gets none.
    bye: bool,
}

const fn v1(name: &'static str, bytes: fn() -> Vec<u8>, code: u16, bye: bool) -> Nonsense {
    Nonsense {
        name,
        bytes,
        v1: true,
        code: Some(code),
        bye,
    }
}

/// The largest frame that is allowed.
const LARGEST: usize = 64 << 10;

pub(super) static ALL: &[Nonsense] = &[
    v1("frame: too large", || frame(TEXT, &[b'x'; LARGEST + 1]), 1009, true),
    v1(
        "frame: a huge one announced",
        || frame(TEXT, &[b'x'; LARGEST + 1])[..14].to_vec(),
        1009,
        true,
    ),
    v1(
        "frame: too large in pieces",
        || [frame(0x01, &[b'x'; LARGEST]), frame(0x80, b"x")].concat(),
        1009,
        true,
    ),
    v1("frame: not UTF-8", || frame(TEXT, b"{\"t\":\"\xff\xfe\"}"), 1007, false),
    v1("frame: a reserved bit", || frame(TEXT | 0x40, b"{}"), 1002, false),
    v1("frame: an unknown opcode", || frame(0x83, b"{}"), 1002, false),
    v1("frame: not masked", || b"\x81\x02{}".to_vec(), 1002, false),
    v1("frame: a ping in pieces", || frame(PING & 0x0f, b""), 1002, false),
    v1("frame: a long ping", || frame(PING, &[0; 126]), 1002, false),
    v1("frame: a continuation of nothing", || frame(0x80, b"{}"), 1002, false),
    v1("frame: a close of one byte", || frame(0x88, b"\x03"), 1002, false),
    v1("frame: binary", || frame(BINARY, b"{}"), 4505, true),
    v1(
        "frame: ten that are none of the protocol",
        || frame(TEXT, b"nonsense").repeat(10),
        4500,
        true,
    ),
    Nonsense {
        name: "frame: plain, and no message",
        bytes: || frame(TEXT, b"{\"t\":\"send\"}"),
        v1: false,
        code: Some(4500),
        bye: false,
    },
    Nonsense {
        name: "frame: cut short",
        bytes: || frame(TEXT, &[b'x'; 100])[..50].to_vec(),
        v1: true,
        code: None,
        bye: false,
    },
];

impl Nonsense {
    pub(super) async fn perform(&self, rogue: &mut Rogue) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        let mut raw = Raw::enter(&rogue.book, &rogue.path(), self.v1, false)
            .await
            .map_err(text)?;
        raw.write.write_all(&(self.bytes)()).await.map_err(text)?;
        if self.code.is_none() {
            raw.write.shutdown().await.map_err(text)?;
        }
        expect(&until_end(&mut raw.read, SOON).await, self.code, self.bye)
    }
}
