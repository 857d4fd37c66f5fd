//! Promise 2: on a connection, a room's seq rises by exactly 1 unless a gap frame says which numbers are missing and why.

use super::facts::{Change, Conn, Facts};
use super::{Event, Promise};
use crate::frame::Frame;

pub(crate) struct NoSilentGap;

impl Promise for NoSilentGap {
    fn name(&self) -> &'static str {
        "no silent gap"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let Event::Received { conn, frame } = event else {
            return Ok(());
        };
        let conn = facts.conn(*conn);
        if conn.plain {
            return plain(conn, frame, facts);
        }
        if !frame.is_entry() && frame.t != "gap" {
            return Ok(());
        }
        let (user, room, seq) = (&conn.user, &frame.room_id, frame.seq);
        let Some(joined) = conn.rooms.get(room) else {
            return Err(format!("{user} is not in {room} and got {frame:?}"));
        };
        let log = facts.log(room)?;
        if frame.t == "gap" {
            return match (frame.reason.as_str(), frame.from, frame.to) {
                ("epoch", None, None) if joined.gap_due => Ok(()),
                ("retention", Some(from), Some(to)) if from <= to && to <= log.floor => match joined.next {
                    Some(next) if next != from => Err(format!("{user} is to see {next} of {room} and got {frame:?}")),
                    // The last few may have begun at what is gone by now.
                    _ => Ok(()),
                },
                _ => Err(format!(
                    "{user} is to see {:?} of {room} (floor {}) and got {frame:?}",
                    joined.next, log.floor
                )),
            };
        }
        if joined.gap_due {
            return Err(format!("{user} was told of a gap in {room} and got {seq} before it"));
        }
        match joined.next {
            Some(next) if next == seq => Ok(()),
            Some(next) => Err(format!("{user} is to see {next} of {room} and got {seq}")),
            // The first of the last few: a message (another hub may have stored it after this one's head), or what
            // comes live.
            None if seq == joined.head + 1 || frame.is_message() => Ok(()),
            None => Err(format!(
                "{user} asked for the last of {room} up to {} and got {seq}",
                joined.head
            )),
        }
    }
}

/// A plain client is shown messages alone: what it isn't shown is no message, is deleted, or was removed by retention.
fn plain(conn: &Conn, frame: &Frame, facts: &Facts) -> Result<(), String> {
    let (user, room, seq, last) = (&conn.user, &frame.room_id, frame.seq, conn.plain_last);
    if !frame.is_message() || frame.deleted || seq <= last {
        return Err(format!("{user} is plain, saw {last} of {room} and got {frame:?}"));
    }
    let log = facts.log(room)?;
    match (last + 1..seq).find(|missing| last > 0 && log.is_shown_plainly(*missing)) {
        Some(missing) => Err(format!(
            "{user} is plain, saw {last} of {room}, then {seq}, and never {missing}"
        )),
        None => match log.record(seq).map(|record| &record.change) {
            Some(Change::Message { .. }) => Ok(()),
            other => Err(format!("{user} is plain and got {seq} of {room}, which is {other:?}")),
        },
    }
}
