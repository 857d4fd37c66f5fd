//! Notices as they are written, and what they claim.

use std::collections::HashSet;

use roomcast_core::{Deletion, Edit, Entry, Message, MessageId, RoomId, Timestamp, User};
use serde_json::{Value, json};

use super::script::{Line, Told};

/// An entry by room, seq, kind and the message that it is or is about.
pub type Key = (String, u64, String, String);

/// What was said to be in the logs.
#[derive(Default)]
pub struct Claims {
    pub keys: HashSet<Key>,
    pub contents: HashSet<String>,
}

/// What is stored in a room.
pub struct Stored {
    pub room: RoomId,
    pub epoch: String,
    pub entries: Vec<Entry>,
}

pub fn key_of(entry: &Entry) -> Key {
    let (kind, room, message) = match entry {
        Entry::Message(message) => ("message", &message.room_id, message.id),
        Entry::Edit(edit) => ("edit", &edit.room_id, edit.message),
        Entry::Delete(deletion) => ("delete", &deletion.room_id, deletion.message),
        _ => unreachable!("there is no such entry: {entry:?}"),
    };
    (room.to_string(), entry.seq(), kind.into(), message.to_string())
}

fn content_of(entry: &Entry) -> Option<&String> {
    match entry {
        Entry::Message(message) => message.content.as_ref(),
        Entry::Edit(edit) => edit.content.as_ref(),
        _ => None,
    }
}

/// A line of a notice.
fn line(entry: &Entry) -> Value {
    match entry {
        Entry::Message(message) => json!({ "message": message }),
        Entry::Edit(edit) => json!({"edit": {
            "id": edit.id, "seq": edit.seq, "message": edit.message, "target": edit.target, "user": edit.user,
            "content": edit.content, "at": edit.at,
        }}),
        Entry::Delete(deletion) => json!({"delete": {
            "id": deletion.id, "seq": deletion.seq, "message": deletion.message, "target": deletion.target,
            "user": deletion.user, "at": deletion.at,
        }}),
        _ => unreachable!("there is no such entry: {entry:?}"),
    }
}

impl Claims {
    pub fn add(&mut self, entry: &Entry) {
        self.keys.insert(key_of(entry));
        self.contents.extend(content_of(entry).cloned());
    }

    /// Whatever a reader could find in a notice.
    pub fn add_all_in(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let Some(head) = lines.next().and_then(|line| serde_json::from_slice::<Value>(line).ok()) else {
            return;
        };
        let Some(room) = head["room"].as_str() else { return };
        for line in lines {
            let Ok(line) = serde_json::from_slice::<Value>(line) else {
                return;
            };
            for kind in ["message", "edit", "delete"] {
                let entry = &line[kind];
                let id = entry[if kind == "message" { "id" } else { "message" }].as_str();
                let id = id.and_then(|id| id.parse::<MessageId>().ok());
                if let Some((id, seq)) = id.zip(entry["seq"].as_u64()) {
                    self.keys.insert((room.into(), seq, kind.into(), id.to_string()));
                    self.contents.extend(entry["content"].as_str().map(str::to_owned));
                }
            }
        }
    }
}

impl Stored {
    fn head(&self) -> u64 {
        self.entries.last().map_or(0, Entry::seq)
    }

    /// The entries of these lines, the first of which lies so far behind the head's next; or as many as are stored from there.
    pub fn entries(&self, first: i8, lines: &[Option<Line>], honest: bool) -> Vec<Entry> {
        let first = (self.head() + 1).saturating_add_signed(first.into()).max(1);
        if honest {
            let stored = self.entries.iter().skip(first as usize - 1);
            return stored.take(lines.iter().flatten().count()).cloned().collect();
        }
        (first..)
            .zip(lines.iter().flatten())
            .map(|(seq, line)| self.entry(seq, *line))
            .collect()
    }

