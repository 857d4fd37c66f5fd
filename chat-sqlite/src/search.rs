//! Full-text search. The index finds the messages that hold the words; those of each are compared once more, for the
//! few that the index can't tell apart: of words that are longer than 32 KiB it keeps the beginning. Their room is looked
//! at once more as well, so that no mistake of the index can show a room's messages in another one.
//!
//! Searches take turns on a thread of their own, since one may take as long as a look at every message of its room: of
//! two words that are often said, but never together, say. FTS5 can't be interrupted at that (it takes a few hundred
//! nanoseconds for each message), so no other reading may depend on it.

use std::fmt::Write;

use roomcast_core::{HistoryPage, RoomId, StoreError};
use rusqlite::Connection;

use crate::read::{find, query, unread};
use crate::row::{self, MESSAGE, RoomRow};
use crate::words::{room_word, words};

/// SQLite bounds the size of a query; further words are looked for in what was found.
const WORDS_IN_QUERY: usize = 256;

/// The key from which on a room's entries are too new.
pub(crate) const BOUND: &str = "SELECT key FROM entries WHERE room = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1";

/// Stops at the next message when `gone` says that nobody waits for the answer any more.
pub(crate) fn search(
    connection: &Connection,
    room: &RoomId,
    text: &str,
    before: Option<u64>,
    limit: usize,
    gone: &dyn Fn() -> bool,
) -> Result<HistoryPage, StoreError> {
    let mut page = HistoryPage {
        messages: Vec::new(),
        more: false,
    };
    let wanted = words(text);
    if wanted.is_empty() {
        return Ok(page);
    }
    let moment = connection.unchecked_transaction().map_err(unread)?;
    let Some(RoomRow { key, .. }) = find(&moment, room)? else {
        return Ok(page);
    };
    let bound = match before {
        Some(before) => query(&moment, BOUND, (key, row::seq(before)), |rows| {
            rows.next()
                .map_err(unread)?
                .map_or(Ok(i64::MAX), |row| row::get(row, 0))
        })?,
        None => i64::MAX,
    };
    // The longest words are likely the rarest.
    let mut chosen: Vec<&String> = wanted.iter().collect();
    chosen.sort_by_key(|word| std::cmp::Reverse(word.len()));
    chosen.truncate(WORDS_IN_QUERY);
    // Each word as a string of FTS5, in which nothing is an operator; a word has no quotation mark.
    let mut terms = format!("\"{}\"", room_word(key));
    for word in chosen {
        let _ = write!(terms, " \"{word}\"");
    }
    let sql = format!(
        "SELECT {MESSAGE} FROM words JOIN entries e ON e.key = words.rowid \
         WHERE words MATCH ?1 AND words.rowid < ?2 AND e.room = ?3 ORDER BY words.rowid DESC"
    );
    query(&moment, &sql, (terms, bound, key), |rows| {
        while let Some(row) = rows.next().map_err(unread)? {
            if gone() {
                break;
            }
            let (message, _) = row::message(row, room)?;
            let said = message.content.as_deref().map(words).unwrap_or_default();
            if !wanted.is_subset(&said) {
                continue;
            }
            if page.messages.len() >= limit {
                page.more = true;
                break;
            }
            page.messages.push(message);
        }
        Ok(())
    })?;
    Ok(page)
}
