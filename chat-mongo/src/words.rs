//! Words, as the contract of search has them.
//!
//! The server's own text index isn't used: it takes `foo_bar` for one word, and can't give the newest matches of a room
//! without sorting all of them.

use std::collections::BTreeSet;

use roomcast_core::search_words;

/// An index entry needs no more of a word than this; what was found is compared in full.
const BYTES: usize = 64;

/// The different words of a text.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    search_words(text).collect()
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
    fn long_words_are_indexed_by_their_beginning() {
        let long = "ж".repeat(100);
        assert_eq!(indexed(&format!("{long} {long}x")), ["ж".repeat(32)]);
    }
}
