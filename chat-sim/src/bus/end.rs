//! A hub's own end of the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use roomcast_core::{Bus, BusError, Inbox, Notice, RoomId};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{BusFault, Mailbox, Parcel};
use crate::oracle::{Event, HubId};
use crate::world::World;

pub(crate) struct End {
    world: Arc<World>,
    hub: HubId,
    /// Cancelled when the hub is killed.
    dead: CancellationToken,
    wake: Arc<Notify>,
}

/// An end for one life of a hub, if there is a bus.
pub(crate) fn end(world: &Arc<World>, hub: HubId, dead: CancellationToken) -> Option<End> {
    world.plan.bus.as_ref()?;
    let wake = Arc::new(Notify::new());
    let mailbox = Mailbox {
        rooms: BTreeSet::new(),
        due: BTreeMap::new(),
        wake: wake.clone(),
        kicks: BTreeSet::new(),
        way: world.wire.rng.millis(0, 5),
        cut: false,
    };
    world.wire.state.lock().boxes.insert(hub, mailbox);
    Some(End {
        world: world.clone(),
        hub,
        dead,
        wake,
    })
}

impl End {
    async fn next(&self) -> Parcel {
        loop {
            match self.world.wire.take(self.hub) {
                Ok(parcel) => return parcel,
                Err(None) => self.wake.notified().await,
                Err(Some(due)) => tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }

    async fn hand_over(&self, inbox: &Inbox, parcel: Parcel) {
        let hub = self.hub;
        if self.world.wire.is_cut(hub) {
            let what = BusFault::Lost;
            return self.world.see(&Event::BusFault { hub, what });
        }
        self.world.see(&Event::Noticed { hub, what: &parcel });
        match &parcel {
            Parcel::Notice { from, bytes, .. } => {
                if let Some((id, user)) = parcel.kicks().filter(|_| *from != hub)
                    && self.world.wire.is_new_kick(hub, id)
                {
                    self.world.see(&Event::SentAway { hub, user: &user });
                }
                inbox.deliver(bytes).await;
            }
            Parcel::Stored { room, entries } => {
                if inbox.wants(room) {
                    inbox.committed(room, entries.clone()).await;
                }
            }
            Parcel::Head { room, head } => inbox.head(room, *head),
            Parcel::Garbage(bytes) => inbox.deliver(bytes).await,
            Parcel::Missed => inbox.missed(),
        }
    }
}

#[async_trait]
impl Bus for End {
    async fn run(&self, inbox: Inbox) {
        let receive = async {
            loop {
                let parcel = self.next().await;
                self.hand_over(&inbox, parcel).await;
            }
        };
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            () = receive => {}
        }
    }

    async fn watch(&self, rooms: &[RoomId]) {
        let wire = &self.world.wire;
        if !wire.is_cut(self.hub) {
            sleep(wire.rng.millis(0, wire.weather().watch_ms)).await;
        }
        if let Some(end) = wire.state.lock().boxes.get_mut(&self.hub) {
            end.rooms.extend(rooms.iter().cloned());
        }
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        if let Some(end) = self.world.wire.state.lock().boxes.get_mut(&self.hub) {
            end.rooms.retain(|room| !rooms.contains(room));
        }
    }

    fn publish(&self, notice: &Notice) {
        let unneeded = || {
            let sees_store = self.world.plan.bus.as_ref().is_some_and(|bus| bus.sees_store);
            sees_store && notice.is_of_commit()
        };
        if self.dead.is_cancelled() || unneeded() {
            return;
        }
        let parcel = Parcel::of(self.hub, notice);
        let (hub, what) = (self.hub, &parcel);
        self.world.see(&Event::Announced { hub, what });
        self.world.wire.send(&self.world, Some(hub), parcel);
    }

    async fn health(&self) -> Result<(), BusError> {
        match self.world.wire.is_cut(self.hub) {
            true => Err(BusError::new("cut off")),
            false => Ok(()),
        }
    }

    async fn close(&self) {
        self.world.wire.forget(self.hub);
    }
}
