//! What a client wants to have stored, kept until it is settled: across connections, hubs and refusals.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::oracle::facts::{Ask, Said};

#[derive(Debug)]
pub(super) struct Op {
    pub(super) room: String,
    pub(super) ask: Ask,
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
            Ask::Send { nonce, said } => {
                let mut frame = json!({"t": "send", "id": id, "room_id": room});
                let Said {
                    content,
                    data,
                    reply_to,
                } = said;
                for (name, text) in [("content", content), ("nonce", nonce), ("reply_to", reply_to)] {
                    if let Some(text) = text {
                        frame[name] = json!(text);
                    }
                }
                if let Some(data) = data {
                    frame["data"] = data.clone();
                }
                frame
            }
            Ask::Edit { msg, content } => {
                json!({"t": "edit", "id": id, "room_id": room, "msg": msg, "content": content})
            }
            Ask::Delete { msg } => json!({"t": "delete", "id": id, "room_id": room, "msg": msg}),
            Ask::Join { .. } | Ask::Leave | Ask::History | Ask::Search { .. } | Ask::Head | Ask::Ping => {
                json!({"t": "ping", "id": id})
            }
        }
    }
}
