//! What is asked of a hub, by clients and by the server that embeds it.

use super::{Moment, Said, Start};
use crate::frame::Frame;
use crate::oracle::HubId;

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) room: String,
    pub(crate) ask: Ask,
    /// When it was sent, when the hub took it and when the hub answered.
    pub(crate) sent: Moment,
    pub(crate) read: Option<Moment>,
    pub(crate) answered: Option<Moment>,
    /// How many others waited for their answer when the hub took it.
    pub(crate) ahead: usize,
}

impl Request {
    pub(crate) fn new(id: u64, room: &str, ask: Ask) -> Self {
        Self {
            id,
            room: room.to_owned(),
            ask,
            sent: Moment::default(),
            read: None,
            answered: None,
            ahead: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Send {
        nonce: Option<String>,
        said: Said,
    },
    Edit {
        msg: String,
        content: String,
    },
    Delete {
        msg: String,
    },
    Join {
        start: Start,
        presence: bool,
    },
    Leave,
    History,
    Search {
        query: String,
        before: Option<u64>,
        limit: usize,
    },
    Head,
    Ping,
}

impl Ask {
    /// Whether it is to end up in the log.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Edit { .. } | Self::Delete { .. })
    }
}

/// What the embedding server asks of a hub.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) hub: HubId,
    pub(crate) user: String,
    pub(crate) room: String,
    pub(crate) ask: Ask,
    /// Whether it acts in its own right, so that no policy is asked.
    pub(crate) own: bool,
    pub(crate) asked: Moment,
}

/// What it is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Stored there, of this message, and perhaps before.
    Stored { msg: String, seq: u64, dup: bool },
    /// A page of messages.
    Page { messages: Vec<Frame>, more: bool },
    /// The room's log, if there is one.
    Head { epoch: String, head: u64, floor: u64 },
    /// No, with this code; or nothing as long as the caller waited.
    Refused(&'static str),
}
