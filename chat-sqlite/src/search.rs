//! Full-text search. The index finds what may match; the words of each message are then compared as the contract says,
//! since SQLite's idea of words and of case isn't quite the same.

use std::collections::BTreeSet;
use std::fmt::Write;

use roomcast_core::{HistoryPage, RoomId, StoreError};
use rusqlite::Connection;

use crate::read::{find, query, unread};
use crate::row::{self, MESSAGE, RoomRow};

/// SQLite bounds the size of a query; further words are looked for in what was found.
const WORDS_IN_QUERY: usize = 32;

/// The key from which on a room's entries are too new.
pub(crate) const BOUND: &str = "SELECT key FROM entries WHERE room = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1";

pub(crate) fn search(
    connection: &Connection,
    room: &RoomId,
    text: &str,
    before: Option<u64>,
    limit: usize,
) -> Result<HistoryPage, StoreError> {
    let mut page = HistoryPage {
        messages: Vec::new(),
        more: false,
    };
    let wanted: BTreeSet<String> = words(text).collect();
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
    // Each word as a string of FTS5, in which nothing is an operator; a word has no quotation mark.
    let mut terms = format!("room : \"{key}\"");
    for word in wanted.iter().take(WORDS_IN_QUERY) {
        let _ = write!(terms, " content : \"{word}\"");
    }
    let sql = format!(
        "SELECT {MESSAGE} FROM words JOIN entries e ON e.key = words.rowid \
         WHERE words MATCH ?1 AND words.rowid < ?2 ORDER BY words.rowid DESC"
    );
    query(&moment, &sql, (terms, bound), |rows| {
        while let Some(row) = rows.next().map_err(unread)? {
            let (message, _) = row::message(row, room)?;
            let said: BTreeSet<String> = message.content.iter().flat_map(|content| words(content)).collect();
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

/// The words of a text: its longest runs of letters and digits, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}
