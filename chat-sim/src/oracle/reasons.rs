//! Promise 10: a connection is closed for a reason, and who is sent away hears nothing more. An innocent client is never told
//! that it broke the protocol.

use std::time::Duration;

use super::facts::Facts;
use super::{Event, Promise};

/// How long it may take until who is sent away is gone, if the client takes what it is sent.
const LONG: Duration = Duration::from_secs(20);

/// Timers ring a moment late.
const SLACK: Duration = Duration::from_millis(5);

pub(crate) struct Reasons;

impl Promise for Reasons {
    fn name(&self) -> &'static str {
        "a close has its reason"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Closed { conn, code } => {
                let conn = facts.conn(*conn);
                let good = match code {
                    4000 => facts.hubs[conn.hub].draining.is_some(),
                    4001..=4004 | 4500 | 4502 => true,
                    4501 => conn.expired(facts.now.at),
                    4503 => conn.kicked.is_some(),
                    _ => conn.provoked.contains_key(code),
                };
                if !good {
                    return Err(format!("{} is closed with {code} for nothing", conn.user));
                }
            }
            Event::Closing {
                conn,
                code: code @ 4000..4500,
            } => {
                let conn = facts.conn(*conn);
                if conn.kicked.is_some() && !conn.bye {
                    return Err(format!("{} was sent away and is closed with {code}", conn.user));
                }
            }
            Event::Wrote { conn, frame } if frame.is_entry() => {
                let conn = facts.conn(*conn);
                if conn.kicked.is_some_and(|kicked| kicked < conn.handed) {
                    return Err(format!("{} was sent away and still hears {frame:?}", conn.user));
                }
                if conn.expired(conn.handed.at.saturating_sub(SLACK)) {
                    return Err(format!("who {} is has expired, and it hears {frame:?}", conn.user));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&self, facts: &Facts) -> Result<(), String> {
        let then = facts.now.at.saturating_sub(LONG);
        for conn in facts.conns.iter().filter(|conn| conn.open) {
            let kicked = conn.kicked.is_some_and(|kicked| kicked.at < then);
            let provoked = conn.provoked.values().any(|provoked| provoked.at < then);
            if kicked || provoked || conn.expired(then) {
                return Err(format!("{} still has a connection that is to be closed", conn.user));
            }
        }
        Ok(())
    }
}
