//! What comes by a bus, as a hub reads it: what is understood can be written and is read as the same, and follows the rules that
//! a reader of the lines alone finds; and it takes no more memory than its length allows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_core::fuzz::understand_notice;
use roomcast_core::{MAX_SEQ, RoomId};
use roomcast_fuzz::peak;
use serde_json::Value;

/// `data` of many small values takes up to about a hundred times its length, and is there twice for a moment.
const BYTES_PER_BYTE: usize = 256;

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("no {key} in {object}"))
}

/// What has to be true of a notice that a hub takes in.
fn check(head: &Value, lines: &[Value]) {
    let t = head["t"].as_str().expect("a type");
    let room = head["room"].as_str();
    if let Some(room) = room {
        RoomId::new(room).expect("a room's name");
    }
    assert_eq!(room.is_none(), t == "kick", "{head}");
    match t {
        "committed" => {
            let last = number(head, "head");
            assert!((1..=MAX_SEQ).contains(&last), "{head}");
            let mut due = None;
            for line in lines {
                let (kind, entry) = line.as_object().and_then(|line| line.iter().next()).expect("an entry");
                let seq = number(entry, "seq");
                assert!(seq > 0 && seq <= last && due.is_none_or(|due| due == seq), "{line}");
                due = Some(seq + 1);
                match kind.as_str() {
                    "message" => {
                        assert_eq!(entry["room_id"].as_str(), room, "{line}");
                        let says = entry.get("content").is_some() || entry.get("data").is_some();
                        assert!(says || entry["deleted"] == true, "{line}");
                    }
                    "edit" | "delete" => assert!((1..seq).contains(&number(entry, "target")), "{line}"),
                    _ => panic!("{line}"),
                }
            }
        }
        "presence" => {
            let named = |line: &Value| line.get("here").is_some() != line.get("left").is_some();
            assert!(lines.iter().all(named), "{lines:?}");
        }
        "kick" | "knock" | "presence?" => assert!(lines.is_empty(), "{lines:?}"),
        _ => panic!("{head}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (understood, memory) = peak(|| understand_notice(bytes));
    let most = 4096 + BYTES_PER_BYTE * bytes.len();
    assert!(memory <= most, "{memory} bytes for {}", bytes.len());
    let Some(written) = understood.as_ref().and_then(|understood| understood.written()) else {
        return;
    };
    let text = std::str::from_utf8(written.bytes()).expect("a notice is text");
    assert!(!text.contains('\0') && text.ends_with('\n'), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let (head, below) = lines.split_first().expect("there is a head");
    check(head, below);
    assert_eq!(understand_notice(written.bytes()), understood, "{text}");
});
