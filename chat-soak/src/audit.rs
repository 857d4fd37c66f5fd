//! What is in the logs in the end, held against what members saw and were told.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use rusqlite::{Connection, OpenFlags};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::book::{Ack, Book};
use crate::http::get;
use crate::plan::bounds;
use crate::socket::enter;
use chat_driver::frame::{Entry, Frame, Kind};

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    seq: u64,
    entry: Entry,
    /// What only the file tells.
    more: Option<More>,
}

#[derive(Debug, Clone)]
struct More {
    user: String,
    nonce: Option<String>,
    content: Option<String>,
}

/// The last number of each room, as the server says.
pub(crate) async fn heads(book: &Arc<Book>) -> Result<Vec<u64>, String> {
    let answer = get(book, "/api/rooms?user=auditor").await?.expect(200)?.json()?;
    let rooms = answer["rooms"].as_array().ok_or("no rooms")?;
    let head = |id: &String| rooms.iter().find(|room| room["id"] == **id)?["head"].as_u64();
    Ok(book.rooms.iter().map(|id| head(id).unwrap_or(0)).collect())
}

/// A room's whole log, as a client gets it that has seen nothing yet.
pub(crate) async fn replay(book: &Arc<Book>, room: usize, head: u64) -> Result<Vec<Stored>, String> {
    let id = &book.rooms[room];
    let (mut socket, _open) = enter(book, &format!("/ws/{id}?user=auditor"), true, false).await?;
    let epoch = loop {
        let frame = next(&mut socket).await?;
        if let Some(room) = frame.rooms.into_iter().next() {
            break room.epoch;
        }
    };
    drop((socket, _open));
    let path = format!("/ws/{id}?user=auditor&since={epoch}:0");
    let (mut socket, _open) = enter(book, &path, true, false).await?;
    let mut log = Vec::new();
    while log.last().is_none_or(|last: &Stored| last.seq < head) && head > 0 {
        let frame = next(&mut socket).await?;
        match frame.entry() {
            Some(entry) => log.push(Stored {
                seq: frame.seq,
                entry,
                more: None,
            }),
            None if frame.t == "hello" => {}
            None => return Err(format!("a replay of {id} has a frame {:?}", frame.t)),
        }
    }
    Ok(log)
}

async fn next(socket: &mut crate::socket::WebSocket) -> Result<Frame, String> {
    loop {
        match timeout(bounds::ANSWER, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return Frame::parse(&text),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            other => return Err(format!("a replay ended: {other:?}")),
        }
    }
}

/// Reads all logs out of the file of a server that is stopped.
pub(crate) fn read_file(path: &Path) -> rusqlite::Result<HashMap<String, Vec<Stored>>> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "the file is damaged: {sound}"
        )));
    }
    let sql = "SELECT rooms.id, seq, kind, coalesce(message, entries.id), user_id, nonce, content \
               FROM entries JOIN rooms ON rooms.key = entries.room ORDER BY room, seq";
    let mut statement = file.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut logs: HashMap<String, Vec<Stored>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let kind = match row.get::<_, i64>(2)? {
            0 => Kind::Message,
            1 => Kind::Edit,
            _ => Kind::Deletion,
        };
        let stored = Stored {
            seq: row.get(1)?,
            entry: Entry {
                kind,
                message: u128::from_be_bytes(row.get(3)?),
            },
            more: Some(More {
                user: row.get(4)?,
                nonce: row.get(5)?,
                content: row.get(6)?,
            }),
        };
        logs.entry(row.get(0)?).or_default().push(stored);
    }
    Ok(logs)
}

