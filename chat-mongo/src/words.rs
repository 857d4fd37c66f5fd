//! Words, as the contract of search has them.
//!
//! The server's own text index isn't used: it takes `foo_bar` for one word, and can't give the newest matches of a room
//! without sorting all of them.

use std::collections::BTreeSet;

/// An index entry needs no more of a word than this; what was found is compared in full.
const BYTES: usize = 64;

/// The words of a text: its longest runs of letters and digits, in lower case.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words as they are indexed.
pub(crate) fn indexed(text: &str) -> Vec<String> {
    let words: BTreeSet<String> = words(text).into_iter().map(shorten).collect();
    words.into_iter().collect()
}

pub(crate) fn shorten(mut word: String) -> String {
    let mut end = word.len().min(BYTES);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    word.truncate(end);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let found: Vec<_> = words("don't (stop) foo_bar 42 МИР, мир").into_iter().collect();
        assert_eq!(found, ["42", "bar", "don", "foo", "stop", "t", "мир"]);
        assert!(words("…!?").is_empty());
    }

    #[test]
    fn long_words_are_indexed_by_their_beginning() {
        let long = "ж".repeat(100);
        assert_eq!(indexed(&format!("{long} {long}x")), ["ж".repeat(32)]);
    }
}
