//! Where a bus hands over what came.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::notice::{Heard, News, are_dense};
use crate::bugs::bug;
use crate::engine::{Chain, Engine};
use crate::{Entry, MAX_SEQ, RoomId, metrics};

/// Where a [`Bus`](super::Bus) hands over what other hubs tell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Weak: a bus that keeps it doesn't keep the hub.
    engine: Weak<Engine>,
}

impl Inbox {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::downgrade(engine),
        }
    }

    /// Counts what came. `None` if the hub is gone.
    fn took(&self) -> Option<Arc<Engine>> {
        let engine = self.engine.upgrade()?;
        engine.notices.fetch_add(1, Ordering::Relaxed);
        metrics::noticed();
        Some(engine)
    }

    /// Takes the bytes of a [`Notice`](super::Notice) that arrived: any number of times, in any order, of whatever age. What
    /// is no notice is passed over. Returns when the members in memory have it; what is missing before it is read from
    /// the store by another task. Cancel safe: what wasn't taken in counts as lost.
    pub async fn deliver(&self, bytes: &[u8]) {
        let Some(engine) = self.took() else { return };
        let heard = match Heard::read(bytes) {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), bytes = bytes.len(), "what came by the bus is no notice");
                return;
            }
        };
        if engine.bus.as_ref().is_some_and(|link| link.node == heard.from) {
            return;
        }
        match heard.news {
            News::Committed {
                room,
                epoch,
                head,
                entries,
            } => {
                if let Some(log) = engine.room_in_use(&room) {
                    log.heard(Some(&epoch), head, entries).await;
                }
            }
            News::Kick { id, user } => {
                if engine.bus.as_ref().is_some_and(|link| link.is_new_kick(id)) {
                    engine.kick(&user);
                }
            }
            News::Knock { room } => {
                if let Some(log) = engine.room_in_use(&room) {
                    log.is_knocked_at(heard.from);
                }
            }
            News::Presence { room, tell } => engine.presence.heard(heard.from, &room, &tell),
            News::PresenceAsked { room, lasts, at_once } => {
                if let Some(log) = engine.room_in_use(&room) {
                    log.asked_for_presence(lasts, at_once);
                }
            }
            News::Unknown => tracing::debug!("a notice of a kind that isn't known here"),
        }
    }

    /// Whether the hub would do something with what is told of this room: for a bus that sees what the store writes, to pass
    /// over the rest. A room is of interest to its members, and for a while to whoever asks who is in it.
    #[must_use]
    pub fn wants(&self, room: &RoomId) -> bool {
        let wants = |engine: Arc<Engine>| engine.has_members(room) || engine.presence.is_watched(room);
        self.engine.upgrade().is_some_and(wants)
    }

    /// Entries that a bus saw in the store itself, in order and without holes; those that were seen before are passed
    /// over. What can't be a piece of a room's log is passed over as a whole. Cancel safe, as [`deliver`](Self::deliver) is.
    pub async fn committed(&self, room: &RoomId, entries: Vec<Entry>) {
        let Some((engine, head)) = self.took().zip(entries.last().map(Entry::seq)) else {
            return;
        };
        if head > MAX_SEQ || !are_dense(&entries, head) {
            tracing::warn!(%room, head, "what came by the bus can't be a piece of a log");
            return;
        }
        if let Some(log) = engine.room_in_use(room) {
            log.heard(None, head, entries).await;
        }
    }

    /// A room's log has this head at least; for a bus that doesn't see the entries. Doesn't wait.
    pub fn head(&self, room: &RoomId, head: u64) {
        if let Some(log) = self.took().and_then(|engine| engine.room_in_use(room)) {
            log.heard_of(head.min(MAX_SEQ));
        }
    }

    /// Notices may have been lost: the heads of all rooms with members are compared with the store's. Doesn't wait.
    pub fn missed(&self) {
        tracing::debug!("the bus may have lost notices");
        let Some(engine) = self.engine.upgrade() else { return };
        for log in engine.rooms() {
            if log.member_count() > 0 && !bug!(MissedIgnored) {
                log.compare_soon();
            }
        }
        engine.presence.missed();
    }
}
