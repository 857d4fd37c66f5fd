//! What a client of `chat.v1.json` may rely on, whatever it asks and however the store behaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{Ask, Begin, Ending, room};
use crate::Entry;

type Logs = HashMap<String, Vec<Entry>>;

/// What was asked so far, in order; its `id` is its place.
#[derive(Debug, Default)]
pub(super) struct Rules {
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    /// `Null` if it was garbage.
    frame: Value,
    /// The last seq of its room that the client knew of.
    known: u64,
}

/// Where the client stands in a room.
enum Place {
    /// It is to see this entry next.
    Next(u64),
    /// It asked for the last so many messages, knew of this seq, and was told of this head.
    Last { count: u64, known: u64, head: u64 },
}

fn seq_of(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or_default()
}

fn text<'a>(frame: &'a Value, key: &str) -> &'a str {
    frame[key].as_str().unwrap_or_default()
}

impl Rules {
    /// The frame that asks for it.
    pub(super) fn ask(&mut self, ask: Ask, heard: &[Value]) -> String {
        let id = self.asked.len();
        let acked = |index: proptest::sample::Index| {
            let acks: Vec<_> = heard.iter().filter(|frame| frame["t"] == "ack").collect();
            match acks.is_empty() {
                true => json!("00000000-0000-7000-8000-000000000000"),
                false => index.get(&acks)["msg"].clone(),
            }
        };
        let (at, mut frame) = match ask {
            Ask::Join(at, begin) => {
                let mut join = json!({"t": "join"});
                match begin {
                    Begin::Now => {}
                    Begin::Last(count) => join["last"] = json!(count),
                    Begin::Since(seq) => join["since"] = json!(format!("e:{seq}")),
                    Begin::Foreign => join["since"] = json!("other:1"),
                }
                (Some(at), join)
            }
            Ask::Leave(at) => (at, json!({"t": "leave"})),
            Ask::Send(at, says, nonce) => {
                let mut send = json!({"t": "send", "content": says.to_string()});
                if let Some(nonce) = nonce {
                    send["nonce"] = json!(nonce.to_string());
                }
                (at, send)
            }
            Ask::Edit(at, message) => (at, json!({"t": "edit", "msg": acked(message), "content": "edited"})),
            Ask::Delete(at, message) => (at, json!({"t": "delete", "msg": acked(message)})),
            Ask::History(at, before, limit) => (at, json!({"t": "history", "before": before, "limit": limit})),
            Ask::Ping => (None, json!({"t": "ping"})),
            Ask::Unknown => (None, json!({"t": "dance"})),
            Ask::Garbage => {
                let (frame, known) = (Value::Null, 0);
                self.asked.push(Asked { frame, known });
                return "no JSON".to_owned();
            }
        };
        frame["id"] = json!(id);
        let mut known = 0;
        if let Some(at) = at {
            frame["room_id"] = json!(room(at));
            let here = heard.iter().filter(|frame| frame["room_id"] == room(at).as_str());
            known = here.map(seq_of).max().unwrap_or_default();
        }
        let said = frame.to_string();
        self.asked.push(Asked { frame, known });
        said
    }

