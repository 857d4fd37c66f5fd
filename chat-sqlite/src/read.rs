//! The reads. Each is one transaction, and so sees one moment.

use roomcast_core::{
    Entry, Fingerprint, HistoryPage, HistoryRange, LogPage, Message, MessageId, Nonce, PageLimit, RoomHead, RoomId,
    RoomInfo, Sent, StoreError, UserId,
};
use rusqlite::{Connection, OptionalExtension, Params, Rows, Statement};

use crate::error::{damaged, failed};
use crate::row::{self, ENTRY, MESSAGE, ROOM, RoomRow};

/// Prepares the statement, or finds it prepared, and gives its rows to `take`.
pub(crate) fn query<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    take: impl FnOnce(&mut Rows<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unread)?;
    let statement: &mut Statement<'_> = &mut statement;
    let mut rows = statement.query(params).map_err(unread)?;
    take(&mut rows)
}

pub(crate) fn unread(error: rusqlite::Error) -> StoreError {
    failed("the read failed", error)
}

pub(crate) fn find(connection: &Connection, room: &RoomId) -> Result<Option<RoomRow>, StoreError> {
    let sql = format!("SELECT {ROOM} FROM rooms WHERE id = ?1");
    query(connection, &sql, [room.as_str()], |rows| {
        rows.next().map_err(unread)?.map(row::room).transpose()
    })
}

pub(crate) fn rooms(connection: &Connection, after: Option<&str>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
    // No room's id is empty, so all of them come after that.
    let sql = format!("SELECT {ROOM}, id FROM rooms WHERE id > ?1 ORDER BY id");
    query(connection, &sql, [after.unwrap_or_default()], |rows| {
        let mut infos = Vec::new();
        while infos.len() < limit {
            let Some(row) = rows.next().map_err(unread)? else { break };
            let id: String = row::get(row, 4)?;
            infos.push(RoomInfo {
                id: RoomId::new(id).map_err(damaged)?,
                head: row::room(row)?.head,
            });
        }
        Ok(infos)
    })
}

pub(crate) fn log_sql() -> String {
    format!(
        "SELECT {ENTRY} FROM entries e LEFT JOIN entries t ON t.room = e.room AND t.seq = e.target \
         WHERE e.room = ?1 AND e.seq > ?2 ORDER BY e.seq"
    )
}

pub(crate) fn log(connection: &Connection, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
    let moment = connection.unchecked_transaction().map_err(unread)?;
    let mut page = LogPage {
        entries: Vec::new(),
        floor: 0,
        head: 0,
    };
    let Some(RoomRow { key, head }) = find(&moment, room)? else {
        return Ok(page);
    };
    (page.floor, page.head) = (head.floor, head.head);
    let mut last = after.max(head.floor);
    query(&moment, &log_sql(), (key, row::seq(last)), |rows| {
        let mut bytes = 0;
        while last < head.head {
            if !page.entries.is_empty() && (page.entries.len() >= limit.entries || bytes >= limit.bytes) {
                break;
            }
            let row = rows.next().map_err(unread)?;
            let (entry, weight): (Entry, usize) = row
                .ok_or_else(|| hole(room, last + 1))
                .and_then(|row| row::entry(row, room))?;
            if entry.seq() != last + 1 {
                return Err(hole(room, last + 1));
            }
            last += 1;
            bytes += weight;
            page.entries.push(entry);
        }
        Ok(())
    })?;
    Ok(page)
}

fn hole(room: &RoomId, seq: u64) -> StoreError {
    damaged(format!("entry {seq} of the room {room} is missing"))
}

pub(crate) fn older_sql() -> String {
    format!("SELECT {MESSAGE} FROM entries e WHERE e.room = ?1 AND e.seq < ?2 AND e.kind = 0 ORDER BY e.seq DESC")
}

pub(crate) fn newer_sql() -> String {
    format!("SELECT {MESSAGE} FROM entries e WHERE e.room = ?1 AND e.seq > ?2 AND e.kind = 0 ORDER BY e.seq")
}

