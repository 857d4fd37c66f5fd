//! Documents as a database of MongoDB may hold them: what the store makes of them is sound and whole, or an error that says that
//! the database is damaged; and what the store itself writes is read as it was.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Binary, Bson, DateTime, Document, doc, oid::ObjectId};
use roomcast_core::{
    Change, Entry, Epoch, Fingerprint, JsonObject, MAX_SEQ, Message, MessageId, NewEntry, Nonce, RoomId, StoreError,
    StoreErrorKind, Timestamp, User, UserId, UserName,
};
use roomcast_mongo::fuzz;
use serde_json::Value;

#[derive(Debug, Arbitrary)]
enum Input {
    /// Bytes that may be no document at all.
    Bytes(Vec<u8>),
    /// A page of a log: entries as they should be, in which something is otherwise.
    Log {
        after: u64,
        small: bool,
        documents: Vec<(Stored, Vec<Wrong>)>,
    },
    Room {
        head: i64,
        floor: i64,
        wrong: Vec<Wrong>,
    },
    /// What is written is read.
    Written {
        seq: u64,
        entry: Written,
    },
    Import(Vec<Wrong>),
}

#[derive(Debug, Arbitrary)]
struct Stored {
    kind: u8,
    deleted: bool,
    /// What was deleted is still there.
    kept: bool,
    data: bool,
}

/// Another value in one place, or none.
#[derive(Debug, Arbitrary)]
struct Wrong {
    field: u8,
    within: Option<u8>,
    value: Option<Cell>,
}

#[derive(Debug, Arbitrary)]
enum Cell {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Double(f64),
    Text(String),
    Date(i64),
    Binary { subtype: u8, bytes: Vec<u8> },
    ObjectId([u8; 12]),
    Array(Vec<Cell>),
    Document(Vec<(String, Cell)>),
    Special(u8),
}

impl From<&Cell> for Bson {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Null => Bson::Null,
            Cell::Bool(value) => Bson::Boolean(*value),
            Cell::Int32(number) => Bson::Int32(*number),
            Cell::Int64(number) => Bson::Int64(*number),
            Cell::Double(number) => Bson::Double(*number),
            Cell::Text(text) => Bson::String(text.clone()),
            Cell::Date(ms) => Bson::DateTime(DateTime::from_millis(*ms)),
            Cell::Binary { subtype, bytes } => Bson::Binary(Binary {
                subtype: BinarySubtype::from(*subtype),
                bytes: bytes.clone(),
            }),
            Cell::ObjectId(bytes) => Bson::ObjectId(ObjectId::from_bytes(*bytes)),
            Cell::Array(cells) => Bson::Array(cells.iter().map(Bson::from).collect()),
            Cell::Document(fields) => {
                Bson::Document(fields.iter().map(|(key, cell)| (key.clone(), cell.into())).collect())
            }
            Cell::Special(which) => match which % 4 {
                0 => Bson::MinKey,
                1 => Bson::MaxKey,
                2 => Bson::Undefined,
                _ => Bson::JavaScriptCode("x".into()),
            },
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Written {
    id: u128,
    user: String,
    name: String,
    at: i64,
    what: What,
}

#[derive(Debug, Arbitrary)]
enum What {
    Message {
        content: Option<String>,
        data: Option<Vec<(String, Json)>>,
        reply_to: Option<u128>,
        nonce: Option<String>,
    },
    Edit {
        message: u128,
        content: String,
        target: u64,
    },
    Delete {
        message: u128,
        target: u64,
    },
}

#[derive(Debug, Arbitrary)]
enum Json {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    Deep(u8),
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Signed(number) => (*number).into(),
            Json::Unsigned(number) => (*number).into(),
            // JSON has neither infinity nor "not a number".
            Json::Float(number) => (*number).into(),
            Json::Text(text) => text.as_str().into(),
            Json::Array(values) => values.iter().map(Value::from).collect(),
            Json::Object(fields) => Value::Object(object(fields)),
            Json::Deep(depth) => (0..depth % 120).fold(Value::Null, |value, _| vec![value].into()),
        }
    }
}

/// How many levels a value has: a hub lets no more than 124 in.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(levels).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn object(fields: &[(String, Json)]) -> JsonObject {
    fields.iter().map(|(key, json)| (key.clone(), json.into())).collect()
}

fn room() -> RoomId {
    RoomId::new("r").expect("a name")
}

fn uuid(number: u128) -> bson::Uuid {
    bson::Uuid::from_bytes(number.to_be_bytes())
}

fn bytes(document: &Document) -> Option<Vec<u8>> {
    // A key with a zero in it is none.
    bson::serialize_to_vec(document).ok()
}

