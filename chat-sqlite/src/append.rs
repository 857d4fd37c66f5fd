//! The writes to a room, within the transaction that the writer has begun.

use roomcast_core::{
    Appended, Change, Epoch, Fingerprint, MAX_SEQ, MessageId, NewEntry, Nonce, Outcome, RoomHead, RoomId, StoreError,
};
use rusqlite::{Connection, Params};

use crate::error::{failed, refused};
use crate::keys;
use crate::read::{self, find, query};
use crate::row;
use crate::words::Changes;

/// A message that can be changed.
pub(crate) const TARGET: &str =
    "SELECT key, seq, content FROM entries WHERE id = ?2 AND room = ?1 AND kind = 0 AND deleted = 0";

/// Begins the room's log unless it has one.
pub(crate) fn create(connection: &Connection, room: &RoomId, epoch: &Epoch) -> Result<RoomHead, StoreError> {
    run(
        connection,
        "INSERT INTO rooms (id, epoch, head, floor) VALUES (?1, ?2, 0, 0) ON CONFLICT (id) DO NOTHING",
        (room.as_str(), epoch.as_str()),
    )?;
    let row = find(connection, room)?.ok_or_else(|| refused(format!("there is no room {room}")))?;
    Ok(row.head)
}

/// What came of an append, and where the room stands.
pub(crate) struct Added {
    pub(crate) appended: Appended,
    pub(crate) room: i64,
    /// How many entries the room holds.
    pub(crate) kept: u64,
}

/// Adds the entries if the head is the expected one. The changes of the index are only noted.
pub(crate) fn append(
    connection: &Connection,
    room: &RoomId,
    expected_head: u64,
    entries: &[NewEntry],
    index: &mut Changes,
) -> Result<Added, StoreError> {
    let row = find(connection, room)?.ok_or_else(|| refused(format!("there is no room {room}")))?;
    let mut appended = Appended {
        outcomes: Vec::new(),
        head: row.head.head,
    };
    let added = |appended: Appended| Added {
        room: row.key,
        kept: appended.head - row.head.floor,
        appended,
    };
    if appended.head != expected_head {
        return Ok(added(appended));
    }
    if entries.len() as u64 > MAX_SEQ.saturating_sub(expected_head) {
        return Err(refused("the room's log is full"));
    }
    appended.outcomes.reserve_exact(entries.len());
    let last = keys::last(connection)?;
    let mut first = None;
    for entry in entries {
        let seq = appended.head + 1;
        let key = last
            .checked_add(row::seq(seq - expected_head))
            .ok_or_else(|| refused("no key is left"))?;
        let outcome = add(connection, (key, row.key, seq), entry, index)?;
        if let Outcome::Stored { seq, .. } = outcome {
            appended.head = seq;
            first.get_or_insert(entry.at);
        }
        appended.outcomes.push(outcome);
    }
    if let Some(first) = first {
        let sql = "UPDATE rooms SET head = ?2 WHERE key = ?1";
        run(connection, sql, (row.key, row::seq(appended.head)))?;
        if row.head.floor == expected_head {
            let sql = "UPDATE rooms SET oldest = ?2 WHERE key = ?1";
            run(connection, sql, (row.key, first.as_millis()))?;
        }
    }
    Ok(added(appended))
}