pub(crate) fn history(
    connection: &Connection,
    room: &RoomId,
    range: HistoryRange,
    limit: usize,
) -> Result<HistoryPage, StoreError> {
    let moment = connection.unchecked_transaction().map_err(unread)?;
    let mut page = HistoryPage {
        messages: Vec::new(),
        more: false,
    };
    let Some(RoomRow { key, .. }) = find(&moment, room)? else {
        return Ok(page);
    };
    let (sql, bound, backwards) = match range {
        HistoryRange::Newest => (older_sql(), i64::MAX, true),
        HistoryRange::Before(seq) => (older_sql(), row::seq(seq), true),
        HistoryRange::After(seq) => (newer_sql(), row::seq(seq), false),
    };
    query(&moment, &sql, (key, bound), |rows| {
        let mut bytes = 0;
        while let Some(row) = rows.next().map_err(unread)? {
            if page.messages.len() >= limit || bytes >= PageLimit::DEFAULT_BYTES {
                page.more = true;
                break;
            }
            let (message, weight) = row::message(row, room)?;
            bytes += weight;
            page.messages.push(message);
        }
        Ok(())
    })?;
    if backwards {
        page.messages.reverse();
    }
    Ok(page)
}

pub(crate) fn message_sql() -> String {
    format!("SELECT {MESSAGE} FROM entries e WHERE e.id = ?2 AND e.room = ?1 AND e.kind = 0")
}

pub(crate) fn message(connection: &Connection, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
    let moment = connection.unchecked_transaction().map_err(unread)?;
    let Some(RoomRow { key, .. }) = find(&moment, room)? else {
        return Ok(None);
    };
    query(&moment, &message_sql(), (key, row::to_bytes(id)), |rows| {
        let row = rows.next().map_err(unread)?;
        Ok(row
            .map(|row| row::message(row, room))
            .transpose()?
            .map(|(message, _)| message))
    })
}

pub(crate) fn sent(
    connection: &Connection,
    room: &RoomId,
    user: &UserId,
    nonce: &Nonce,
) -> Result<Option<Sent>, StoreError> {
    let moment = connection.unchecked_transaction().map_err(unread)?;
    match find(&moment, room)? {
        Some(RoomRow { key, .. }) => sent_in(&moment, key, user, nonce),
        None => Ok(None),
    }
}

/// The message of a nonce. The user's nonces in a room are unique, so there is one row at most.
const SENT: &str = "SELECT id, seq, fingerprint FROM entries WHERE room = ?1 AND user_id = ?2 AND nonce = ?3";

pub(crate) fn sent_in(
    connection: &Connection,
    room: i64,
    user: &UserId,
    nonce: &Nonce,
) -> Result<Option<Sent>, StoreError> {
    query(connection, SENT, (room, user.as_str(), nonce.as_str()), |rows| {
        let Some(found) = rows.next().map_err(unread)? else {
            return Ok(None);
        };
        Ok(Some(Sent {
            id: row::id(found, 0)?,
            seq: row::place(found, 1)?,
            fingerprint: Fingerprint::from_u128(u128::from_be_bytes(row::get(found, 2)?)),
        }))
    })
}

pub(crate) fn head(connection: &Connection, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
    Ok(find(connection, room)?.map(|row| row.head))
}

/// Touches the file.
pub(crate) fn health(connection: &Connection) -> Result<(), StoreError> {
    connection
        .query_row("SELECT key FROM rooms LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(unread)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{append, builder::Builder, retention, schema, search};

    #[test]
    fn no_read_goes_through_a_whole_table() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(&Builder::new(folder.path().join("plan.db"))).unwrap();
        let statements = [
            format!("SELECT {ROOM} FROM rooms WHERE id = ?1"),
            format!("SELECT {ROOM}, id FROM rooms WHERE id > ?1 ORDER BY id"),
            log_sql(),
            older_sql(),
            newer_sql(),
            message_sql(),
            search::BOUND.to_owned(),
            retention::OLD.to_owned(),
            SENT.to_owned(),
            append::TARGET.to_owned(),
        ];
        for sql in statements {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
            let plan: Vec<String> = statement
                .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert!(!plan.is_empty());
            for step in plan {
                assert!(
                    !step.starts_with("SCAN") && !step.contains("TEMP B-TREE"),
                    "{step}: {sql}"
                );
            }
        }
    }
}
