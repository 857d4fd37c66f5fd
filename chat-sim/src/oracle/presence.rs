//! Promise 13: who asks is told who is there. Each frame fits what was told before; nobody is said to have left of whom the hub's
//! newest word is that it is there; and once the faults are over, everybody's list is what is true, on all nodes.

mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::{A_MOMENT, Conn, Facts, Moment, Roster};
use super::{Event, HubId, Promise};
use crate::frame::Frame;
use words::Words;

/// For so long what a client is told may be what its hub knew before, if it takes at once what it is sent.
const LAG: Duration = Duration::from_secs(3);

/// For how long after a fault of its hub's store, or after it let the hub wait, a client may still catch up, and be told nothing else.
const SHAKEN: Duration = Duration::from_secs(10);

pub(crate) struct Presence {
    /// How many users are listed in a room.
    limit: usize,
    /// Whether hubs know of each other's users.
    bus: bool,
    /// What hubs were told by others.
    words: Words,
}

impl Presence {
    pub(crate) fn new(limit: usize, bus: bool) -> Self {
        Self {
            limit,
            bus,
            words: Words::default(),
        }
    }
}

impl Promise for Presence {
    fn name(&self) -> &'static str {
        "who asks is told who is there"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Noticed { hub, what } => {
                self.words.take(*hub, what, facts.now.at);
                Ok(())
            }
            Event::Received { conn, frame } if frame.t == "presence" => {
                let conn = facts.conn(*conn);
                let joined = conn.rooms.get(&frame.room_id);
                let Some(roster) = joined.and_then(|joined| joined.presence.as_ref()) else {
                    return Err(format!("{} didn't ask who is in {}", conn.user, frame.room_id));
                };
                let wrong = |what| Err(format!("{} is told {what}: {frame} after {roster:?}", conn.user));
                fits(roster, frame, self.limit).or_else(wrong)
            }
            Event::Wrote { conn, frame } if frame.t == "presence" => {
                let conn = facts.conn(*conn);
                for user in frame.left.iter().flatten() {
                    self.may_have_left(conn, user, &frame.room_id, facts)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settled(&self, facts: &Facts) -> Result<(), String> {
        for conn in facts.conns.iter().filter(|conn| is_there(conn, facts)) {
            for (room, joined) in &conn.rooms {
                if let Some(roster) = &joined.presence {
                    let hub = (!self.bus).then_some(conn.hub);
                    self.is_true(roster, &who_is_in(room, hub, facts))
                        .map_err(|what| format!("{} at hub {} is told of {room}: {what}", conn.user, conn.hub))?;
                }
            }
        }
        Ok(())
    }
}

impl Presence {
    /// Whether a user may be said to have left, as far as other hubs told this one.
    fn may_have_left(&self, conn: &Conn, user: &str, room: &str, facts: &Facts) -> Result<(), String> {
        let roster = conn.rooms.get(room).and_then(|joined| joined.presence.as_ref());
        let Some(since) = roster
            .and_then(|roster| roster.since)
            .filter(|_| is_prompt(conn, facts))
        else {
            return Ok(());
        };
        let Some(long_ago) = facts.now.at.checked_sub(LAG) else {
            return Ok(());
        };
        match self
            .words
            .here((conn.hub, room), user, since.at..long_ago, facts.now.at)
        {
            Some(hub) => Err(format!(
                "{} at hub {} is told that {user} left {room}, and the newest word of hub {hub} is that it is there",
                conn.user, conn.hub
            )),
            None => Ok(()),
        }
    }

    /// Whether the list is what is true.
    fn is_true(&self, roster: &Roster, there: &BTreeSet<&str>) -> Result<(), String> {
        if roster.since.is_none() {
            return Err("nothing".into());
        }
        let told: BTreeSet<_> = roster.users.iter().map(String::as_str).collect();
        let all = there.len() <= self.limit;
        let right = if all { told == *there } else { told.is_subset(there) };
        if !right || roster.online != there.len() as u64 {
            return Err(format!("{} users, {told:?}, and there are {there:?}", roster.online));
        }
        Ok(())
    }
}

/// Whether a frame can follow what was told before.
fn fits(roster: &Roster, frame: &Frame, limit: usize) -> Result<(), &'static str> {
    let count = match (&frame.users, &frame.came, &frame.left) {
        (Some(users), None, None) => {
            if !users.is_sorted_by(|a, b| a.id < b.id) {
                return Err("a list that has no order, or has somebody twice");
            }
            if frame.more != (frame.online > users.len() as u64) {
                return Err("that there are more, or no more, against its own number");
            }
            users.len()
        }
        (None, Some(came), Some(left)) => {
            if roster.since.is_none() {
                return Err("a change before the state");
            }
            let mut users = roster.users.clone();
            if !left.iter().all(|id| users.remove(id)) {
                return Err("that somebody left who wasn't there");
            }
            if !came.iter().all(|user| users.insert(user.id.clone())) {
                return Err("that somebody came who was there");
            }
            users.len()
        }
        _ => return Err("neither a state nor a change"),
    };
    if count > limit || frame.online < count as u64 {
        return Err("of more users than there may be");
    }
    Ok(())
}

/// Whether what the hub has to tell the client gets to it soon.
fn is_prompt(conn: &Conn, facts: &Facts) -> bool {
    let (now, fault) = (facts.now.at, facts.hubs[conn.hub].fault);
    let is_past = |at: Moment| at.at + SHAKEN < now;
    let well = fault.step == 0 || is_past(fault);
    well && conn.dawdled.is_none_or(is_past) && now < conn.handed.at + A_MOMENT
}

/// Whether it is served by a hub that runs.
fn is_there(conn: &Conn, facts: &Facts) -> bool {
    let hub = &facts.hubs[conn.hub];
    conn.open && conn.served.is_some() && !hub.crashed && hub.draining.is_none()
}

/// The users who are in the room, on this hub or on any.
fn who_is_in<'a>(room: &str, hub: Option<HubId>, facts: &'a Facts) -> BTreeSet<&'a str> {
    let is_in = |conn: &&Conn| match conn.plain {
        true => conn.room == room,
        false => conn.rooms.contains_key(room),
    };
    let is_known = |conn: &&Conn| is_there(conn, facts) && hub.is_none_or(|hub| hub == conn.hub);
    let conns = facts.conns.iter().filter(is_known);
    conns.filter(is_in).map(|conn| conn.user.as_str()).collect()
}