/// Puts other values in some places. False if one was.
fn spoil(document: &mut Document, wrong: &[Wrong]) -> bool {
    for Wrong { field, within, value } in wrong {
        let Some(key) = document
            .keys()
            .nth(usize::from(*field) % document.len().max(1))
            .cloned()
        else {
            continue;
        };
        if let (Some(within), Some(Bson::Document(inner))) = (within, document.get_mut(&key)) {
            let inner_wrong = Wrong {
                field: *within,
                within: None,
                value: None,
            };
            match value {
                Some(cell) => {
                    let key = inner.keys().nth(usize::from(*within) % inner.len().max(1)).cloned();
                    inner.insert(key.unwrap_or_default(), Bson::from(cell));
                }
                None => drop(spoil(inner, &[inner_wrong])),
            }
            continue;
        }
        match value {
            Some(cell) => drop(document.insert(key, Bson::from(cell))),
            None => drop(document.remove(&key)),
        }
    }
    wrong.is_empty()
}

fn damaged(error: &StoreError) {
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
    assert!(error.to_string().starts_with("the database is damaged: "), "{error}");
}

fn sound(message: &Message) {
    assert!((1..=MAX_SEQ).contains(&message.seq), "{message:?}");
    assert_eq!(message.room_id, room());
    if message.deleted {
        let says = message.content.is_some() || message.data.is_some() || message.reply_to.is_some();
        assert!(!says, "deleted, and told: {message:?}");
    }
    let text = serde_json::to_string(message).expect("a message is JSON");
    if let Ok(again) = serde_json::from_str::<Message>(&text) {
        assert_eq!(&again, message);
    } else {
        // JSON's readers stop at 128 levels.
        assert!(text.matches(['[', '{']).count() > 120, "{text}");
    }
}

