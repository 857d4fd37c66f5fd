//! Promise 5: every queue is bounded, a slow member slows nobody, and who doesn't take what it is sent is let go.

use std::time::Duration;

use roomcast_core::probe::{Held, Queued, Room};
use roomcast_core::{Limits, QueueLimit};

use super::facts::Facts;
use super::{Event, Promise};

/// How long an answer may take while the store is well.
const PROMPT: Duration = Duration::from_secs(5);

/// The largest message of the simulation as a frame, and an answer that isn't a page of them. Bytes.
const MESSAGE: usize = 3 << 10;
const ANSWER: usize = 400;

pub(crate) struct Bounded {
    limits: Limits,
}

impl Bounded {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Promise for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::WriteTook { conn, took } if *took > self.limits.write + Duration::from_millis(5) => Err(format!(
                "the hub kept writing to {} for {took:?}; allowed are {:?}",
                facts.conn(*conn).user,
                self.limits.write
            )),
            Event::Wrote { conn, frame } => {
                let conn = facts.conn(*conn);
                let Some(request) = frame.answers().and_then(|id| conn.requests.get(&id)) else {
                    return Ok(());
                };
                let Some(read) = request.read else {
                    return Err(format!("{} got {frame:?} before it asked", conn.user));
                };
                // So many answers may be queued, and as many in the writer's hands. What comes once the hub has decided
                // to close is taken and dropped; so this is asked of what is answered.
                let queue = 4 * self.limits.send_queue.messages + self.limits.in_flight;
                let most = 2 * queue + self.limits.in_flight + 2;
                if request.ahead > most {
                    return Err(format!(
                        "{} requests of {} were under way; allowed are {most}",
                        request.ahead, conn.user
                    ));
                }
                let took = facts.now.at.saturating_sub(read.at);
                let most = self.limits.commit + 3 * self.limits.store_read + self.limits.write * 2 + PROMPT;
                if took > most {
                    return Err(format!("the answer {frame:?} to {} took {took:?}", conn.user));
                }
                Ok(())
            }
            Event::Told { call, .. } => {
                let call = &facts.calls[*call];
                let took = facts.now.at.saturating_sub(call.asked.at);
                if took > self.limits.commit + 5 * self.limits.store_read + PROMPT {
                    return Err(format!("the answer to {call:?} took {took:?}"));
                }
                Ok(())
            }
            Event::Appending { count, bytes, .. } => within("an append", (*count, *bytes), self.limits.commit_batch, 1),
            Event::Held { held, .. } => self.holds(held),
            _ => Ok(()),
        }
    }

    fn settled(&self, facts: &Facts) -> Result<(), String> {
        for conn in facts.conns.iter().filter(|conn| conn.open && !conn.plain) {
            if let Some(request) = conn.unanswered().next() {
                return Err(format!("{} never got an answer to {request:?}", conn.user));
            }
        }
        Ok(())
    }
}

impl Bounded {
    /// Whether a hub holds no more than it may, and knows how much that is.
    fn holds(&self, held: &Held) -> Result<(), String> {
        for (user, queued) in &held.connections {
            self.queued(queued)
                .map_err(|what| format!("for {user}: {what}: {queued:?}"))?;
        }
        for (_, room) in &held.rooms {
            self.room(room).map_err(|what| format!("a room: {what}: {room:?}"))?;
        }
        Ok(())
    }

    fn queued(&self, held: &Queued) -> Result<(), String> {
        let limits = &self.limits;
        let live = (held.queued.0 + held.taken.0, held.queued.1 + held.taken.1);
        let answers = held.answers + held.taken_answers;
        within("messages", live, limits.send_queue, 0)?;
        if (live, answers) != (held.counted, held.counted_answers) {
            return Err("it is counted wrongly".to_owned());
        }
        // Beyond the limit, the answer to one more request, and those to messages that were taken before.
        let more = limits.history_page_max * MESSAGE + (limits.in_flight + 1) * ANSWER;
        at_most("answers", answers, limits.send_queue.bytes + more)?;
        at_most("messages under way", held.in_flight, limits.in_flight)?;
        // So many answers, messages in batches of one, marks of rooms, and a ping.
        let most = 5 * limits.send_queue.messages + limits.in_flight + limits.rooms_per_connection.min(8) + 2;
        at_most("pieces", held.items, most)?;
        at_most("rooms' beginnings", held.others, held.items * ANSWER)
    }

    fn room(&self, held: &Room) -> Result<(), String> {
        within("what waits for its commit", held.queue, self.limits.commit_queue, 1)?;
        within("the tail", held.tail, self.limits.tail, 0)?;
        within("what was told too early", held.early, self.limits.send_queue, 0)?;
        let counted = (held.counted_queue, held.counted_tail, held.counted_early);
        if (held.queue.1, held.tail.1, held.early.1) != counted {
            return Err("it is counted wrongly".to_owned());
        }
        Ok(())
    }
}

fn at_most(what: &str, held: usize, most: usize) -> Result<(), String> {
    match held <= most {
        true => Ok(()),
        false => Err(format!("{what}: {held}, allowed are {most}")),
    }
}

/// Whether so many messages and bytes are within the limit; so many messages may be however large.
fn within(what: &str, (messages, bytes): (usize, usize), most: QueueLimit, any: usize) -> Result<(), String> {
    at_most(what, messages, most.messages)?;
    match messages <= any {
        true => Ok(()),
        false => at_most(what, bytes, most.bytes).map_err(|why| format!("{why} bytes")),
    }
}
