//! Promise 3: a client that keeps its cursor and comes back, to any node, sees every committed entry after it once, in
//! order, joined to the live stream without a window. In the end everybody has caught up.

use super::facts::{Change, Conn, Facts, Start};
use super::{Event, Promise};
use crate::frame::Frame;

pub(crate) struct Resume;

impl Promise for Resume {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let Event::Received { conn, frame } = event else {
            return Ok(());
        };
        let conn = facts.conn(*conn);
        match frame.t.as_str() {
            "hello" => frame
                .rooms
                .iter()
                .try_for_each(|room| join(conn, room, &conn.start, facts)),
            "joined" => join(conn, frame, &conn.start_of(frame).0, facts),
            _ if frame.is_message() => first_of_last(conn, frame, facts),
            _ => Ok(()),
        }
    }

    fn settled(&self, facts: &Facts) -> Result<(), String> {
        for conn in facts.conns.iter().filter(|conn| conn.open) {
            if conn.plain {
                let log = facts.log(&conn.room)?;
                let seen = conn.plain_last;
                if let Some(missing) = (seen + 1..=log.head()).find(|seq| log.is_shown_plainly(*seq)) {
                    return Err(format!(
                        "{} is plain, saw {seen} of {} and never {missing}",
                        conn.user, conn.room
                    ));
                }
            }
            for (room, joined) in &conn.rooms {
                let head = facts.log(room)?.head();
                if joined.next.unwrap_or(joined.head + 1) != head + 1 {
                    return Err(format!(
                        "{} still waits for {:?} of {room}, whose head is {head}",
                        conn.user, joined.next
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether the answer to a join is true.
fn join(conn: &Conn, room: &Frame, start: &Start, facts: &Facts) -> Result<(), String> {
    let log = facts.log(&room.room_id)?;
    let wrong = |why: &str| {
        Err(format!(
            "{} joined from {start:?}: {why}; log {} of {}, floor {}; {room:?}",
            conn.user,
            log.epoch,
            log.head(),
            log.floor
        ))
    };
    if room.epoch != log.epoch {
        return wrong("the epoch is another");
    }
    if room.head > log.head() {
        return wrong("the head is not reached yet");
    }
    match (start, room.resume.as_str()) {
        (Start::Live | Start::Last(_), "fresh") => Ok(()),
        (Start::Since(epoch, seq), resume) if *epoch == log.epoch => match resume {
            _ if room.head < *seq => wrong("the head is before the cursor"),
            "ok" => Ok(()),
            "gap" if log.floor > *seq => Ok(()),
            _ => wrong("the cursor was good"),
        },
        _ => wrong("the cursor was taken wrongly"),
    }
}

/// The last N messages are N, unless the log has fewer or retention came between.
fn first_of_last(conn: &Conn, frame: &Frame, facts: &Facts) -> Result<(), String> {
    let Some(joined) = conn.rooms.get(&frame.room_id) else {
        return Ok(());
    };
    let (Start::Last(count), None) = (&joined.start, joined.next) else {
        return Ok(());
    };
    let log = facts.log(&frame.room_id)?;
    // Another hub may have stored some that this one hasn't heard of: they count, and come live.
    let shown = (frame.seq..=log.head())
        .filter(|seq| {
            matches!(
                log.record(*seq).map(|record| &record.change),
                Some(Change::Message { .. })
            )
        })
        .count() as u64;
    if shown < *count && log.floor == 0 && frame.seq > 1 {
        return Err(format!(
            "{} asked for {count} and got {shown}, from {}",
            conn.user, frame.seq
        ));
    }
    Ok(())
}