    /// Looks at all that the server sent, and how it closed the connection, if it did.
    pub(super) fn check(&self, heard: &[Value], close: Option<u16>, ending: Ending, logs: &Logs) {
        let mut answers = BTreeMap::new();
        let mut rooms: BTreeMap<&str, Place> = BTreeMap::new();
        let mut without_id = 0;
        for (n, frame) in heard.iter().enumerate() {
            assert_eq!(
                n == 0,
                frame["t"] == "hello",
                "hello is the first, and no other: {frame}"
            );
            match text(frame, "t") {
                "hello" => {}
                "" | "edit" | "delete" => {
                    let place = rooms.get_mut(text(frame, "room_id"));
                    entry(
                        frame,
                        place.expect("an entry of a room that the client is not in"),
                        logs,
                    );
                }
                "gap" => {
                    let before = &heard[n - 1];
                    assert_eq!((&before["t"], &before["resume"]), (&json!("joined"), &json!("gap")));
                    assert_eq!(
                        (&before["room_id"], text(frame, "reason")),
                        (&frame["room_id"], "epoch")
                    );
                }
                "bye" => assert_eq!(n + 1, heard.len(), "something comes after bye"),
                "err" if frame["id"].is_null() => {
                    assert_eq!(frame["code"], "bad_request");
                    without_id += 1;
                }
                "pong" if frame["id"] == "last" => {}
                _ => {
                    let id = frame["id"].as_u64().expect("an answer to nothing");
                    assert!(answers.insert(id, frame).is_none(), "two answers to {id}");
                    if frame["t"] == "joined" {
                        rooms.insert(text(frame, "room_id"), self.asked[id as usize].begins(frame));
                    } else if frame["t"] == "left" {
                        rooms.remove(text(frame, "room_id")).expect("a room is left twice");
                    }
                }
            }
        }
        let over = close.is_some() || ending == Ending::HangsUp;
        let members = self.check_answers(&answers, over, logs);
        if let Some(code) = close {
            let (bye, before) = heard.split_last().unwrap();
            assert_eq!(bye["code"], code, "the last word isn't bye");
            let bad = before.iter().filter(|frame| frame["code"] == "bad_request").count();
            match code {
                4000 => assert_eq!(ending, Ending::Drains),
                4503 => assert_eq!(ending, Ending::IsKicked),
                code => assert!(code == 4500 && bad >= 10, "{code} after {bad} bad frames"),
            }
            if code != 4503 {
                self.check_finished(&answers);
            }
        }
        if over {
            return;
        }
        assert_eq!(ending, Ending::Stays, "the connection isn't closed");
        let garbage = self.asked.iter().filter(|asked| asked.frame.is_null()).count();
        assert_eq!(without_id, garbage, "each that can't be read is answered once");
        assert!(rooms.keys().copied().eq(members.iter().copied()), "{members:?}");
        for (room, place) in rooms {
            let head = logs[room].len() as u64;
            assert!(
                matches!(place, Place::Next(next) if next == head + 1),
                "not all of {room} was sent"
            );
        }
    }

    /// The server read up to some request, and answered all up to it.
    fn check_finished(&self, answers: &BTreeMap<u64, &Value>) {
        let last = answers.keys().next_back().copied().unwrap_or_default();
        for (id, Asked { frame, .. }) in (0..last).zip(&self.asked) {
            let none = frame.is_null() || frame["t"] == "dance";
            assert!(none || answers.contains_key(&id), "closed without an answer to {frame}");
        }
    }

    /// Takes the requests in order, which decides what each may be answered. Returns the rooms that the client is then in.
    fn check_answers(&self, answers: &BTreeMap<u64, &Value>, closed: bool, logs: &Logs) -> BTreeSet<&str> {
        let mut members = BTreeSet::new();
        let mut nonces: HashMap<(&str, &str), Vec<(&Value, &Value)>> = HashMap::new();
        let mut stored = BTreeSet::new();
        for (id, Asked { frame, .. }) in self.asked.iter().enumerate() {
            let answer = answers.get(&(id as u64));
            if frame.is_null() || frame["t"] == "dance" {
                assert!(answer.is_none(), "{frame} is answered");
                continue;
            }
            let Some(answer) = answer.copied() else {
                assert!(closed, "no answer to {frame}");
                continue;
            };
            let answered = match text(answer, "t") {
                "err" => text(answer, "code"),
                t => t,
            };
            let named = frame["room_id"].as_str();
            let here = match named {
                Some(room) if members.contains(room) => Ok(room),
                None if members.len() == 1 => Ok(*members.first().unwrap()),
                None if members.len() > 1 => Err("bad_request"),
                _ => Err("not_joined"),
            };
            let expected: &[&str] = match (text(frame, "t"), here) {
                ("ping", _) => &["pong"],
                ("join", Err(_)) if members.len() == 2 => &["too_many_rooms"],
                ("join", _) => &["joined", "unavailable"],
                (_, Err(code)) => &[code],
                ("leave", _) => &["left"],
                ("send", _) if frame["nonce"].is_null() => &["ack", "unavailable"],
                ("send", _) => &["ack", "nonce_conflict", "unavailable"],
                ("history", _) => &["history", "unavailable"],
                _ => &["ack", "not_found", "unavailable"],
            };
            assert!(expected.contains(&answered), "{frame}: {answer}");
            let here = here.unwrap_or(named.unwrap_or_default());
            if !["err", "pong"].contains(&text(answer, "t")) {
                assert_eq!(answer["room_id"], here, "{frame}: {answer}");
            }
            match answered {
                "joined" => {
                    members.insert(here);
                }
                "left" => {
                    members.remove(here);
                }
                "ack" => {
                    acknowledged(frame, answer, &logs[here]);
                    let new = answer["dup"] == false;
                    assert!(
                        !new || stored.insert((here, seq_of(answer))),
                        "two entries in one place"
                    );
                }
                "history" => page(frame, answer),
                _ => {}
            }
            if let Some(nonce) = frame["nonce"].as_str() {
                nonces.entry((here, nonce)).or_default().push((frame, answer));
            }
        }
        nonces.values().for_each(|sends| one_message(sends));
        members
    }
}

