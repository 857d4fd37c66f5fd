//! What was deleted is nowhere given out again, and what was edited only with its newest content: not in history, and not in
//! a replay.

use std::time::Duration;

use super::facts::{Change, Facts, Log, Moment, Text};
use super::{Event, Promise};
use crate::frame::Frame;

/// A hub that joins somebody compares its log with the store's unless it did so not longer ago than this.
const COMPARED: Duration = Duration::from_millis(1000);

pub(crate) struct DeletedIsGone;

impl Promise for DeletedIsGone {
    fn name(&self) -> &'static str {
        "what was deleted is nowhere given out again"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let Event::Received { conn, frame } = event else {
            return Ok(());
        };
        let conn = facts.conn(*conn);
        if frame.t == "history" {
            let log = facts.log(&frame.room_id)?;
            let asked = conn.asked(frame);
            for message in &frame.messages {
                if !is_true(log, message, |until| until > asked) {
                    return Err(format!(
                        "{} asked for history at {asked:?} and got {message:?}",
                        conn.user
                    ));
                }
            }
        } else if frame.is_entry() {
            let log = facts.log(&frame.room_id)?;
            let joined = conn.rooms.get(&frame.room_id);
            let replay = joined.filter(|joined| frame.seq <= joined.head);
            // What is live was true once: a deletion may overtake it on its way.
            let recent = |until: Moment| replay.is_none_or(|joined| until.at + COMPARED >= joined.asked.at);
            if !is_true(log, frame, recent) {
                let asked = replay.map(|joined| joined.asked);
                return Err(format!("{} joined at {asked:?} and got {frame:?}", conn.user));
            }
        }
        Ok(())
    }
}

/// Whether the entry says what its message said at such a moment.
pub(super) fn is_true(log: &Log, frame: &Frame, recent: impl Fn(Moment) -> bool) -> bool {
    let text = match (frame.deleted, &frame.content) {
        (true, Some(_)) => return false,
        (true, None) => Text::Deleted,
        (false, content) => Text::Is(content.clone()),
    };
    match log.record(frame.seq).map(|record| &record.change) {
        Some(Change::Message { said, .. }) => {
            let whole = frame.deleted || frame.data == said.data && frame.reply_to == said.reply_to;
            whole && log.was(frame.seq, &text, recent)
        }
        // An edit says nothing any more once retention has removed its message.
        Some(Change::Edit { target, .. }) => {
            (text == Text::Deleted && *target <= log.floor) || log.was(*target, &text, recent)
        }
        Some(Change::Delete { .. }) => frame.content.is_none(),
        None => false,
    }
}
