//! What a room's log holds.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{MessageId, RoomId, Timestamp, User};

/// A JSON object, as carried in a message's `data`.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// A message as it now is: with the newest content, or as a tombstone if it was deleted.
///
/// Its JSON form is the one that goes over the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// The message's id, the same for ever.
    pub id: MessageId,
    /// The room.
    pub room_id: RoomId,
    /// The place in the room's log, from 1.
    pub seq: u64,
    /// Who sent it.
    pub user: User,
    /// The text; absent in a message that has only `data`, and in a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The message of the same room that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// What the application adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<JsonObject>,
    /// When the hub accepted it.
    pub created_at: Timestamp,
    /// When the content was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// Whether this is a tombstone: id, seq, user and `created_at` are kept, all else is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl Message {
    /// A message without content; set the other fields after.
    #[must_use]
    pub fn new(id: MessageId, room_id: RoomId, seq: u64, user: User, created_at: Timestamp) -> Self {
        Self {
            id,
            room_id,
            seq,
            user,
            content: None,
            reply_to: None,
            data: None,
            created_at,
            edited_at: None,
            deleted: false,
        }
    }

    /// Makes it a tombstone: nothing of what was said is left.
    pub fn bury(&mut self) {
        self.content = None;
        self.reply_to = None;
        self.data = None;
        self.edited_at = None;
        self.deleted = true;
    }
}

/// A change of a message's content, as an entry of the log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Edit {
    /// The entry's own id.
    pub id: MessageId,
    /// The room.
    pub room_id: RoomId,
    /// The entry's place in the log.
    pub seq: u64,
    /// The message that was changed.
    pub message: MessageId,
    /// That message's place in the log.
    pub target: u64,
    /// Who changed it.
    pub user: User,
    /// The message's content as it now is; absent if the message was deleted since, or removed by retention.
    pub content: Option<String>,
    /// When it was changed.
    pub at: Timestamp,
}

impl Edit {
    /// An edit without content; set it after, unless the message was deleted since.
    #[must_use]
    pub fn new(
        id: MessageId,
        room_id: RoomId,
        seq: u64,
        (message, target): (MessageId, u64),
        user: User,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            room_id,
            seq,
            message,
            target,
            user,
            content: None,
            at,
        }
    }
}

/// The removal of a message, as an entry of the log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Deletion {
    /// The entry's own id.
    pub id: MessageId,
    /// The room.
    pub room_id: RoomId,
    /// The entry's place in the log.
    pub seq: u64,
    /// The message that was deleted.
    pub message: MessageId,
    /// That message's place in the log.
    pub target: u64,
    /// Who deleted it.
    pub user: User,
    /// When it was deleted.
    pub at: Timestamp,
}

impl Deletion {
    /// A deletion from its parts.
    #[must_use]
    pub fn new(
        id: MessageId,
        room_id: RoomId,
        seq: u64,
        (message, target): (MessageId, u64),
        user: User,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            room_id,
            seq,
            message,
            target,
            user,
            at,
        }
    }
}

/// One entry of a room's log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A message, as it now is.
    Message(Message),
    /// A message's content was changed.
    Edit(Edit),
    /// A message was deleted.
    Delete(Deletion),
}

impl Entry {
    /// The entry's place in the log, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Message(message) => message.seq,
            Self::Edit(edit) => edit.seq,
            Self::Delete(deletion) => deletion.seq,
        }
    }

    /// The entry's own id, by which a writer knows its work again.
    #[must_use]
    pub fn id(&self) -> MessageId {
        match self {
            Self::Message(message) => message.id,
            Self::Edit(edit) => edit.id,
            Self::Delete(deletion) => deletion.id,
        }
    }

    /// The place of the message that an edit or a deletion is about.
    #[must_use]
    pub fn target(&self) -> Option<u64> {
        match self {
            Self::Message(_) => None,
            Self::Edit(edit) => Some(edit.target),
            Self::Delete(deletion) => Some(deletion.target),
        }
    }
}

/// What somebody wants to say, before it is stored. A [`Policy`](crate::Policy) may change it.
///
/// ```
/// # use roomcast_core::Draft;
/// let mut draft = Draft::text("hello");
/// draft.nonce = Some("order-17".parse()?);
/// # Ok::<(), roomcast_core::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Draft {
    /// The text, not empty.
    pub content: Option<String>,
    /// What the application adds, nested at most 124 levels deep.
    pub data: Option<JsonObject>,
    /// The message of the same room that this one answers.
    pub reply_to: Option<MessageId>,
    /// Makes the send repeatable.
    pub nonce: Option<crate::Nonce>,
}

