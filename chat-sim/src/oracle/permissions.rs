//! Promise 6: what may not be read live can't be read by resume or paging.

use super::facts::{Facts, Level};
use super::{Event, Promise};

pub(crate) struct Permissions;

impl Promise for Permissions {
    fn name(&self) -> &'static str {
        "permissions hold for history as for live"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let Event::Received { conn, frame } = event else {
            return Ok(());
        };
        let conn = facts.conn(*conn);
        let user = &conn.user;
        // The policy answered at some moment between the question and the answer.
        let may = |room: &str, level, asked| {
            if facts.had(user, room, level, asked) {
                return Ok(());
            }
            Err(format!(
                "{user} had no {level:?} in {room} since {asked:?} and got {frame:?}"
            ))
        };
        match frame.t.as_str() {
            "hello" => frame
                .rooms
                .iter()
                .try_for_each(|room| may(&room.room_id, Level::Live, conn.opened)),
            "joined" => may(&frame.room_id, Level::Live, conn.asked(frame)),
            "history" => may(&frame.room_id, Level::History, conn.asked(frame)),
            _ if frame.is_entry() => match conn.rooms.get(&frame.room_id) {
                Some(joined) if frame.seq <= joined.head => may(&frame.room_id, Level::History, joined.asked),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
