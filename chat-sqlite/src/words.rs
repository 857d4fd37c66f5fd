//! Words, as the contract of search has them, and the index of them.
//!
//! The index is given words that are already split and in lower case, so that it agrees with the contract in every
//! script: its own tokenizer has only to split at spaces. That a message is of a room is one more word, which no text
//! can hold. Positions aren't kept, since nothing asks for them, and without them the index is a quarter of the size.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use roomcast_core::{StoreError, search_words};
use rusqlite::Connection;

use crate::append::{run, unwritten};

/// The different words of a text.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    search_words(text).collect()
}

/// The word that stands for a room.
pub(crate) fn room_word(room: i64) -> String {
    format!("#{room}")
}

/// What the index holds of a message; `None` if there is no word by which it could be found.
fn terms(room: i64, content: &str) -> Option<String> {
    let words = words(content);
    if words.is_empty() {
        return None;
    }
    let mut terms = room_word(room);
    for word in words {
        let _ = write!(terms, " {word}");
    }
    Some(terms)
}

/// Changes of the index that are yet to be made, all at once: FTS5 writes a tree for each statement that begins a
/// savepoint or steps back to a lower key, so that small changes one by one cost ten times as much.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<Change>);

#[derive(Debug)]
struct Change {
    key: i64,
    old: Option<String>,
    new: Option<String>,
}

/// Whether what is removed must not be left in the file. That takes about half a millisecond for each message, since
/// every place is looked up and overwritten; else the index notes the removal, and the words go when it merges its
/// trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// What a user has deleted or edited.
    Overwrite,
    /// What retention takes.
    Note,
}

impl Changes {
    /// The message says something else now; `None` for nothing.
    pub(crate) fn change(&mut self, key: i64, room: i64, old: Option<&str>, new: Option<&str>) {
        let [old, new] = [old, new].map(|content| content.and_then(|content| terms(room, content)));
        if old != new {
            self.0.push(Change { key, old, new });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the changes after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Makes the changes.
    pub(crate) fn apply(self, connection: &Connection, removal: Removal) -> Result<(), StoreError> {
        // One change for each message: what it was at first, and what it is at last. In order of the keys.
        let mut changes: BTreeMap<i64, (Option<String>, Option<String>)> = BTreeMap::new();
        for Change { key, old, new } in self.0 {
            changes.entry(key).or_insert((old, None)).1 = new;
        }
        changes.retain(|_, (old, new)| old != new);
        if changes.values().any(|(old, _)| old.is_some()) {
            if removal == Removal::Overwrite {
                overwrite(connection, true)?;
            }
            for (key, (old, _)) in &changes {
                if let Some(old) = old {
                    // The index keeps no text: it is told what it was to forget.
                    let sql = "INSERT INTO words (words, rowid, terms) VALUES ('delete', ?1, ?2)";
                    run(connection, sql, (key, old))?;
                }
            }
            if removal == Removal::Overwrite {
                overwrite(connection, false)?;
            }
        }
        for (key, (_, new)) in &changes {
            if let Some(new) = new {
                let sql = "INSERT INTO words (rowid, terms) VALUES (?1, ?2)";
                run(connection, sql, (key, new))?;
            }
        }
        Ok(())
    }
}

/// The change of a setting first writes what is waiting, under the setting as it was. It is off except within a
/// transaction here, so that a rollback leaves it off.
fn overwrite(connection: &Connection, on: bool) -> Result<(), StoreError> {
    let sql = "INSERT INTO words (words, rank) VALUES ('secure-delete', ?1)";
    run(connection, sql, [on])
}

/// Does a piece of merging all trees of the index into one, which leaves out what was removed. Tells whether there is
/// more to do. Only the first piece begins with all trees: a later one that did so would begin again whenever a tree was
/// added meanwhile.
pub(crate) fn merge(connection: &Connection, first: bool) -> Result<bool, StoreError> {
    /// Of 4 KiB each, about.
    const PAGES: i64 = 16;
    let before = connection.total_changes();
    let sql = "INSERT INTO words (words, rank) VALUES ('merge', ?1)";
    run(connection, sql, [if first { -PAGES } else { PAGES }])?;
    // The statement itself is one change.
    Ok(connection.total_changes() - before >= 2)
}

/// Makes the whole index again. It must be the first that the connection does to the index: SQLite tells other connections
/// of a change of the index's format by a cookie, which it leaves as this one last saw it. As long as this one hasn't seen
/// it, it becomes 0, so that all others look again. If they didn't, one that has deleted before would go on to do so in the
/// format of `secure-delete` without saying so in the file, and the next one would take that for damage.
pub(crate) fn index_all(connection: &Connection) -> Result<(), StoreError> {
    run(connection, "INSERT INTO words (words) VALUES ('delete-all')", [])?;
    let mut entries = connection
        .prepare("SELECT key, room, content FROM entries WHERE content IS NOT NULL ORDER BY key")
        .map_err(unwritten)?;
    let mut rows = entries.query([]).map_err(unwritten)?;
    while let Some(row) = rows.next().map_err(unwritten)? {
        let (key, room): (i64, i64) = (row.get(0).map_err(unwritten)?, row.get(1).map_err(unwritten)?);
        let content: String = row.get(2).map_err(unwritten)?;
        if let Some(terms) = terms(room, &content) {
            let sql = "INSERT INTO words (rowid, terms) VALUES (?1, ?2)";
            run(connection, sql, (key, terms))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_a_room() {
        assert_eq!(terms(7, "#8 say #7"), Some("#7 7 8 say".to_owned()));
        assert_eq!(terms(7, "#"), None);
    }
}
