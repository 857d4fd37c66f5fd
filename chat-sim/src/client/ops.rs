//! What a client wants to have stored, kept until it is settled: across connections, hubs and refusals.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::oracle::facts::Ask;

#[derive(Debug)]
pub(super) struct Op {
    pub(super) room: String,
    pub(super) ask: Ask,
    pub(super) reply_to: Option<String>,
    /// The request under way on this connection.
    pub(super) request: Option<u64>,
    /// When it may be sent (again).
    pub(super) due: Instant,
}

impl Op {
    pub(super) fn new(room: &str, ask: Ask) -> Self {
        Self {
            room: room.to_owned(),
            ask,
            reply_to: None,
            request: None,
            due: Instant::now(),
        }
    }

    /// Whether it may be sent again when it isn't known what became of it.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self.ask, Ask::Send { nonce: None, .. })
    }

    /// The frame.
    pub(super) fn frame(&self, id: u64) -> Value {
        let room = &self.room;
        match &self.ask {
            Ask::Send { nonce, content } => {
                let mut frame = json!({"t": "send", "id": id, "room_id": room, "content": content});
                if let Some(nonce) = nonce {
                    frame["nonce"] = json!(nonce);
                }
                if let Some(reply_to) = &self.reply_to {
                    frame["reply_to"] = json!(reply_to);
                }
                frame
            }
            Ask::Edit { msg, content } => {
                json!({"t": "edit", "id": id, "room_id": room, "msg": msg, "content": content})
            }
            Ask::Delete { msg } => json!({"t": "delete", "id": id, "room_id": room, "msg": msg}),
            Ask::Join(_) | Ask::Leave | Ask::History | Ask::Ping => json!({"t": "ping", "id": id}),
        }
    }
}
