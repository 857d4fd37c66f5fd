//! Rows as entries. Everything is checked: a damaged row is an error.

use roomcast_core::{
    Deletion, Edit, Entry, Epoch, JsonObject, MAX_SEQ, Message, MessageId, RoomHead, RoomId, StoreError, Timestamp,
    User, UserId, UserName,
};
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::error::{damaged, failed};

/// A room's row.
#[derive(Debug)]
pub(crate) struct RoomRow {
    pub(crate) key: i64,
    pub(crate) head: RoomHead,
}

/// The columns of [`room`].
pub(crate) const ROOM: &str = "key, epoch, head, floor";

pub(crate) fn room(row: &Row<'_>) -> Result<RoomRow, StoreError> {
    let epoch: String = get(row, 1)?;
    let head = RoomHead {
        epoch: Epoch::new(epoch).map_err(damaged)?,
        head: get(row, 2)?,
        floor: get(row, 3)?,
    };
    if head.floor > head.head {
        return Err(damaged("a room's floor is above its head"));
    }
    if head.head > MAX_SEQ {
        return Err(damaged(format!("a room's head is {}", head.head)));
    }
    Ok(RoomRow {
        key: get(row, 0)?,
        head,
    })
}

/// The columns of [`entry`], of `entries e`. An edit takes its content from its message, `t`.
pub(crate) const ENTRY: &str = "e.seq, e.kind, e.id, e.user_id, e.user_name, e.at, e.message, e.target, \
     e.content, e.data, e.reply_to, e.edited_at, e.deleted, t.content";

/// The same without the target, for reads that give messages only.
pub(crate) const MESSAGE: &str = "e.seq, e.kind, e.id, e.user_id, e.user_name, e.at, e.message, e.target, \
     e.content, e.data, e.reply_to, e.edited_at, e.deleted";

/// An entry, and about how many bytes of content and data it has.
pub(crate) fn entry(row: &Row<'_>, room: &RoomId) -> Result<(Entry, usize), StoreError> {
    let about = |row| -> Result<_, StoreError> { Ok((id(row, 6)?, place(row, 7)?)) };
    match get::<i64>(row, 1)? {
        0 => {
            let (message, bytes) = message(row, room)?;
            Ok((Entry::Message(message), bytes))
        }
        1 => {
            let (user, at) = (user(row)?, Timestamp::from_millis(get(row, 5)?));
            let mut edit = Edit::new(id(row, 2)?, room.clone(), place(row, 0)?, about(row)?, user, at);
            edit.content = get(row, 13)?;
            let bytes = edit.content.as_ref().map_or(0, String::len);
            Ok((Entry::Edit(edit), bytes))
        }
        2 => {
            let (user, at) = (user(row)?, Timestamp::from_millis(get(row, 5)?));
            let deletion = Deletion::new(id(row, 2)?, room.clone(), place(row, 0)?, about(row)?, user, at);
            Ok((Entry::Delete(deletion), 0))
        }
        kind => Err(damaged(format!("there is no kind of entry {kind}"))),
    }
}

/// A message, and about how many bytes of content and data it has.
pub(crate) fn message(row: &Row<'_>, room: &RoomId) -> Result<(Message, usize), StoreError> {
    let at = Timestamp::from_millis(get(row, 5)?);
    let mut message = Message::new(id(row, 2)?, room.clone(), place(row, 0)?, user(row)?, at);
    message.content = get(row, 8)?;
    let data: Option<String> = get(row, 9)?;
    let bytes = message.content.as_ref().map_or(0, String::len) + data.as_ref().map_or(0, String::len);
    message.data = data
        .map(|data| serde_json::from_str::<JsonObject>(&data).map_err(damaged))
        .transpose()?;
    message.reply_to = get::<Option<[u8; 16]>>(row, 10)?.map(from_bytes);
    message.edited_at = get::<Option<i64>>(row, 11)?.map(Timestamp::from_millis);
    if get(row, 12)? {
        // Nothing of it is left in the row either, unless somebody else wrote it.
        message.bury();
    }
    Ok((message, bytes))
}

/// The seq of an entry.
pub(crate) fn place(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let seq = get(row, column)?;
    if (1..=MAX_SEQ).contains(&seq) {
        Ok(seq)
    } else {
        Err(damaged(format!("there is no seq {seq}")))
    }
}

fn user(row: &Row<'_>) -> Result<User, StoreError> {
    let (id, name): (String, String) = (get(row, 3)?, get(row, 4)?);
    Ok(User::new(
        UserId::new(id).map_err(damaged)?,
        UserName::new(name).map_err(damaged)?,
    ))
}

pub(crate) fn id(row: &Row<'_>, column: usize) -> Result<MessageId, StoreError> {
    get(row, column).map(from_bytes)
}

/// An id as it is kept: in this order of the bytes, ids sort as they do elsewhere.
pub(crate) fn to_bytes(id: MessageId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn from_bytes(bytes: [u8; 16]) -> MessageId {
    MessageId::from_u128(u128::from_be_bytes(bytes))
}

/// A value; one of the wrong type means a damaged file.
pub(crate) fn get<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    row.get(column)
        .map_err(|error| failed("the database is damaged", error))
}

/// A seq as SQLite can take it. Logs end far below the bound.
pub(crate) fn seq(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