fn log(after: u64, small: bool, documents: &[(Stored, Vec<Wrong>)]) {
    let after = if small { after % 100 } else { after % (MAX_SEQ - 100) };
    let mut whole = true;
    let mut written = Vec::new();
    for ((stored, wrong), seq) in documents.iter().zip(after + 1..) {
        let mut document = doc! {
            "_id": uuid(u128::from(seq)), "room_id": "r", "seq": seq as i64, "kind": "message",
            "user": {"id": "ann", "name": "Ann"}, "created_at": DateTime::from_millis(1_795_338_000_123),
        };
        match stored.kind % 3 {
            0 if stored.deleted && !stored.kept => drop(document.insert("deleted", true)),
            0 => {
                if stored.deleted {
                    document.insert("deleted", true);
                }
                document.insert("content", "hi");
                document.insert("reply_to", uuid(1));
                document.insert("edited_at", DateTime::from_millis(1_795_338_000_124));
                document.insert("revision", seq as i64 + 1);
                let data = if stored.data {
                    Bson::String(r#"{"a.b":[1.5e-7]}"#.into())
                } else {
                    doc! {"n": [1_i64, 2.5]}.into()
                };
                document.insert("data", data);
            }
            kind => {
                document.insert("kind", if kind == 1 { "edit" } else { "delete" });
                document.insert("message", uuid(1));
                document.insert("target", 1_i64);
                document.insert("unfinished", stored.data);
            }
        }
        whole &= spoil(&mut document, wrong);
        let Some(bytes) = bytes(&document) else { return };
        match fuzz::message(&room(), &bytes) {
            Ok((message, _)) => sound(&message),
            Err(error) => damaged(&error),
        }
        written.push(bytes);
    }
    match fuzz::log(&room(), after, &written) {
        Ok(entries) => {
            assert_eq!(entries.len(), documents.len());
            for (entry, expected) in entries.iter().zip(after + 1..) {
                assert_eq!(entry.seq(), expected, "a hole");
                match entry {
                    Entry::Message(message) => sound(message),
                    entry => {
                        let target = entry.target().expect("a change has a target");
                        assert!((1..=MAX_SEQ).contains(&target), "{entry:?}");
                    }
                }
            }
        }
        Err(error) => {
            damaged(&error);
            assert!(!whole || written.is_empty(), "a sound log: {error:?}");
        }
    }
}

fn stored_room(head: i64, floor: i64, wrong: &[Wrong]) {
    let mut document = doc! {"_id": "r", "epoch": "e1", "floor": floor, "last": [{"seq": head}], "unfinished": []};
    let whole = spoil(&mut document, wrong);
    let Some(bytes) = bytes(&document) else { return };
    let seqs = 0..=MAX_SEQ as i64;
    match fuzz::head(&bytes) {
        Ok(found) => {
            assert!(found.floor <= found.head && found.head <= MAX_SEQ, "{found:?}");
            assert!(Epoch::new(found.epoch.as_str()).is_ok());
            if whole {
                assert_eq!((found.floor, found.head), (floor as u64, head.max(floor) as u64));
            }
        }
        Err(error) => {
            damaged(&error);
            // Entries begin with 1.
            let sound = seqs.contains(&floor) && seqs.contains(&head) && head > 0;
            assert!(!whole || !sound, "{error:?}");
        }
    }
}

fn written(seq: u64, written: &Written) -> Option<()> {
    let seq = 1 + seq % MAX_SEQ;
    let user = User::new(UserId::new(&written.user).ok()?, UserName::new(&written.name).ok()?);
    let print = Fingerprint::from_u128(written.id);
    let (change, target) = match &written.what {
        What::Message {
            content,
            data,
            reply_to,
            nonce,
        } => (
            Change::Message {
                content: content.clone(),
                data: data
                    .as_deref()
                    .map(object)
                    .filter(|data| levels(&Value::from(data.clone())) <= 124),
                reply_to: reply_to.map(MessageId::from_u128),
                nonce: nonce
                    .as_ref()
                    .and_then(|nonce| Nonce::new(nonce).ok())
                    .map(|nonce| (nonce, print)),
            },
            None,
        ),
        What::Edit {
            message,
            content,
            target,
        } => {
            let message = MessageId::from_u128(*message);
            (
                Change::Edit {
                    message,
                    content: content.clone(),
                },
                Some(1 + target % MAX_SEQ),
            )
        }
        What::Delete { message, target } => (
            Change::Delete {
                message: MessageId::from_u128(*message),
            },
            Some(1 + target % MAX_SEQ),
        ),
    };
    let entry = NewEntry {
        id: MessageId::from_u128(written.id),
        user,
        at: Timestamp::from_millis(written.at),
        change,
    };
    let stored = fuzz::stored(&room(), seq, &entry, target).expect("what a hub accepts can be stored");
    let mut read = fuzz::log(&room(), seq - 1, &[stored]).expect("and read");
    let (expected_id, expected_at) = (entry.id, entry.at);
    match (read.pop().expect("one entry"), entry.change) {
        (
            Entry::Message(message),
            Change::Message {
                content,
                data,
                reply_to,
                ..
            },
        ) => {
            assert_eq!(
                (message.id, message.created_at, &message.user),
                (expected_id, expected_at, &entry.user)
            );
            assert_eq!((message.content, message.reply_to), (content, reply_to));
            // Of a number every bit counts: 0 and -0 are equal, and written differently.
            let text = |data: &Option<JsonObject>| serde_json::to_string(data).expect("JSON");
            assert_eq!(text(&message.data), text(&data));
        }
        (Entry::Edit(edit), Change::Edit { message, .. }) => {
            assert_eq!(
                (edit.message, Some(edit.target), edit.at),
                (message, target, expected_at)
            );
        }
        (Entry::Delete(deletion), Change::Delete { message }) => {
            assert_eq!(
                (deletion.message, Some(deletion.target), deletion.at),
                (message, target, expected_at)
            );
        }
        (read, change) => panic!("{change:?} is read as {read:?}"),
    }
    Some(())
}

fn import(wrong: &[Wrong]) {
    let mut document = doc! {
        "_id": ObjectId::from_bytes([1; 12]), "room_id": "lobby", "content": "hi",
        "created_at": DateTime::from_millis(1_795_338_000_123), "user": {"id": 7, "name": "Ann"},
    };
    let whole = spoil(&mut document, wrong);
    match fuzz::imported(&document) {
        Ok((_, entry)) => match entry.change {
            Change::Message {
                content: Some(content),
                nonce: Some(_),
                ..
            } => assert!(!content.is_empty()),
            change => panic!("{change:?}"),
        },
        Err(what) => assert!(!whole && !what.is_empty() && what.chars().count() < 2000, "{what}"),
    }
}

fuzz_target!(|input: Input| {
    match &input {
        Input::Bytes(bytes) => {
            for error in [
                fuzz::message(&room(), bytes).map(|(message, _)| sound(&message)).err(),
                fuzz::head(bytes).err(),
                fuzz::log(&room(), 0, std::slice::from_ref(bytes)).err(),
            ] {
                error.as_ref().inspect(|error| damaged(error));
            }
            if let Ok(document) = bson::deserialize_from_slice::<Document>(bytes) {
                let _ = fuzz::imported(&document);
            }
        }
        Input::Log {
            after,
            small,
            documents,
        } => log(*after, *small, documents),
        Input::Room { head, floor, wrong } => stored_room(*head, *floor, wrong),
        Input::Written { seq, entry } => drop(written(*seq, entry)),
        Input::Import(wrong) => import(wrong),
    }
});