fn add(
    connection: &Connection,
    (key, room, seq): (i64, i64, u64),
    entry: &NewEntry,
    index: &mut Changes,
) -> Result<Outcome, StoreError> {
    match &entry.change {
        Change::Message {
            content,
            data,
            reply_to,
            nonce,
        } => {
            if let Some((nonce, fingerprint)) = nonce
                && let Some(outcome) = repeated(connection, room, entry, nonce, *fingerprint)?
            {
                return Ok(outcome);
            }
            let data = data.as_ref().map(serde_json::to_string).transpose();
            let data = data.map_err(|error| refused("the data can't be written as JSON").with_source(error))?;
            run(
                connection,
                "INSERT INTO entries \
                 (key, room, seq, kind, id, user_id, user_name, at, content, data, reply_to, nonce, fingerprint) \
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                (
                    key,
                    room,
                    row::seq(seq),
                    row::to_bytes(entry.id),
                    entry.user.id().as_str(),
                    entry.user.name(),
                    entry.at.as_millis(),
                    content,
                    data,
                    reply_to.map(row::to_bytes),
                    nonce.as_ref().map(|(nonce, _)| nonce.as_str()),
                    nonce
                        .as_ref()
                        .map(|(_, fingerprint)| fingerprint.as_u128().to_be_bytes()),
                ),
            )?;
            index.change(key, room, None, content.as_deref());
            Ok(Outcome::Stored { seq, target: None })
        }
        Change::Edit { message, content } => {
            let Some(target) = find_target(connection, room, *message)? else {
                return Ok(Outcome::NoTarget);
            };
            note(connection, (key, room, seq), 1, entry, (*message, target.seq))?;
            let sql = "UPDATE entries SET content = ?2, edited_at = ?3 WHERE key = ?1";
            run(connection, sql, (target.key, content, entry.at.as_millis()))?;
            index.change(target.key, room, target.content.as_deref(), Some(content));
            Ok(target.changed(seq))
        }
        Change::Delete { message } => {
            let Some(target) = find_target(connection, room, *message)? else {
                return Ok(Outcome::NoTarget);
            };
            note(connection, (key, room, seq), 2, entry, (*message, target.seq))?;
            let sql = "UPDATE entries SET content = NULL, data = NULL, reply_to = NULL, edited_at = NULL, deleted = 1 \
                       WHERE key = ?1";
            run(connection, sql, [target.key])?;
            index.change(target.key, room, target.content.as_deref(), None);
            Ok(target.changed(seq))
        }
    }
}

/// What to answer to a nonce that the room knows from this user.
fn repeated(
    connection: &Connection,
    room: i64,
    entry: &NewEntry,
    nonce: &Nonce,
    fingerprint: Fingerprint,
) -> Result<Option<Outcome>, StoreError> {
    let first = read::sent_in(connection, room, entry.user.id(), nonce)?;
    Ok(first.map(|first| {
        if first.fingerprint == fingerprint {
            Outcome::Duplicate {
                id: first.id,
                seq: first.seq,
            }
        } else {
            Outcome::NonceConflict
        }
    }))
}

/// The message that an edit or a deletion is about.
struct Target {
    key: i64,
    seq: u64,
    content: Option<String>,
}

impl Target {
    fn changed(&self, seq: u64) -> Outcome {
        let target = Some(self.seq);
        Outcome::Stored { seq, target }
    }
}

fn find_target(connection: &Connection, room: i64, message: MessageId) -> Result<Option<Target>, StoreError> {
    query(connection, TARGET, (room, row::to_bytes(message)), |rows| {
        let Some(found) = rows.next().map_err(unwritten)? else {
            return Ok(None);
        };
        Ok(Some(Target {
            key: row::get(found, 0)?,
            seq: row::place(found, 1)?,
            content: row::get(found, 2)?,
        }))
    })
}

/// Stores an edit or a deletion as an entry of its own.
fn note(
    connection: &Connection,
    (key, room, seq): (i64, i64, u64),
    kind: i64,
    entry: &NewEntry,
    (message, target): (MessageId, u64),
) -> Result<(), StoreError> {
    run(
        connection,
        "INSERT INTO entries (key, room, seq, kind, id, user_id, user_name, at, message, target) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            key,
            room,
            row::seq(seq),
            kind,
            row::to_bytes(entry.id),
            entry.user.id().as_str(),
            entry.user.name(),
            entry.at.as_millis(),
            row::to_bytes(message),
            row::seq(target),
        ),
    )
}

pub(crate) fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unwritten)?;
    statement.execute(params).map_err(unwritten)?;
    Ok(())
}

pub(crate) fn unwritten(error: rusqlite::Error) -> StoreError {
    failed("the write failed", error)
}