/// What is wrong with a room's log: numbers that aren't contiguous, what was said twice, what was seen or acknowledged and
/// isn't there.
pub(crate) fn faults(log: &[Stored], seen: &[Option<Entry>], acks: &[&Ack]) -> Vec<String> {
    let mut faults = Vec::new();
    for (stored, expected) in log.iter().zip(1..) {
        if stored.seq != expected {
            faults.push(format!("{} stands where {expected} has to", stored.seq));
            break;
        }
    }
    let place = |seq: u64| usize::try_from(seq).ok().and_then(|seq| log.get(seq.checked_sub(1)?));
    for (seq, entry) in (0_u64..).zip(seen) {
        let stored = place(seq).map(|stored| stored.entry);
        if entry.is_some() && *entry != stored {
            faults.push(format!("{seq} was seen as {entry:?} and is stored as {stored:?}"));
        }
    }
    for ack in acks {
        let stored = place(ack.seq);
        let is_it = |stored: &Stored| {
            let rest = stored.more.as_ref();
            stored.entry == ack.entry && rest.is_none_or(|more| more.user == *ack.user && more.nonce == ack.nonce)
        };
        if !stored.is_some_and(is_it) {
            faults.push(format!("acknowledged as {ack:?}, stored as {stored:?}"));
        }
    }
    let mut messages = HashSet::new();
    // Each message, and each version of one, has a text of its own.
    let mut texts = HashSet::new();
    for stored in log.iter().filter(|stored| stored.entry.kind == Kind::Message) {
        let text = stored.more.as_ref().and_then(|more| more.content.as_deref());
        if !messages.insert(stored.entry.message) || text.is_some_and(|text| !texts.insert(text)) {
            faults.push(format!("stored twice: {stored:?}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, message: u128) -> Entry {
        Entry { kind, message }
    }

    fn log() -> Vec<Stored> {
        let stored = |seq, entry, text: Option<&str>| Stored {
            seq,
            entry,
            more: Some(More {
                user: "ann".into(),
                nonce: text.map(|_| format!("n{seq}")),
                content: text.map(str::to_owned),
            }),
        };
        vec![
            stored(1, entry(Kind::Message, 7), Some("a")),
            stored(2, entry(Kind::Message, 8), Some("b")),
            stored(3, entry(Kind::Edit, 7), None),
        ]
    }

    fn ack(seq: u64, entry: Entry, user: &str, nonce: Option<&str>) -> Ack {
        Ack {
            room: 0,
            seq,
            entry,
            user: user.into(),
            nonce: nonce.map(str::to_owned),
        }
    }

    #[test]
    fn a_good_log_is_good() {
        let seen = [None, Some(entry(Kind::Message, 7)), None, Some(entry(Kind::Edit, 7))];
        let acks = [
            ack(1, entry(Kind::Message, 7), "ann", Some("n1")),
            ack(3, entry(Kind::Edit, 7), "ann", None),
        ];
        assert_eq!(faults(&log(), &seen, &acks.iter().collect::<Vec<_>>()), [""; 0]);
    }

    #[test]
    fn what_is_lost_or_doubled_or_elsewhere_is_found() {
        let mut hole = log();
        hole.remove(1);
        assert_eq!(faults(&hole, &[], &[]), ["3 stands where 2 has to"]);
        let mut twice = log();
        twice[1].more.as_mut().unwrap().content = Some("a".into());
        assert_eq!(faults(&twice, &[], &[]).len(), 1, "the same text");
        let mut twice = log();
        twice[1].entry.message = 7;
        assert_eq!(faults(&twice, &[], &[]).len(), 1, "the same message");
        let unseen = [None, None, Some(entry(Kind::Message, 9))];
        assert_eq!(faults(&log(), &unseen, &[]).len(), 1, "another one was seen");
        let beyond = [None, None, None, None, Some(entry(Kind::Message, 9))];
        assert_eq!(faults(&log(), &beyond, &[]).len(), 1, "the last one was seen");
        for wrong in [
            ack(2, entry(Kind::Message, 7), "ann", Some("n1")),
            ack(4, entry(Kind::Message, 9), "ann", Some("n4")),
            ack(1, entry(Kind::Message, 7), "ben", Some("n1")),
            ack(1, entry(Kind::Message, 7), "ann", Some("n2")),
            ack(0, entry(Kind::Message, 7), "ann", Some("n1")),
        ] {
            assert_eq!(faults(&log(), &[], &[&wrong]).len(), 1, "{wrong:?}");
        }
    }
}