impl Asked {
    /// Where a join begins, as its answer says.
    fn begins(&self, joined: &Value) -> Place {
        let head = joined["head"].as_u64().unwrap();
        let (known, resume) = (self.known, text(joined, "resume"));
        assert!(head >= known, "the head is behind what was seen: {joined}");
        if let Some(count) = self.frame["last"].as_u64() {
            assert_eq!(resume, "fresh");
            return Place::Last { count, known, head };
        }
        let Some(cursor) = self.frame["since"].as_str() else {
            assert_eq!(resume, "fresh");
            return Place::Next(head + 1);
        };
        let (epoch, seq) = cursor.split_once(':').unwrap();
        let seq: u64 = seq.parse().unwrap();
        match resume {
            "ok" => {
                assert!(epoch == "e" && seq <= head, "{cursor}: {joined}");
                Place::Next(seq + 1)
            }
            _ => {
                assert!(resume == "gap" && (epoch != "e" || seq > known), "{cursor}: {joined}");
                Place::Next(head + 1)
            }
        }
    }
}

/// The next entry of a room, as it is in the log.
fn entry(frame: &Value, place: &mut Place, logs: &Logs) {
    let (seq, log) = (seq_of(frame), &logs[text(frame, "room_id")]);
    match *place {
        Place::Next(next) => assert_eq!(seq, next, "a hole or a repetition: {frame}"),
        Place::Last { count, known, head } => {
            // The log went on while it was looked where they begin.
            let begins = (known..=head).any(|head| seq == start_of_last(log, count, head));
            assert!(begins, "the last {count} up to {head} don't begin with {seq}");
        }
    }
    let stored = &log[seq as usize - 1];
    assert!(seq == stored.seq() && frame.get("deleted").is_none_or(Value::is_boolean));
    let id = frame.get("id").map(|id| id.as_str().unwrap().to_owned());
    assert_eq!(id, matches!(stored, Entry::Message(_)).then(|| stored.id().to_string()));
    *place = Place::Next(seq + 1);
}

/// With which entry the last messages begin, if the log ends there.
fn start_of_last(log: &[Entry], count: u64, head: u64) -> u64 {
    let messages = log[..head as usize].iter().rev();
    let messages = messages.filter(|entry| matches!(entry, Entry::Message(_)));
    messages.take(count as usize).last().map_or(head + 1, Entry::seq)
}

/// What is acknowledged is in the log, at that place.
fn acknowledged(frame: &Value, ack: &Value, log: &[Entry]) {
    let entry = &log[seq_of(ack) as usize - 1];
    let (t, about) = match entry {
        Entry::Message(message) => ("send", message.id),
        Entry::Edit(edit) => ("edit", edit.message),
        Entry::Delete(deletion) => ("delete", deletion.message),
    };
    assert_eq!((&frame["t"], &ack["msg"]), (&json!(t), &json!(about)), "{frame}: {ack}");
}

fn page(frame: &Value, page: &Value) {
    let messages = page["messages"].as_array().unwrap();
    let seqs: Vec<_> = messages.iter().map(seq_of).collect();
    assert!(seqs.len() as u64 <= frame["limit"].as_u64().unwrap());
    assert!(seqs.is_sorted() && seqs.iter().all(|seq| *seq < frame["before"].as_u64().unwrap()));
}

/// All that was sent under one nonce is one message.
fn one_message(sends: &[(&Value, &Value)]) {
    let (acked, others): (Vec<_>, Vec<_>) = sends.iter().partition(|(_, answer)| answer["t"] == "ack");
    let Some((first, ack)) = acked.first() else { return };
    for (frame, answer) in &acked {
        let same = (&answer["msg"], &answer["seq"], &frame["content"]) == (&ack["msg"], &ack["seq"], &first["content"]);
        assert!(same, "two messages of one nonce: {answer}, {ack}");
    }
    assert!(acked.iter().filter(|(_, answer)| answer["dup"] == false).count() <= 1);
    for (frame, answer) in others {
        assert!(
            answer["code"] != "nonce_conflict" || frame["content"] != first["content"],
            "{answer}"
        );
    }
}
