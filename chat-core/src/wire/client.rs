//! What clients send.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::field;
use crate::client::JoinOptions;
use crate::{Cursor, Draft, JsonObject, MessageId, Nonce, RoomId, Start};

/// A client's own number or word for a request; the answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum RequestId {
    Signed(i64),
    Unsigned(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RequestId;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an id: an integer, or a string of at most 64 characters")
            }
            fn visit_i64<E>(self, id: i64) -> Result<RequestId, E> {
                Ok(RequestId::Signed(id))
            }
            fn visit_u64<E>(self, id: u64) -> Result<RequestId, E> {
                Ok(RequestId::Unsigned(id))
            }
            fn visit_str<E: de::Error>(self, id: &str) -> Result<RequestId, E> {
                if id.chars().count() > 64 {
                    return Err(E::invalid_value(de::Unexpected::Other("a longer string"), &self));
                }
                Ok(RequestId::Text(id.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A frame of `chat.v1.json`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(crate) enum ClientFrame {
    Join(Join),
    Leave(Leave),
    Send(Send),
    Edit(Edit),
    Delete(Delete),
    History(History),
    Ping(Ping),
    /// Of a later version: ignored.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Join {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(deserialize_with = "field::required::room_id")]
    pub(crate) room_id: RoomId,
    #[serde(default, deserialize_with = "field::since")]
    pub(crate) since: Option<Cursor>,
    #[serde(default, deserialize_with = "field::last")]
    pub(crate) last: Option<usize>,
    #[serde(default, deserialize_with = "field::presence")]
    pub(crate) presence: Option<bool>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Leave {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(default, deserialize_with = "field::room_id")]
    pub(crate) room_id: Option<RoomId>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Send {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(default, deserialize_with = "field::room_id")]
    pub(crate) room_id: Option<RoomId>,
    #[serde(flatten)]
    pub(crate) draft: WireDraft,
}

/// What a message says, as it stands in a frame.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct WireDraft {
    #[serde(default, deserialize_with = "field::nonce")]
    nonce: Option<Nonce>,
    #[serde(default, deserialize_with = "field::content")]
    content: Option<String>,
    #[serde(default, deserialize_with = "field::reply_to")]
    reply_to: Option<MessageId>,
    #[serde(default, deserialize_with = "field::data")]
    data: Option<JsonObject>,
}

impl From<WireDraft> for Draft {
    fn from(wire: WireDraft) -> Self {
        Self {
            content: wire.content,
            data: wire.data,
            reply_to: wire.reply_to,
            nonce: wire.nonce,
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Edit {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(default, deserialize_with = "field::room_id")]
    pub(crate) room_id: Option<RoomId>,
    #[serde(deserialize_with = "field::required::msg")]
    pub(crate) msg: MessageId,
    #[serde(deserialize_with = "field::required::content")]
    pub(crate) content: String,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Delete {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(default, deserialize_with = "field::room_id")]
    pub(crate) room_id: Option<RoomId>,
    #[serde(deserialize_with = "field::required::msg")]
    pub(crate) msg: MessageId,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct History {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
    #[serde(default, deserialize_with = "field::room_id")]
    pub(crate) room_id: Option<RoomId>,
    #[serde(default, deserialize_with = "field::before")]
    pub(crate) before: Option<u64>,
    #[serde(default, deserialize_with = "field::after")]
    pub(crate) after: Option<u64>,
    #[serde(default, deserialize_with = "field::limit")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Ping {
    #[serde(default, deserialize_with = "field::id")]
    pub(crate) id: Option<RequestId>,
}

impl ClientFrame {
    pub(crate) fn into_id(self) -> Option<RequestId> {
        match self {
            Self::Join(Join { id, .. })
            | Self::Leave(Leave { id, .. })
            | Self::Send(Send { id, .. })
            | Self::Edit(Edit { id, .. })
            | Self::Delete(Delete { id, .. })
            | Self::History(History { id, .. })
            | Self::Ping(Ping { id }) => id,
            Self::Unknown => None,
        }
    }
}

impl Join {
    /// What it asks for, unless it is to begin in two ways.
    pub(crate) fn options(&mut self) -> Option<JoinOptions> {
        let start = match (self.since.take(), self.last) {
            (None, None) => Start::Live,
            (Some(cursor), None) => Start::Since(cursor),
            (None, Some(count)) => Start::Last(count),
            (Some(_), Some(_)) => return None,
        };
        let presence = self.presence.unwrap_or_default();
        Some(JoinOptions { start, presence })
    }
}

/// A frame that isn't one of the protocol.
#[derive(Debug, PartialEq)]
pub(crate) struct Rejected {
    /// The request's id, if it could be read.
    pub(crate) id: Option<RequestId>,
    /// What is wrong, in at most 200 characters and a few.
    pub(crate) message: String,
}

/// The text, if it can be an object. serde would take an array for one, field by field; and it doesn't look whether what it
/// skips is UTF-8.
fn object(text: &[u8]) -> Result<&str, Rejected> {
    let wrong = |message: &str| Rejected {
        id: None,
        message: message.into(),
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong("a frame is UTF-8"))?;
    if text.trim_ascii_start().starts_with('{') {
        Ok(text)
    } else {
        Err(wrong("a frame is one JSON object"))
    }
}

/// Reads a frame of `chat.v1.json`.
pub(crate) fn parse_v1(text: &[u8]) -> Result<ClientFrame, Rejected> {
    let text = object(text)?;
    serde_json::from_str(text).map_err(|error| {
        #[derive(Deserialize)]
        struct WithId {
            id: Option<RequestId>,
        }
        #[derive(Deserialize)]
        struct WithType {
            t: Option<serde_json::Value>,
        }
        let id = serde_json::from_str(text).ok().and_then(|WithId { id }| id);
        let message = match serde_json::from_str(text) {
            Ok(WithType { t: Some(t) }) if !t.is_string() => "t must be a string".to_owned(),
            Ok(WithType { t: None }) => "t must be a string, and it is missing".to_owned(),
            _ => describe(&error),
        };
        Rejected {
            id,
            message: format!("not a frame of chat.v1.json: {message}"),
        }
    })
}

/// What is wrong, in JSON's words and not too long. Of what can be read, the place doesn't matter.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = if error.is_data() {
        text.strip_suffix(&place).unwrap_or(&text)
    } else {
        &text
    };
    format!("{text:.200}")
}

/// Reads a plain connection's message: an object with `content`; what else is in it is ignored.
pub(crate) fn parse_plain(text: &[u8]) -> Result<Draft, Rejected> {
    #[derive(Deserialize)]
    struct Plain {
        #[serde(deserialize_with = "field::required::content")]
        content: String,
    }
    let text = object(text)?;
    match serde_json::from_str::<Plain>(text) {
        Ok(plain) => Ok(Draft::text(plain.content)),
        Err(error) => Err(Rejected {
            id: None,
            message: describe(&error),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(text: &str) -> Result<ClientFrame, Rejected> {
        parse_v1(text.as_bytes())
    }

    #[test]
    fn each_frame_is_read() {
        let ClientFrame::Join(mut join) = v1(r#"{"t":"join","id":1,"room_id":"r2","since":"e1:41"}"#).unwrap() else {
            panic!()
        };
        assert_eq!(join.id, Some(RequestId::Unsigned(1)));
        assert_eq!(join.options().unwrap().start, Start::Since("e1:41".parse().unwrap()));
        assert!(matches!(
            v1(r#"{"t":"leave"}"#),
            Ok(ClientFrame::Leave(Leave {
                id: None,
                room_id: None
            }))
        ));
        let ClientFrame::Send(send) =
            v1(r#"{"t":"send","id":"x","nonce":"n-1","content":"hi","data":{"a":[1]},"extra":1}"#).unwrap()
        else {
            panic!()
        };
        let draft = Draft::from(send.draft);
        assert_eq!(
            (draft.content.as_deref(), draft.nonce.unwrap().as_str()),
            (Some("hi"), "n-1")
        );
        assert_eq!(draft.data.unwrap().len(), 1);
        assert!(matches!(
            v1(r#"{"t":"ping","id":-3,"content":5}"#),
            Ok(ClientFrame::Ping(Ping {
                id: Some(RequestId::Signed(-3))
            }))
        ));
        assert!(matches!(
            v1(r#"{"t":"history","before":41,"limit":50}"#),
            Ok(ClientFrame::History(_))
        ));
        assert!(matches!(v1(r#"{"t":"later","id":{}}"#), Ok(ClientFrame::Unknown)));
    }

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        // Both are read one bit away by serde_json without its feature `float_roundtrip`.
        for number in ["31.245270191439438", "122.416294033786585"] {
            let ClientFrame::Send(send) = v1(&format!(r#"{{"t":"send","data":{{"n":{number}}}}}"#)).unwrap() else {
                panic!()
            };
            let data = Draft::from(send.draft).data.unwrap();
            assert_eq!(data["n"].as_f64(), number.parse().ok());
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_id_is_kept() {
        let rejected = v1(r#"{"t":"edit","id":9,"content":"x"}"#).unwrap_err();
        assert_eq!(rejected.id, Some(RequestId::Unsigned(9)));
        assert!(rejected.message.contains("msg"), "{}", rejected.message);
        for text in [
            "",
            "1",
            "[]",
            "{",
            "null",
            r#"{"id":1}"#,
            r#"{"t":5}"#,
            r#"{"t":"ping","id":1.5}"#,
            r#"{"t":"ping","id":1e30}"#,
            r#"{"t":"join","room_id":"a b"}"#,
            r#"{"t":"join","room_id":"a","since":"x"}"#,
            r#"{"t":"join","room_id":"a","last":-1}"#,
        ] {
            let rejected = v1(text).unwrap_err();
            assert!(rejected.message.len() < 300, "{}", rejected.message);
        }
        let texts = [
            (r#"{"id":1}"#, "t must be a string, and it is missing"),
            (r#"{"t":5}"#, "t must be a string"),
            (r#"{"t":null}"#, "t must be a string, and it is missing"),
            (
                r#"{"t":"ping","id":1.5}"#,
                "id must be a whole number of 64 bits, or a string of at most 64 characters",
            ),
            (
                r#"{"t":"ping","id":[]}"#,
                "id must be a whole number of 64 bits, or a string of at most 64 characters",
            ),
            (r#"{"t":"join"}"#, "missing field `room_id`"),
            (r#"{"t":"join","room_id":7}"#, "room_id must be a string"),
            (
                r#"{"t":"leave","room_id":"a b"}"#,
                "the room id holds the character ' ', which is not allowed",
            ),
            (r#"{"t":"join","room_id":"a","since":5}"#, "since must be a string"),
            (
                r#"{"t":"join","room_id":"a","since":"x"}"#,
                r#""x" is not a cursor (EPOCH:SEQ, as in e1:41)"#,
            ),
            (
                r#"{"t":"join","room_id":"a","last":-1}"#,
                "last must be a whole number, 0 or above",
            ),
            (
                r#"{"t":"join","room_id":"a","presence":1}"#,
                "presence must be true or false",
            ),
            (r#"{"t":"send","content":5}"#, "content must be a string"),
            (r#"{"t":"send","data":[1]}"#, "data must be an object"),
            (r#"{"t":"send","nonce":{},"content":"x"}"#, "nonce must be a string"),
            (
                r#"{"t":"send","nonce":"","content":"x"}"#,
                "the nonce has 0 characters; allowed are 1 to 64",
            ),
            (
                r#"{"t":"send","reply_to":"x","content":"x"}"#,
                r#""x" is not a message id (a UUID)"#,
            ),
            (r#"{"t":"delete","msg":1}"#, "msg must be a string"),
            (
                r#"{"t":"edit","msg":"01920000-0000-7000-8000-000000000000","content":null}"#,
                "content must be a string",
            ),
            (
                r#"{"t":"history","before":"41"}"#,
                "before must be a seq: a whole number from 0 to 2^53-1",
            ),
            (
                r#"{"t":"history","after":1.5}"#,
                "after must be a seq: a whole number from 0 to 2^53-1",
            ),
            (
                r#"{"t":"history","limit":true}"#,
                "limit must be a whole number, 0 or above",
            ),
            (r#"{"t":"ping","#, "EOF while parsing a value at line 1 column 12"),
        ];
        for (text, message) in texts {
            let expected = format!("not a frame of chat.v1.json: {message}");
            assert_eq!(v1(text).unwrap_err().message, expected, "{text}");
        }
        assert_eq!(
            parse_plain(br#"{"content":5}"#).unwrap_err().message,
            "content must be a string"
        );
        for text in [r#"["ping",3]"#, r#" ["leave",1,"p"]"#] {
            assert_eq!(v1(text).unwrap_err().message, "a frame is one JSON object");
        }
        assert!(parse_plain(br#"["hi"]"#).is_err());
        assert_eq!(parse_plain(br#" {"content":"hi","nonce":5}"#), Ok(Draft::text("hi")));
        let long = format!(r#"{{"t":"ping","id":"{}"}}"#, "x".repeat(65));
        assert!(v1(&long).is_err());
        for text in [
            &b"{\"t\":\"send\",\"content\":\"\xff\"}"[..],
            b"{\"t\":\"send\",\"content\":\"hi\",\"other\":\"\xff\"}",
        ] {
            assert_eq!(parse_v1(text).unwrap_err().message, "a frame is UTF-8");
            assert_eq!(parse_plain(text).unwrap_err().message, "a frame is UTF-8");
        }
        let deep = format!(
            r#"{{"t":"send","data":{{"a":{}1{}}}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert!(v1(&deep).is_err());
    }
}
