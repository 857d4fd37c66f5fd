//! What the fuzzer decides: what is stored, what comes by the bus, and who is there.

use arbitrary::Arbitrary;

use crate::session::Start;

/// At the beginning, one member is in each room.
#[derive(Debug, Arbitrary)]
pub struct Script {
    /// Messages in a send queue, and among those that came too early, beside 1.
    pub queue: u8,
    /// Whether only what is stored is told, since a lie soon sends everybody away.
    pub honest: bool,
    pub steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
pub enum Step {
    /// Opens a connection in this place; the one that was there is dropped.
    Connect {
        place: u8,
        /// Of `chat.v1.json`, not plain.
        full: bool,
        room: u8,
        start: Start,
        presence: bool,
        window: Option<u8>,
    },
    /// The connection is gone without a word.
    Break {
        place: u8,
    },
    /// The client takes so many frames more.
    Take {
        place: u8,
        frames: u8,
    },
    /// Nobody does anything for so many milliseconds.
    Wait {
        ms: u16,
    },
    /// The other hub stores something, or this one.
    Store {
        elsewhere: bool,
        room: u8,
        first: What,
        then: Option<What>,
    },
    /// The other hub sends a user away.
    Kick {
        user: bool,
    },
    /// One of the notices that the other hub has told comes, for the first time or again.
    Carry {
        which: u8,
    },
    /// The same with one byte another.
    CarryGarbled {
        which: u8,
        at: u16,
        byte: u8,
    },
    Told(Told),
    /// A notice of which one byte is another.
    Garbled {
        told: Told,
        at: u16,
        byte: u8,
    },
    Bytes(Vec<u8>),
    /// Notices may have been lost.
    Missed,
    /// A bus that sees the store tells of a head.
    Head {
        room: u8,
        head: u64,
    },
    /// It tells of entries.
    Saw {
        room: u8,
        first: i8,
        lines: [Option<Line>; 4],
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum What {
    Message { content: u8, large: bool },
    Edit { message: u8, content: u8 },
    Delete { message: u8 },
}

/// A notice that is sound in itself.
#[derive(Debug, Arbitrary)]
pub enum Told {
    Committed {
        from: u8,
        room: u8,
        other_log: bool,
        /// Where the entries begin, seen from the store's head.
        first: i8,
        /// How far behind them the log is said to go.
        beyond: u8,
        lines: [Option<Line>; 4],
    },
    Kick {
        from: u8,
        id: u8,
        user: bool,
    },
    Knock {
        from: u8,
        room: u8,
    },
    Presence {
        from: u8,
        room: u8,
        no: u8,
        online: u32,
        for_ms: u32,
        span: Option<(Option<u8>, Option<u8>)>,
        here: [Option<u8>; 3],
        left: [Option<u8>; 2],
    },
    Asked {
        from: u8,
        room: u8,
        for_ms: u32,
        now: bool,
    },
}

/// An entry that is told of.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Line {
    /// As it is stored, if it is.
    True,
    Message {
        content: u8,
    },
    Edit {
        target: u8,
        content: u8,
    },
    Delete {
        target: u8,
    },
}
