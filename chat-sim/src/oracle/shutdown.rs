//! Promise 7: a shutdown commits and acknowledges what was accepted, keeps its deadline, and leaves nothing at work.

use std::collections::BTreeMap;
use std::time::Duration;

use roomcast_core::Limits;

use super::facts::{Ask, Change, Conn, Facts, Moment, Request};
use super::{Event, HubId, Promise};
use crate::sources;

/// The code with which a stopping hub closes.
const DRAINING: u16 = 4000;

pub(crate) struct Shutdown {
    limits: Limits,
    /// What was accepted and not answered when the connection was closed, by hub.
    forgotten: BTreeMap<HubId, Vec<String>>,
}

impl Shutdown {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            forgotten: BTreeMap::new(),
        }
    }
}

impl Promise for Shutdown {
    fn name(&self) -> &'static str {
        "shutdown loses nothing"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Closing { conn, code: DRAINING } => {
                let conn = facts.conn(*conn);
                let Some(draining) = facts.hubs[conn.hub].draining else {
                    return Err(format!("{} was told that a hub stops which doesn't", conn.user));
                };
                if conn.slowest >= self.limits.write {
                    return Ok(()); // It was given up because it took nothing.
                }
                for request in accepted(conn, draining) {
                    if !is_settled(conn, request, facts, self.limits.commit) {
                        let what = format!("{}: {request:?}", conn.user);
                        self.forgotten.entry(conn.hub).or_default().push(what);
                    }
                }
                Ok(())
            }
            Event::Wrote { conn, frame } if frame.t == "err" && frame.error() == "unavailable" => {
                let conn = facts.conn(*conn);
                let request = frame.answers().and_then(|id| conn.requests.get(&id));
                let hub = &facts.hubs[conn.hub];
                // For who is sent away nothing is waited for.
                let sent_away = conn.kicked.is_some() || conn.expired(facts.now.at);
                match request {
                    Some(request)
                        if !sent_away
                            && request.ask.is_write()
                            && hub.draining.is_some()
                            && request.read.is_some_and(|read| {
                                read > hub.fault && facts.now.at.saturating_sub(read.at) < self.limits.commit
                            }) =>
                    {
                        Err(format!(
                            "the store is well, and {} was told {frame:?} to {request:?}",
                            conn.user
                        ))
                    }
                    _ => Ok(()),
                }
            }
            Event::Drained { hub, clean, late } => {
                if *late {
                    return Err(format!("the shutdown of hub {hub} missed its deadline"));
                }
                match self.forgotten.get(hub).and_then(|forgotten| forgotten.first()) {
                    Some(first) if *clean => Err(format!("hub {hub} stopped cleanly and forgot {first}")),
                    _ => Ok(()),
                }
            }
            // A call of the embedding server's own isn't the hub's work.
            Event::StoreCall { hub } if facts.hubs[*hub].drained && facts.hubs[*hub].calls == 0 => {
                Err(format!("hub {hub} still uses its store after its shutdown"))
            }
            _ => Ok(()),
        }
    }
}

/// What the hub took before it began to stop.
fn accepted(conn: &Conn, draining: Moment) -> impl Iterator<Item = &Request> {
    conn.requests
        .values()
        .filter(move |request| request.ask.is_write() && request.read.is_some_and(|read| read < draining))
}

/// Whether the client was told; a plain one, which is told nothing, has its message in the log. Who waits for a store that
/// failed, or for longer than a commit may take, is let go without an answer.
fn is_settled(conn: &Conn, request: &Request, facts: &Facts, commit: Duration) -> bool {
    let failed = request.read.is_some_and(|read| {
        let waited = facts.now.at.saturating_sub(read.at);
        facts.hubs[conn.hub].fault > read || waited + Duration::from_millis(5) > commit
    });
    if failed || !conn.plain {
        return failed || request.answered.is_some();
    }
    let Ask::Send { said, .. } = &request.ask else {
        return true;
    };
    facts.logs.get(&request.room).is_some_and(|log| {
        log.records().iter().rev().any(|record| {
            matches!(&record.change, Change::Message { said: stored, .. } if sources::may_become(said, stored))
        })
    })
}
