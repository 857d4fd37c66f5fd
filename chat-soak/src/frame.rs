//! The server's frames as a client reads them.

use serde::Deserialize;
use serde_json::Value;

/// Any frame: what it doesn't have is empty. A message has no `t`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frame {
    pub(crate) t: String,
    /// The request's id, or the message's.
    pub(crate) id: Value,
    pub(crate) room_id: String,
    pub(crate) seq: u64,
    pub(crate) user: Option<Author>,
    pub(crate) content: Option<String>,
    pub(crate) msg: String,
    pub(crate) dup: bool,
    pub(crate) rooms: Vec<Frame>,
    pub(crate) head: u64,
    pub(crate) epoch: String,
    pub(crate) resume: String,
    pub(crate) reason: String,
    /// Why a request was refused, or the close code.
    pub(crate) code: Value,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) after_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Author {
    pub(crate) id: String,
}

/// What an entry of a log is: its kind, and the id of the message that it is or is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) message: u128,
}

/// As the SQLite file numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Message = 0,
    Edit = 1,
    Deletion = 2,
}

impl Frame {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("a frame can't be read ({error}): {text}"))
    }

    /// The entry of the log that this is, if it is one.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let (kind, id) = match self.t.as_str() {
            "" => (Kind::Message, self.id.as_str()?),
            "edit" => (Kind::Edit, &*self.msg),
            "delete" => (Kind::Deletion, &*self.msg),
            _ => return None,
        };
        Some(Entry {
            kind,
            message: message_id(id)?,
        })
    }

    pub(crate) fn error(&self) -> &str {
        self.code.as_str().unwrap_or_default()
    }
}

/// A message's id, from its text.
pub(crate) fn message_id(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}
