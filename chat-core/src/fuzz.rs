//! A door for fuzzing, of builds with `--cfg fuzzing` alone: what is private and reads what clients and other hubs send.

use serde_json::{Value, json};

use crate::bus::{Heard, News};
use crate::log::Frame;
use crate::wire::{self, ClientFrame};
use crate::{Draft, JsonObject, Notice};

/// Why a frame was turned down.
#[derive(Debug)]
pub struct Rejected {
    /// The request's id, if it could be read.
    pub id: Option<Value>,
    /// What is wrong.
    pub message: String,
}

impl From<wire::Rejected> for Rejected {
    fn from(rejected: wire::Rejected) -> Self {
        Self {
            id: rejected.id.map(|id| json!(id)),
            message: rejected.message,
        }
    }
}

/// Reads a frame of `chat.v1.json` and writes down what was understood: every field that the protocol knows and the frame
/// has. `None` if its type is none that is known.
///
/// # Errors
///
/// [`Rejected`], as the client is told.
pub fn understand(text: &[u8]) -> Result<Option<JsonObject>, Rejected> {
    let frame = wire::parse_v1(text)?;
    let mut fields = match frame {
        ClientFrame::Join(join) => json!({
            "t": "join", "id": join.id, "room_id": join.room_id, "last": join.last,
            "presence": join.presence,
            "since": join.since.map(|cursor| cursor.to_string()),
        }),
        ClientFrame::Leave(leave) => json!({"t": "leave", "id": leave.id, "room_id": leave.room_id}),
        ClientFrame::Send(send) => {
            let draft = Draft::from(send.draft);
            json!({
                "t": "send", "id": send.id, "room_id": send.room_id, "content": draft.content, "data": draft.data,
                "reply_to": draft.reply_to, "nonce": draft.nonce,
            })
        }
        ClientFrame::Edit(edit) => json!({
            "t": "edit", "id": edit.id, "room_id": edit.room_id, "msg": edit.msg, "content": edit.content,
        }),
        ClientFrame::Delete(delete) => json!({
            "t": "delete", "id": delete.id, "room_id": delete.room_id, "msg": delete.msg,
        }),
        ClientFrame::History(history) => json!({
            "t": "history", "id": history.id, "room_id": history.room_id, "before": history.before,
            "after": history.after, "limit": history.limit,
        }),
        ClientFrame::Ping(ping) => json!({"t": "ping", "id": ping.id}),
        ClientFrame::Unknown => return Ok(None),
    };
    let mut fields = fields.as_object_mut().map(std::mem::take).unwrap_or_default();
    fields.retain(|_, value| !value.is_null());
    Ok(Some(fields))
}

/// Reads a plain connection's message.
///
/// # Errors
///
/// [`Rejected`].
pub fn understand_plain(text: &[u8]) -> Result<Draft, Rejected> {
    wire::parse_plain(text).map_err(Rejected::from)
}

/// What a notice said.
#[derive(Debug, PartialEq)]
pub struct Understood(Heard);

/// Reads a notice of a bus. `None` if it is none.
#[must_use]
pub fn understand_notice(bytes: &[u8]) -> Option<Understood> {
    Heard::read(bytes).ok().map(Understood)
}

impl Understood {
    /// The same, as this version of a hub writes it; `None` if it is of a kind that isn't known.
    #[must_use]
    pub fn written(&self) -> Option<Notice> {
        let from = self.0.from;
        Some(match &self.0.news {
            News::Committed {
                room,
                epoch,
                head,
                entries,
            } => {
                let entries: Vec<_> = entries.iter().map(|entry| (entry.clone(), Frame::of(entry))).collect();
                Notice::of_commit(from, room, epoch, *head, &entries)
            }
            News::Kick { id, user } => Notice::kick(from, *id, user),
            News::Knock { room } => Notice::knock(from, room),
            News::Presence { room, tell } => Notice::tell(from, room, tell),
            News::PresenceAsked { room, lasts, at_once } => Notice::ask(from, room, *lasts, *at_once),
            News::Unknown => return None,
        })
    }
}
