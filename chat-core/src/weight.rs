//! About how much memory things take: what queues and tails count against their bounds in bytes.
//!
//! The length as JSON says little of it: an empty array in an array takes two bytes on the wire and dozens in memory.

use serde_json::Value;

use crate::{Change, Entry, JsonObject, Message};

/// What the allocator adds to each piece.
const ALLOCATION: usize = 16;

/// What an entry of an object takes besides key and value, and how many a node of the tree has room for: a small object takes
/// as much as a full node.
const NODE_OVERHEAD: usize = 32;
const NODE_ENTRIES: usize = 11;

/// About what an entry takes.
pub(crate) fn entry(entry: &Entry) -> usize {
    size_of::<Entry>()
        + match entry {
            Entry::Message(message) => said(message),
            Entry::Edit(edit) => edit.content.as_ref().map_or(0, text),
            Entry::Delete(_) => 0,
        }
}

fn said(message: &Message) -> usize {
    message.content.as_ref().map_or(0, text) + message.data.as_ref().map_or(0, object)
}

/// About what a change takes besides its own size.
pub(crate) fn change(change: &Change) -> usize {
    match change {
        Change::Message { content, data, .. } => content.as_ref().map_or(0, text) + data.as_ref().map_or(0, object),
        Change::Edit { content, .. } => text(content),
        Change::Delete { .. } => 0,
    }
}

fn text(text: &String) -> usize {
    match text.capacity() {
        0 => 0,
        capacity => ALLOCATION + capacity,
    }
}

fn object(object: &JsonObject) -> usize {
    if object.is_empty() {
        return 0;
    }
    let slot = size_of::<String>() + size_of::<Value>();
    // A node that isn't the only one is at least half full.
    let nodes = object.len().div_ceil(NODE_ENTRIES / 2);
    let tree = nodes * (ALLOCATION + NODE_OVERHEAD + NODE_ENTRIES * slot);
    object
        .iter()
        .fold(tree, |sum, (key, value)| sum + text(key) + beyond(value))
}

/// What a value takes beyond its own place.
fn beyond(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(string) => text(string),
        Value::Array(values) => {
            let own = match values.capacity() {
                0 => 0,
                capacity => ALLOCATION + capacity * size_of::<Value>(),
            };
            values.iter().fold(own, |sum, value| sum + beyond(value))
        }
        Value::Object(map) => object(map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(json: &str) -> usize {
        object(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn small_values_weigh_more_than_their_text() {
        // 64 KiB of text that takes 2.6 MB: an array of four places for each pair of brackets.
        let text = format!(r#"{{"a":[{}]}}"#, vec!["[0]"; 16_000].join(","));
        assert!((2_500_000..4_000_000).contains(&weight(&text)), "{}", weight(&text));
        let text = format!(r#"{{"a":[{}]}}"#, vec![r#"{"":0}"#; 9_000].join(","));
        assert!((5_000_000..9_000_000).contains(&weight(&text)), "{}", weight(&text));
        let deep = format!(r#"{}1{}"#, r#"{"a":"#.repeat(100), "}".repeat(100));
        assert!((60_000..100_000).contains(&weight(&deep)), "{}", weight(&deep));
    }

    #[test]
    fn text_weighs_about_its_length() {
        let weight = weight(&format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000)));
        assert!((60_000..70_000).contains(&weight), "{weight}");
        assert_eq!(self::weight("{}"), 0);
    }
}
