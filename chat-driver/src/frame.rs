//! The server's frames as a client reads them.

use serde::Deserialize;
use serde_json::Value;

/// Any frame: what it doesn't have is empty. A message has no `t`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the protocol describes them")]
pub struct Frame {
    pub t: String,
    /// The request's id, or the message's.
    pub id: Value,
    pub room_id: String,
    pub seq: u64,
    pub user: Option<Author>,
    pub content: Option<String>,
    pub msg: String,
    pub dup: bool,
    pub rooms: Vec<Frame>,
    pub head: u64,
    pub epoch: String,
    pub resume: String,
    pub reason: String,
    /// Why a request was refused, or the close code.
    pub code: Value,
    pub retry_ms: Option<u64>,
    pub after_ms: Option<u64>,
}

/// Who said it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Author {
    /// The user's id.
    pub id: String,
}

/// What an entry of a log is: its kind, and the id of the message that it is or is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a message.
    pub kind: Kind,
    /// The message's id.
    pub message: u128,
}

/// As the SQLite file numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is a message.
    Message = 0,
    /// It changes one.
    Edit = 1,
    /// It deletes one.
    Deletion = 2,
}

impl Frame {
    /// Reads a text frame.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("a frame can't be read ({error}): {text}"))
    }

    /// The entry of the log that this is, if it is one.
    pub fn entry(&self) -> Option<Entry> {
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

    /// Why a request was refused.
    pub fn error(&self) -> &str {
        self.code.as_str().unwrap_or_default()
    }
}

/// A message's id, from its text.
pub fn message_id(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}
