//! Promise 12: while the bus is good, a hub with members in a room knows soon what another one has stored there, and who is
//! sent away on one is sent away on all. So a bus that nobody uses is noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use roomcast_core::probe::Room;

use super::facts::Facts;
use super::{ConnId, Event, HubId, Promise};
use crate::bus::RECOVERY;

/// How soon.
const SOON: Duration = Duration::from_secs(2);

/// For how long after a fault of its store a hub may still have to do with that.
const SHAKEN: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(crate) struct News {
    /// Since when the bus is good.
    good: Option<Duration>,
    /// What was stored in each room, by seq: when, and by which hub.
    stored: BTreeMap<String, Vec<(Duration, Option<HubId>)>>,
    /// Since when a hub was seen to have members in a room.
    members: BTreeMap<(HubId, String), Duration>,
    /// Who was sent away, when, and the connections that the user had on other hubs.
    kicks: Vec<(Duration, Vec<ConnId>)>,
}

impl Promise for News {
    fn name(&self) -> &'static str {
        "a good bus brings news soon"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        let now = facts.now.at;
        match event {
            Event::BusIsGood => self.good = Some(now),
            Event::Committed { hub, room, .. } => {
                self.stored.entry((*room).to_owned()).or_default().push((now, *hub));
            }
            Event::Kicked { hub, user } if self.good.is_some() => {
                let elsewhere = facts.conns.iter().enumerate().filter(|(_, conn)| {
                    conn.open
                        && conn.served.is_some()
                        && conn.user == *user
                        && conn.hub != *hub
                        && is_up(conn.hub, facts)
                });
                self.kicks.push((now, elsewhere.map(|(id, _)| id).collect()));
            }
            Event::Held { hub, held } => {
                let mut none = self.members.clone();
                none.retain(|(of, _), _| of == hub);
                for (room, held) in held.rooms.iter().filter(|(_, held)| held.members > 0) {
                    let key = (*hub, room.as_str().to_owned());
                    none.remove(&key);
                    let since = *self.members.entry(key).or_insert(now);
                    if now >= since + SOON {
                        self.knows(*hub, room.as_str(), held, facts)?;
                    }
                }
                self.members.retain(|key, _| !none.contains_key(key));
                return self.sent_away(facts);
            }
            _ => {}
        }
        Ok(())
    }
}

impl News {
    /// Whether a hub has heard of everything that it could have.
    fn knows(&self, hub: HubId, room: &str, held: &Room, facts: &Facts) -> Result<(), String> {
        let Some(good) = self.good else { return Ok(()) };
        let news = self
            .stored
            .get(room)
            .and_then(|stored| stored.get(held.head as usize..));
        for (seq, (at, by)) in (held.head + 1..).zip(news.unwrap_or_default()) {
            let due = *at.max(&good);
            // What was stored before the bus healed, all have looked for since. Later on a hub tells what it stores, but not what
            // it had given up, and was stored all the same: that is found when heads are compared.
            let told = by.is_some_and(|by| *at + RECOVERY < good || is_well(by, *at, facts));
            if told && is_well(hub, due, facts) && facts.now.at > due + SOON {
                return Err(format!(
                    "hub {by:?} stored {seq} of {room} at {at:?}, and hub {hub} has members and knows nothing of it"
                ));
            }
        }
        Ok(())
    }

    fn sent_away(&mut self, facts: &Facts) -> Result<(), String> {
        let due = |at: &Duration| facts.now.at > *at + SOON;
        for (at, conns) in self.kicks.iter().filter(|(at, _)| due(at)) {
            for conn in conns.iter().map(|conn| facts.conn(*conn)) {
                if conn.open && conn.kicked.is_none() && is_up(conn.hub, facts) {
                    return Err(format!(
                        "{} was sent away at {at:?}, and hub {} knows nothing of it",
                        conn.user, conn.hub
                    ));
                }
            }
        }
        self.kicks.retain(|(at, _)| !due(at));
        Ok(())
    }
}

fn is_up(hub: HubId, facts: &Facts) -> bool {
    let hub = &facts.hubs[hub];
    hub.draining.is_none() && !hub.crashed
}

/// Whether the hub is up, and its store hasn't failed it since a while before this.
fn is_well(hub: HubId, then: Duration, facts: &Facts) -> bool {
    let fault = facts.hubs[hub].fault;
    is_up(hub, facts) && (fault.step == 0 || fault.at + SHAKEN < then)
}
