//! The keys of entries: each is given out once, even if retention has removed every row since.
//!
//! SQLite by itself gives the next row the highest key that is there and 1. But the index of words may only have noted
//! that a message was removed: if another one came by its key, and its words were overwritten later, those of the first
//! would be found again, for the wrong message and maybe in the wrong room.

use roomcast_core::StoreError;
use rusqlite::Connection;

use crate::append::{run, unwritten};
use crate::read::query;
use crate::row;

/// The highest key that was ever given out.
pub(crate) fn last(connection: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT max(ifnull((SELECT max(key) FROM entries), 0), \
               ifnull((SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'last key'), 0))";
    query(connection, sql, [], |rows| {
        rows.next().map_err(unwritten)?.map_or(Ok(0), |row| row::get(row, 0))
    })
}

/// To be called before the room's entries up to `seq` are removed: remembers the highest key of all if it is among them.
/// It is that of `seq` then, since keys rise within a room.
pub(crate) fn remember(connection: &Connection, room: i64, seq: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO facts (name, value) \
               SELECT 'last key', key FROM entries \
               WHERE room = ?1 AND seq = ?2 AND key = (SELECT max(key) FROM entries) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value \
               WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)";
    run(connection, sql, (room, seq))
}
