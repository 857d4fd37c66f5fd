//! A hub's end of its bus: what it tells the others, and in which rooms it is interested.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::kicks::Kicks;
use super::{Bus, Inbox, Notice};
use crate::bugs::bug;
use crate::engine::Engine;
use crate::log::Frame;
use crate::presence::Tell;
use crate::{Entry, Epoch, MessageId, RoomId, UserId, metrics};

/// How many rooms are compared with the store at once, after a bus was away.
const COMPARED_AT_ONCE: usize = 16;

pub(crate) struct Link {
    pub(crate) bus: Arc<dyn Bus>,
    /// By which a hub knows its own notices.
    pub(crate) node: MessageId,
    /// Rooms whose first member came or whose last one left.
    changed: Mutex<Vec<RoomId>>,
    wake: Notify,
    kicks: Mutex<Kicks>,
    /// Rooms about which notices arrive.
    watched: Mutex<HashSet<RoomId>>,
    /// Places for readings of the store that the bus is the reason of.
    pub(crate) readings: Semaphore,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(bus: Arc<dyn Bus>, node: MessageId) -> Self {
        Self {
            bus,
            node,
            changed: Mutex::default(),
            wake: Notify::new(),
            kicks: Mutex::default(),
            watched: Mutex::default(),
            readings: Semaphore::new(COMPARED_AT_ONCE),
        }
    }

    /// The room has its first member, or none any more.
    pub(crate) fn interest_changed(&self, room: &RoomId) {
        self.changed.lock().push(room.clone());
        self.wake.notify_one();
    }

    /// Tells of entries that this hub has stored.
    pub(crate) fn committed(&self, room: &RoomId, epoch: &Epoch, entries: &[(Entry, Frame)]) {
        if bug!(EntriesUntold) {
            return;
        }
        for notice in Notice::committed(self.node, room, epoch, entries) {
            self.publish(&notice);
        }
    }

    /// Tells how far a log goes that this hub has written to.
    pub(crate) fn head(&self, room: &RoomId, epoch: &Epoch, head: u64) {
        self.publish(&Notice::head(self.node, room, epoch, head));
    }

    /// Tells that the user is to be sent away everywhere; the id is another one for each kick.
    pub(crate) fn kick(&self, id: MessageId, user: &UserId) {
        if !bug!(KickUntold) {
            self.publish(&Notice::kick(self.node, id, user));
        }
    }

    /// Whether this kick is heard of for the first time.
    pub(super) fn is_new_kick(&self, id: MessageId) -> bool {
        self.kicks.lock().is_new(id) || bug!(KickRepeated)
    }

    /// Asks others who write the room for a turn. All of them: who writes needs no members.
    pub(crate) fn knock(&self, room: &RoomId) {
        self.publish(&Notice::knock(self.node, room));
    }

    /// Tells who is in a room here.
    pub(crate) fn tell(&self, room: &RoomId, tell: &Tell) {
        self.publish(&Notice::tell(self.node, room, tell));
    }

    /// Asks who is in a room elsewhere.
    pub(crate) fn ask(&self, room: &RoomId, lasts: Duration, at_once: bool) {
        self.publish(&Notice::ask(self.node, room, lasts, at_once));
    }

    /// Whether notices about the room arrive.
    pub(crate) fn listens(&self, room: &RoomId) -> bool {
        self.watched.lock().contains(room)
    }

    fn publish(&self, notice: &Notice) {
        metrics::announced();
        self.bus.publish(notice);
    }
}

/// Runs the bus until the hub begins to stop.
pub(crate) async fn run(engine: Arc<Engine>) {
    let Some(link) = &engine.bus else { return };
    let receive = async {
        link.bus.run(Inbox::new(&engine)).await;
        tracing::error!("the bus has ended: other hubs' entries are seen only when heads are compared");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = engine.draining.cancelled() => {}
        () = watch(&engine, link) => {}
        () = receive => {}
    }
}

/// Tells the bus which rooms have members here, or are asked about. One after the other, so that what is told last is what is true.
async fn watch(engine: &Engine, link: &Link) {
    loop {
        link.wake.notified().await;
        let mut changed = std::mem::take(&mut *link.changed.lock());
        changed.sort_unstable();
        changed.dedup();
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for room in changed {
            let is_listened_to = link.listens(&room);
            if has_interest(engine, &room) {
                if !is_listened_to {
                    come.push(room);
                } else if let Some(log) = engine.room_in_use(&room) {
                    // For a moment nobody was there, and what came then was passed over.
                    log.compare_soon();
                }
            } else if is_listened_to {
                gone.push(room);
            }
        }
        if !gone.is_empty() {
            {
                let mut watched = link.watched.lock();
                gone.iter().for_each(|room| drop(watched.take(room)));
            }
            link.bus.unwatch(&gone);
        }
        if !come.is_empty() {
            link.bus.watch(&come).await;
            link.watched.lock().extend(come.iter().cloned());
            come.iter().for_each(|room| engine.presence.listens(room));
            if bug!(WatchUncompared) {
                continue;
            }
            // What was stored after the members came in, and before the bus listened, nobody tells of any more.
            for log in come.iter().filter_map(|room| engine.room_in_use(room)) {
                log.compare_soon();
            }
        }
    }
}

/// Whether notices about the room are wanted.
fn has_interest(engine: &Engine, room: &RoomId) -> bool {
    engine.has_members(room) || engine.presence.is_watched(room)
}
