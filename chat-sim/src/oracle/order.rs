//! Promise 1: all members of a room see the same entries in the same order; nobody sees what isn't stored.

use super::facts::{Change, Facts};
use super::{Event, Promise};

pub(crate) struct Order;

impl Promise for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Committed { room, seq, .. } => {
                let head = facts.log(room)?.head();
                if *seq != head + 1 {
                    return Err(format!("the store of the simulation put {seq} after {head}"));
                }
            }
            Event::Received { conn, frame } if frame.is_entry() => {
                let user = &facts.conn(*conn).user;
                let log = facts.log(&frame.room_id)?;
                let Some(record) = log.record(frame.seq) else {
                    return Err(format!(
                        "{user} saw {} of {}, which is not stored",
                        frame.seq, frame.room_id
                    ));
                };
                let same = match &record.change {
                    Change::Message { said, .. } => {
                        let whole = frame.data == said.data && frame.reply_to == said.reply_to;
                        let bare = frame.data.is_none() && frame.reply_to.is_none();
                        frame.is_message() && frame.id == *record.id && if frame.deleted { bare } else { whole }
                    }
                    Change::Edit { target, msg, .. } => {
                        frame.t == "edit" && frame.target == *target && frame.msg == *msg
                    }
                    Change::Delete { target, msg } => {
                        frame.t == "delete" && frame.target == *target && frame.msg == *msg
                    }
                };
                let author = frame.user.as_ref().map(|author| &author.id);
                if !same || author != Some(&record.user) {
                    return Err(format!("{user} saw {frame:?}, stored is {record:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
