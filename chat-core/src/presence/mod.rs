//! Who is in a room: on this node, and as far as other hubs tell.
//!
//! A room is nobody's concern until a member, the embedding server or another hub asks who is in it; then its connections are
//! counted by user ([`roll`]), and this hub tells others, or hears from them, until nobody wants to know any more ([`room`]).
//! What members are told is the union of what all hubs say ([`view`]).

mod registry;
mod roll;
mod room;
mod tell;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::{RoomId, User};
pub(crate) use registry::{Listens, Registry};
pub(crate) use room::Show;
pub(crate) use tell::{Change, Span, Tell};

/// A hub that wasn't heard of for so many heartbeats is forgotten.
const HEARTBEATS: u32 = 3;

/// The longest that a hub's word or wish is heeded if nothing more is heard of it, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest heartbeat.
pub(crate) const LONGEST_HEARTBEAT: Duration = Duration::from_secs(LONGEST.as_secs() / HEARTBEATS as u64);

/// How much later than its clients are to come back a stopping hub's users have left, if they don't.
const RETURN: Duration = Duration::from_secs(2);

/// Who is in a room, on all nodes: [`Room::presence`](crate::Room::presence).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// How many users there are. Up to [`Limits::presence_users`](crate::Limits::presence_users) of them each counts once; of
    /// the others, one who is on several nodes counts on each.
    pub online: usize,
    /// The users, each once, in the order of their ids; at most [`Limits::presence_users`](crate::Limits::presence_users).
    pub users: Vec<User>,
    /// Whether there are more users than are listed.
    pub more: bool,
}

impl Presence {
    fn of<'a>(users: impl Iterator<Item = &'a User>, limit: usize, unnamed: usize) -> Self {
        let all: BTreeMap<_, _> = users.map(|user| (user.id(), user)).collect();
        let online = all.len() + unnamed;
        Self {
            online,
            more: online > limit.min(all.len()),
            users: all.into_values().take(limit).cloned().collect(),
        }
    }
}

/// What is the same for all rooms.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// How many users are known by name in one room.
    users: usize,
    heartbeat: Duration,
    /// Whether there are other hubs.
    bus: bool,
}

impl Rules {
    /// How long what is told and asked lasts.
    fn lasts(&self) -> Duration {
        self.heartbeat * HEARTBEATS
    }
}

/// Starts the hub's one task for presence, unless it runs or no room is anybody's concern.
pub(crate) fn begin(engine: &Arc<Engine>) {
    if engine.presence.begin() {
        engine.spawn(run(engine.clone()));
    }
}

async fn run(engine: Arc<Engine>) {
    tokio::select! {
        biased;
        () = engine.draining.cancelled() => {}
        () = attend(&engine) => {}
    }
}

/// Does what is due in each room.
async fn attend(engine: &Engine) {
    loop {
        engine.presence.is_due().await;
        while let Some((id, tick)) = engine.presence.tick(Instant::now()) {
            if let Some(link) = &engine.bus {
                tick.tells.iter().for_each(|tell| link.tell(&id, tell));
                if let Some(at_once) = tick.ask {
                    link.ask(&id, engine.presence.lasts(), at_once);
                }
                if tick.unwatched {
                    link.interest_changed(&id);
                }
            }
            if tick.show != Show::Nobody
                && let Some(log) = engine.room_in_use(&id)
            {
                log.show_presence(tick.show);
            }
            // Thousands of rooms may be due at once.
            tokio::task::yield_now().await;
        }
    }
}

/// Who is in the room, as far as is known here. Where that isn't known yet, other hubs are asked first.
pub(crate) async fn of(engine: &Arc<Engine>, id: &RoomId) -> Presence {
    if let Some(link) = &engine.bus {
        // In use, so that nobody comes or goes unseen at the same time.
        let lease = engine.lease(id);
        if lease.log().hold_presence() {
            link.interest_changed(id);
        }
        drop(lease);
        engine.begin();
    }
    loop {
        match engine.presence.look(id, Instant::now()) {
            Ok(presence) => return presence,
            Err(Some(ready)) => tokio::time::sleep_until(ready).await,
            Err(None) => break,
        }
    }
    // No other hub is listened to.
    let mut users = Vec::new();
    if let Some(log) = engine.room_in_use(id) {
        log.for_each_member(|session| users.push(session.user.clone()));
    }
    Presence::of(users.iter(), engine.limits.presence_users, 0)
}
