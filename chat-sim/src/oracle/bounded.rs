//! Promise 5: every queue is bounded, a slow member slows nobody, and who doesn't take what it is sent is let go.

use std::time::Duration;

use roomcast_core::Limits;

use super::facts::Facts;
use super::{Event, Promise};

/// How long an answer may take while the store is well.
const PROMPT: Duration = Duration::from_secs(5);

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