impl Draft {
    /// A draft with nothing in it; at least `content` or `data` must be set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A draft with text.
    #[must_use]
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            content: Some(content.into()),
            ..Self::default()
        }
    }

    /// What tells two drafts with the same nonce apart: made of content, data and `reply_to`. The order of the keys in `data`
    /// makes no difference, whatever features serde_json was built with. For tools that write to a store by themselves; a hub
    /// makes it of what the sender sent, before the policy changes it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // Lengths first, so that no two different drafts run together into the same bytes.
        let content = self.content.as_deref().unwrap_or_default();
        let mut data = String::new();
        if let Some(object) = &self.data {
            put_object(object, &mut data);
        }
        let reply_to = self.reply_to.map(|id| id.to_string()).unwrap_or_default();
        let mut bytes = Vec::with_capacity(content.len() + data.len() + reply_to.len() + 24);
        for part in [content, &data, &reply_to] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Fingerprint(Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes).as_u128())
    }
}

/// Appends the object as JSON without spaces, with its keys in rising order of their bytes: serde_json's own order depends
/// on its feature `preserve_order`, which any crate of a program may turn on.
fn put_object(object: &JsonObject, out: &mut String) {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (n, (key, value)) in entries.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        put(&serde_json::Value::from(key.as_str()), out);
        out.push(':');
        put(value, out);
    }
    out.push('}');
}

fn put(value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::Object(object) => put_object(object, out),
        serde_json::Value::Array(values) => {
            out.push('[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                put(value, out);
            }
            out.push(']');
        }
        scalar => {
            // Writing to a string can't fail.
            let _ = write!(out, "{scalar}");
        }
    }
}

/// A digest of what was sent with a nonce, before any policy changed it: a repeated nonce with another fingerprint is
/// a conflict. The same on every node and version (a UUID of version 5 over the draft's parts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint with these bits, as a store kept them.
    #[must_use]
    pub fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits, for a store to keep.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let mut message = Message::new(
            MessageId::from_u128(1),
            RoomId::new("r").unwrap(),
            58,
            User::named("ann").unwrap(),
            Timestamp::from_millis(0),
        );
        message.content = Some("hi".into());
        message
    }

    #[test]
    fn the_json_is_the_wire_form() {
        assert_eq!(
            serde_json::to_string(&message()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000001","room_id":"r","seq":58,"user":{"id":"ann","name":"ann"},"content":"hi","created_at":"1970-01-01T00:00:00.000Z"}"#
        );
    }

    #[test]
    fn a_tombstone_says_nothing() {
        let mut message = message();
        message.data = Some(JsonObject::from_iter([("a".to_owned(), 1.into())]));
        message.reply_to = Some(MessageId::from_u128(2));
        message.bury();
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000001","room_id":"r","seq":58,"user":{"id":"ann","name":"ann"},"created_at":"1970-01-01T00:00:00.000Z","deleted":true}"#
        );
    }

    #[test]
    fn a_fingerprint_tells_drafts_apart_and_ignores_the_nonce() {
        let plain = Draft::text("hi");
        let mut again = plain.clone();
        again.nonce = Some("n".parse().unwrap());
        assert_eq!(plain.fingerprint(), again.fingerprint());
        let mut reply = plain.clone();
        reply.reply_to = Some(MessageId::from_u128(1));
        assert_ne!(plain.fingerprint(), reply.fingerprint());
        assert_ne!(Draft::text("hi ").fingerprint(), plain.fingerprint());
        // Kept in databases: it must never change.
        assert_eq!(
            plain.fingerprint().as_u128(),
            290_506_913_209_740_424_629_737_556_466_443_840_755
        );
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_the_order_of_keys() {
        let of = |json: &str| {
            let mut draft = Draft::new();
            draft.data = Some(serde_json::from_str(json).unwrap());
            draft.fingerprint()
        };
        let one = of(r#"{"b":[1,-2.5,null,true,{"d":"\u0001\"é","c":{}}],"a":"x"}"#);
        let two = of(r#"{"a":"x", "b":[1,-2.5,null,true,{"c":{},"d":"\u0001\"é"}]}"#);
        assert_eq!(one, two);
        assert_ne!(one, of(r#"{"a":"x","b":[-2.5,1,null,true,{"c":{},"d":"\u0001\"é"}]}"#));
        // Kept in databases: it must never change.
        assert_eq!(one.as_u128(), 71_326_105_491_238_290_395_494_001_734_574_490_589);
        // As serde_json writes it by itself with sorted keys.
        let object: JsonObject = serde_json::from_str(r#"{"a":{"y":1,"z":[]},"b":"q\"\n"}"#).unwrap();
        let mut canonical = String::new();
        put_object(&object, &mut canonical);
        assert_eq!(canonical, r#"{"a":{"y":1,"z":[]},"b":"q\"\n"}"#);
    }
}
