//! What is said in the simulation.

use serde_json::{Value, json};

use crate::oracle::facts::Said;
use crate::rng::Rng;
use crate::sources::WORD;

/// Words to search for. The policy lets nobody say the last one.
pub(super) const WORDS: [&str; 4] = ["Red", "green", "blue", WORD];

/// A text that nobody else says.
pub(super) fn text(rng: &Rng, user: &str, number: u64) -> String {
    let mut text = format!("{user}-{number}");
    for _ in 0..rng.below(3) {
        text.push(' ');
        let word: &str = rng.pick::<&str>(&WORDS);
        text.push_str(word);
    }
    if rng.chance(100) {
        text.push_str(&"x".repeat(rng.size(1, 400)));
    }
    text
}

/// A message: mostly of text alone.
pub(super) fn said(rng: &Rng, user: &str, number: u64) -> Said {
    let kind = rng.below(20);
    Said {
        content: (kind != 0).then(|| text(rng, user, number)),
        data: (kind < 3).then(|| data(rng, user, number)),
        reply_to: None,
    }
}

fn data(rng: &Rng, user: &str, number: u64) -> Value {
    let mut data = json!({"by": user, "n": number});
    for place in 0..rng.below(6) {
        data[format!("é{place}")] = match rng.below(5) {
            0 => Value::Null,
            1 => json!(-(rng.below(1 << 40) as i64)),
            2 => json!([[], {}, [[true, 0.5]], "\"\u{1}"]),
            3 => json!({"deep": {"er": ["x".repeat(rng.size(0, 120))]}}),
            _ => json!(rng.next()),
        };
    }
    data
}
