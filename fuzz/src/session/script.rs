//! What the fuzzer decides: the hub's settings, and what its clients do, step by step.

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
pub struct Script {
    /// How many entries a room keeps, of which a few are most interesting; 0 for all.
    pub retention: u8,
    /// Whether clients may send no more than a few frames a second.
    pub rated: bool,
    /// Messages in a send queue, beside 1.
    pub queue: u8,
    pub steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
pub enum Step {
    /// Opens a connection in this place; the one that was there is dropped.
    Connect {
        place: u8,
        plain: bool,
        room: Option<u8>,
        start: Start,
        window: Option<u8>,
    },
    Ask {
        place: u8,
        request: Request,
    },
    /// A request of which one byte is another.
    Garbled {
        place: u8,
        request: Request,
        at: u16,
        byte: u8,
    },
    Text {
        place: u8,
        bytes: Vec<u8>,
    },
    Inbound {
        place: u8,
        what: Inbound,
    },
    /// The client takes so many frames more.
    Take {
        place: u8,
        frames: u8,
    },
    /// The connection is gone without a word.
    Break {
        place: u8,
    },
    /// Nobody does anything for so many milliseconds.
    Wait {
        ms: u16,
    },
    /// The server speaks.
    Publish {
        room: u8,
        content: u8,
    },
    Kick {
        user: bool,
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Start {
    Live,
    /// At most that many before the head that the client knows, or after it.
    Since {
        back: i8,
        other_log: bool,
    },
    Last(u8),
}

#[derive(Debug, Arbitrary)]
pub enum Request {
    Join {
        room: u8,
        start: Start,
    },
    Leave {
        room: Option<u8>,
    },
    Send {
        room: Option<u8>,
        content: u8,
        large: bool,
        data: bool,
        nonce: Option<u8>,
        reply: Option<u8>,
    },
    Edit {
        room: Option<u8>,
        message: u8,
        content: u8,
    },
    Delete {
        room: Option<u8>,
        message: u8,
    },
    History {
        room: Option<u8>,
        before: Option<u8>,
        after: Option<u8>,
        limit: Option<u8>,
    },
    Ping,
    Later,
}

#[derive(Debug, Arbitrary)]
pub enum Inbound {
    Binary,
    TooLarge,
    Ping,
    Pong,
    Fragment,
    Closed,
}
