//! What clients send, as `chat.v1.json` and as a plain connection read it: compared with a reader that was written from
//! `docs/PROTOCOL.md`, on what came and on the same in canonical JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_core::fuzz::{Rejected, understand, understand_plain};
use roomcast_core::{Cursor, JsonObject, MessageId, Nonce, RoomId};
use roomcast_fuzz::peak;
use serde_json::Value;

/// `data` of many small values takes up to about a hundred times its length, and is there twice for a moment.
const BYTES_PER_BYTE: usize = 256;

/// What a field of this name may be, and how it is understood.
fn field(name: &str, value: &Value) -> Option<Value> {
    match name {
        "id" => match value {
            Value::Number(number) if !number.is_f64() => Some(value.clone()),
            Value::String(text) if text.chars().count() <= 64 => Some(value.clone()),
            _ => None,
        },
        "last" | "limit" | "before" | "after" => value.is_u64().then(|| value.clone()),
        "data" => value.is_object().then(|| value.clone()),
        "presence" => value.is_boolean().then(|| value.clone()),
        _ => {
            let text = value.as_str()?;
            let understood = match name {
                "room_id" => RoomId::new(text).ok()?.to_string(),
                "since" => text.parse::<Cursor>().ok()?.to_string(),
                "nonce" => Nonce::new(text).ok()?.to_string(),
                "msg" | "reply_to" => text.parse::<MessageId>().ok()?.to_string(),
                "content" => text.to_owned(),
                other => unreachable!("{other} is no field"),
            };
            Some(understood.into())
        }
    }
}

/// The fields of each type of frame: those that it must have and those that it may have.
fn fields(t: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    Some(match t {
        "join" => (&["room_id"], &["id", "since", "last", "presence"]),
        "leave" => (&[], &["id", "room_id"]),
        "send" => (&[], &["id", "room_id", "nonce", "content", "reply_to", "data"]),
        "edit" => (&["msg", "content"], &["id", "room_id"]),
        "delete" => (&["msg"], &["id", "room_id"]),
        "history" => (&[], &["id", "room_id", "before", "after", "limit"]),
        "ping" => (&[], &["id"]),
        _ => return None,
    })
}

/// By which words people know a field in the text of an error.
fn words(field: &str) -> &'static [&'static str] {
    match field {
        "t" => &["t must be a string"],
        "id" => &["id must be"],
        "room_id" => &["room_id", "the room id"],
        "since" => &["since", "cursor", "the epoch"],
        "last" => &["last"],
        "presence" => &["presence"],
        "nonce" => &["nonce"],
        "content" => &["content"],
        "reply_to" => &["reply_to", "message id"],
        "msg" => &["msg", "message id"],
        "data" => &["data"],
        "before" => &["before"],
        "after" => &["after"],
        "limit" => &["limit"],
        other => unreachable!("{other} is no field"),
    }
}

/// What the protocol's description makes of an object: its fields, or those that are wrong.
fn described(object: &JsonObject) -> Result<Option<JsonObject>, Vec<&'static str>> {
    let Some(Value::String(t)) = object.get("t") else {
        return Err(vec!["t"]);
    };
    let Some((required, optional)) = fields(t) else {
        return Ok(None);
    };
    let mut understood = JsonObject::from_iter([("t".to_owned(), t.as_str().into())]);
    let mut wrong = Vec::new();
    for (names, must) in [(required, true), (optional, false)] {
        for name in names {
            match object.get(*name) {
                None => wrong.extend(must.then_some(*name)),
                Some(Value::Null) if !must => {}
                Some(value) => match field(name, value) {
                    Some(value) => drop(understood.insert((*name).to_owned(), value)),
                    None => wrong.push(name),
                },
            }
        }
    }
    if wrong.is_empty() {
        Ok(Some(understood))
    } else {
        Err(wrong)
    }
}

fn is_short(rejected: &Rejected) {
    let count = rejected.message.chars().count();
    assert!((1..=240).contains(&count), "a text of {count} characters: {rejected:?}");
}

/// An object without repeated keys, as JSON: here the description decides everything.
fn canonical(object: &JsonObject) {
    let text = Value::from(object.clone()).to_string();
    match (understand(text.as_bytes()), described(object)) {
        (Ok(understood), Ok(described)) => {
            assert_eq!(understood, described, "{text}");
            if let Some(fields) = understood {
                let again = Value::from(fields.clone()).to_string();
                let again = understand(again.as_bytes()).expect("what was understood can be said again");
                assert_eq!(again, Some(fields), "{text}");
            }
        }
        (Err(rejected), Err(wrong)) => {
            is_short(&rejected);
            let named = wrong
                .iter()
                .flat_map(|field| words(field))
                .any(|word| rejected.message.contains(word));
            assert!(
                named,
                "{wrong:?} is wrong in {text}, and this is said: {}",
                rejected.message
            );
            let id = object.get("id").and_then(|id| field("id", id));
            assert_eq!(rejected.id, id, "the answer carries the request's id: {text}");
        }
        (understood, described) => panic!("{text} is {understood:?}, and should be {described:?}"),
    }
    let content = object.get("content").and_then(Value::as_str);
    match (understand_plain(text.as_bytes()), content) {
        (Ok(draft), Some(_)) => assert_eq!(draft.content.as_deref(), content),
        (Err(rejected), None) => assert!(rejected.message.contains("content"), "{rejected:?}"),
        (draft, _) => panic!("{text} is {draft:?} to a plain connection"),
    }
}

fuzz_target!(|text: &[u8]| {
    let value = serde_json::from_slice::<Value>(text);
    let (frame, bytes) = peak(|| understand(text));
    assert!(
        bytes <= BYTES_PER_BYTE * text.len() + (16 << 10),
        "{bytes} bytes for {} of JSON",
        text.len()
    );
    let (plain, bytes) = peak(|| understand_plain(text));
    assert!(
        bytes <= BYTES_PER_BYTE * text.len() + (16 << 10),
        "{bytes} bytes for {} of JSON",
        text.len()
    );
    for rejected in [frame.as_ref().err(), plain.as_ref().err()].into_iter().flatten() {
        is_short(rejected);
    }
    match value {
        Ok(Value::Object(object)) => {
            // Keys that are there twice may be refused; what is understood must be what everybody reads.
            if let Ok(frame) = frame {
                assert_eq!(Ok(frame), described(&object), "{object:?}");
            }
            if let Ok(plain) = plain {
                assert_eq!(plain.content.as_deref(), object.get("content").and_then(Value::as_str));
            }
            canonical(&object);
        }
        _ => {
            let (frame, plain) = (frame.expect_err("no object"), plain.expect_err("no object"));
            let said = match std::str::from_utf8(text) {
                Err(_) => "a frame is UTF-8",
                Ok(text) if text.trim_ascii_start().starts_with('{') => return,
                Ok(_) => "a frame is one JSON object",
            };
            assert_eq!((&frame.message[..], &plain.message[..]), (said, said));
        }
    }
});