    fn entry(&self, seq: u64, line: Line) -> Entry {
        let (room, user, at) = (self.room.clone(), person(0), Timestamp::from_millis(1));
        // Nobody else gives out these ids.
        let id = |seq: u64| MessageId::from_u128(1 << 100 | u128::from(seq));
        let target = |target: u8| u64::from(target) % seq;
        match line {
            Line::True if seq <= self.head() => self.entries[seq as usize - 1].clone(),
            Line::Edit { target: of, content } if target(of) > 0 => {
                let of = self.message(target(of)).unwrap_or((id(target(of)), target(of)));
                let mut edit = Edit::new(id(seq), room, seq, of, user, at);
                edit.content = Some(format!("lie {content}"));
                Entry::Edit(edit)
            }
            Line::Delete { target: of } if target(of) > 0 => {
                let of = self.message(target(of)).unwrap_or((id(target(of)), target(of)));
                Entry::Delete(Deletion::new(id(seq), room, seq, of, user, at))
            }
            line => {
                let mut message = Message::new(id(seq), room, seq, user, at);
                message.content = Some(format!("lie {line:?}"));
                Entry::Message(message)
            }
        }
    }

    fn message(&self, seq: u64) -> Option<(MessageId, u64)> {
        match self.entries.get(usize::try_from(seq).ok()?.checked_sub(1)?)? {
            Entry::Message(message) => Some((message.id, seq)),
            _ => None,
        }
    }
}

/// A user by number.
fn person(n: u8) -> User {
    let name = match n % 8 {
        0 => "ann".into(),
        1 => "bob".into(),
        n => format!("carl{n}"),
    };
    User::named(name).expect("a name")
}

/// The notice as it travels; `rooms` is what is stored in each.
pub fn written(told: &Told, rooms: &[Stored], honest: bool) -> Vec<u8> {
    let room = |n: u8| &rooms[usize::from(n) % rooms.len()];
    let mut below = Vec::new();
    let mut head = match told {
        Told::Committed {
            room: of,
            other_log,
            first,
            beyond,
            lines,
            ..
        } => {
            let stored = room(*of);
            let entries = stored.entries(*first, lines, honest);
            below = entries.iter().map(line).collect();
            let last = entries.last().map_or(stored.head(), Entry::seq) + u64::from(*beyond);
            let epoch = if *other_log { "other" } else { &stored.epoch };
            json!({"t": "committed", "room": stored.room, "epoch": epoch, "head": last})
        }
        Told::Kick { id, user, .. } => {
            json!({"t": "kick", "id": MessageId::from_u128((*id).into()), "user": person((*user).into()).id()})
        }
        Told::Knock { room: of, .. } => json!({"t": "knock", "room": room(*of).room}),
        Told::Presence {
            room: of,
            no,
            online,
            for_ms,
            span,
            here,
            left,
            ..
        } => {
            below.extend(here.iter().flatten().map(|n| json!({ "here": person(*n) })));
            below.extend(left.iter().flatten().map(|n| json!({"left": person(*n).id()})));
            let mut head =
                json!({"t": "presence", "room": room(*of).room, "no": no, "online": online, "for_ms": for_ms});
            if let Some((after, to)) = span {
                let end = |n: &Option<u8>| n.map(|n| person(n).id().clone());
                head["span"] = json!({"after": end(after), "to": end(to)});
            }
            head
        }
        Told::Asked {
            room: of, for_ms, now, ..
        } => json!({"t": "presence?", "room": room(*of).room, "for_ms": for_ms, "now": now}),
    };
    let (Told::Committed { from, .. }
    | Told::Kick { from, .. }
    | Told::Knock { from, .. }
    | Told::Presence { from, .. }
    | Told::Asked { from, .. }) = told;
    // The hub itself may be among them.
    head["from"] = json!(MessageId::from_u128(u128::from(from % 4)));
    let lines = std::iter::once(head).chain(below);
    lines.flat_map(|line| format!("{line}\n").into_bytes()).collect()
}
