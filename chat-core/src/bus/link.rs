//! A hub's end of its bus: what it tells the others, and in which rooms it is interested.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::{Bus, Inbox, Notice};
use crate::bugs::bug;
use crate::engine::Engine;
use crate::log::Frame;
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

    /// Tells that the user is to be sent away everywhere.
    pub(crate) fn kick(&self, user: &UserId) {
        if !bug!(KickUntold) {
            self.publish(&Notice::kick(self.node, user));
        }
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

/// Tells the bus which rooms have members here. One after the other, so that what is told last is what is true.
async fn watch(engine: &Engine, link: &Link) {
    let mut watched = HashSet::new();
    loop {
        link.wake.notified().await;
        let mut changed = std::mem::take(&mut *link.changed.lock());
        changed.sort_unstable();
        changed.dedup();
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for room in changed {
            if engine.room_in_use(&room).is_some_and(|log| log.member_count() > 0) {
                if watched.insert(room.clone()) {
                    come.push(room);
                } else if let Some(log) = engine.room_in_use(&room) {
                    // For a moment nobody was there, and what came then was passed over.
                    log.compare_soon();
                }
            } else if watched.remove(&room) {
                gone.push(room);
            }
        }
        if !gone.is_empty() {
            link.bus.unwatch(&gone);
        }
        if !come.is_empty() {
            link.bus.watch(&come).await;
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
