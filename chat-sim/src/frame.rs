//! The server's frames as a client reads them.

use serde::Deserialize;
use serde_json::Value;

/// Any frame: what it doesn't have is empty. A message has no `t`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frame {
    /// The type.
    pub(crate) t: String,
    /// The request's id, or the message's.
    pub(crate) id: Value,
    /// The room.
    pub(crate) room_id: String,
    /// The place in the log.
    pub(crate) seq: u64,
    /// Who did it.
    pub(crate) user: Option<Author>,
    /// What was said.
    pub(crate) content: Option<String>,
    /// What the application adds.
    pub(crate) data: Option<Value>,
    /// The message that this one answers.
    pub(crate) reply_to: Option<String>,
    /// Whether it is a tombstone.
    pub(crate) deleted: bool,
    /// The message that an ack, an edit or a deletion is about.
    pub(crate) msg: String,
    /// That message's place.
    pub(crate) target: u64,
    /// Whether the send had been stored before.
    pub(crate) dup: bool,
    /// The rooms of a hello.
    pub(crate) rooms: Vec<Frame>,
    /// Where the log stood.
    pub(crate) head: u64,
    /// Which log it is.
    pub(crate) epoch: String,
    /// How the cursor was taken.
    pub(crate) resume: String,
    /// The first number that is missing.
    pub(crate) from: Option<u64>,
    /// The last one.
    pub(crate) to: Option<u64>,
    /// Why numbers are missing, or why the server closes.
    pub(crate) reason: String,
    /// A page of history.
    pub(crate) messages: Vec<Frame>,
    /// Whether there is more history.
    pub(crate) more: bool,
    /// Why a request was refused, or the close code.
    pub(crate) code: Value,
    /// How many users there are.
    pub(crate) online: u64,
    /// Who is there.
    pub(crate) users: Option<Vec<Author>>,
    /// Who came.
    pub(crate) came: Option<Vec<Author>>,
    /// Who left.
    pub(crate) left: Option<Vec<String>>,
    /// When to try again.
    pub(crate) retry_ms: Option<u64>,
    /// When to come back.
    pub(crate) after_ms: Option<u64>,
}

/// Who did it, or is there.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(crate) struct Author {
    /// The user's id.
    pub(crate) id: String,
}

impl Frame {
    /// Whether it is an entry of a room's log.
    pub(crate) fn is_entry(&self) -> bool {
        self.is_message() || self.t == "edit" || self.t == "delete"
    }

    /// Whether it is a message.
    pub(crate) fn is_message(&self) -> bool {
        self.t.is_empty() && self.seq > 0
    }

    /// The request that it answers.
    pub(crate) fn answers(&self) -> Option<u64> {
        match self.t.as_str() {
            "ack" | "err" | "joined" | "left" | "history" | "pong" => self.id.as_u64(),
            _ => None,
        }
    }

    /// The error code.
    pub(crate) fn error(&self) -> &str {
        self.code.as_str().unwrap_or_default()
    }
}
