//! The bus between the hubs: what they tell, or what the store writes, comes to each of them late, twice, mangled or not at
//! all. A hub's way to it may be cut, and so may all of them.

mod end;
mod faults;
mod parcel;
mod tells;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_core::{Entry, RoomId};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use end::end;
pub(crate) use faults::{RECOVERY, start};
pub(crate) use parcel::Parcel;
pub(crate) use tells::Tells;

use crate::oracle::{Event, HubId};
use crate::rng::Rng;
use crate::world::World;

/// How well the bus is, in thousandths of what it carries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    lost: u64,
    repeated: u64,
    delayed: u64,
    mangled: u64,
    /// How long it takes to watch a room, at most. Milliseconds.
    watch_ms: u64,
}

const GOOD: Weather = Weather {
    lost: 0,
    repeated: 0,
    delayed: 0,
    mangled: 0,
    watch_ms: 20,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusFault {
    Lost,
    Repeated,
    Delayed,
    Mangled,
    Cut,
    Healed,
}

/// What is between the hubs.
pub(crate) struct Wire {
    rng: Rng,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    /// One for each life of a hub that has an end.
    boxes: BTreeMap<HubId, Mailbox>,
    /// Whether nothing gets through for anybody.
    down: bool,
    /// Some of what was ever told, to be told again.
    past: Vec<Parcel>,
    parcels: u64,
}

/// What is on its way to a hub.
struct Mailbox {
    rooms: BTreeSet<RoomId>,
    due: BTreeMap<(Instant, u64), Parcel>,
    wake: Arc<Notify>,
    /// The kicks that it was told of.
    kicks: BTreeSet<String>,
    /// How long it usually takes to get there.
    way: Duration,
    /// Whether the hub neither hears nor is heard.
    cut: bool,
}

/// So many of the old ones are kept.
const KEPT: usize = 48;

impl Wire {
    pub(crate) fn new(rng: Rng) -> Self {
        let state = State {
            weather: GOOD,
            boxes: BTreeMap::new(),
            down: false,
            past: Vec::new(),
            parcels: 0,
        };
        Self {
            rng,
            state: Mutex::new(state),
        }
    }

    fn weather(&self) -> Weather {
        self.state.lock().weather
    }

    fn is_cut(&self, hub: HubId) -> bool {
        let state = self.state.lock();
        state.down || state.boxes.get(&hub).is_none_or(|end| end.cut)
    }

    /// Whether the hub is told of this kick for the first time.
    fn is_new_kick(&self, hub: HubId, id: String) -> bool {
        let mut state = self.state.lock();
        state.boxes.get_mut(&hub).is_some_and(|end| end.kicks.insert(id))
    }

    /// The hub is dead, or has let go of the bus: nothing comes to it any more, and its interest is forgotten.
    pub(crate) fn forget(&self, hub: HubId) {
        self.state.lock().boxes.remove(&hub);
    }

    /// What the store has written, for a bus that sees it.
    pub(crate) fn saw(&self, world: &World, room: &RoomId, entries: Vec<Entry>) {
        if world.plan.bus.as_ref().is_some_and(|bus| bus.sees_store) && !entries.is_empty() {
            let room = room.clone();
            self.send(world, None, Parcel::Stored { room, entries });
        }
    }

    /// Sends to all hubs that want it: by a hub that isn't cut off, or by the store itself, which tells the hub that wrote as well.
    fn send(&self, world: &World, from: Option<HubId>, parcel: Parcel) {
        let ends: Vec<HubId> = {
            let mut state = self.state.lock();
            let State { past, boxes, .. } = &mut *state;
            match past.len() < KEPT {
                true => past.push(parcel.clone()),
                false => past[self.rng.size(0, KEPT - 1)] = parcel.clone(),
            }
            let wants = |end: &Mailbox| parcel.watched().is_none_or(|room| end.rooms.contains(room));
            let others = boxes.iter().filter(|(hub, end)| Some(**hub) != from && wants(end));
            others.map(|(hub, _)| *hub).collect()
        };
        for hub in ends {
            if from.is_some_and(|from| self.is_cut(from)) || self.is_cut(hub) {
                world.see(&Event::BusFault {
                    hub,
                    what: BusFault::Lost,
                });
            } else {
                self.send_to(world, hub, &parcel);
            }
        }
    }

    /// To one hub, as well as the weather allows.
    fn send_to(&self, world: &World, hub: HubId, parcel: &Parcel) {
        let (weather, rng) = (self.weather(), &self.rng);
        let fault = |what| world.see(&Event::BusFault { hub, what });
        if rng.chance(weather.lost) {
            return fault(BusFault::Lost);
        }
        let mut copies = 1;
        if rng.chance(weather.repeated) {
            fault(BusFault::Repeated);
            copies += rng.between(1, 2);
        }
        for _ in 0..copies {
            let late = if rng.chance(weather.delayed) {
                fault(BusFault::Delayed);
                let (low, high) = *rng.pick(&[(1, 40), (20, 400), (20, 400), (300, 5_000), (5_000, 90_000)]);
                rng.millis(low, high)
            } else {
                Duration::ZERO
            };
            if rng.chance(weather.mangled) {
                fault(BusFault::Mangled);
                self.put(hub, late, parcel.mangled(rng));
            } else {
                self.put(hub, late, parcel.clone());
            }
        }
    }

    /// It will be there after its way, and so much later.
    fn put(&self, hub: HubId, late: Duration, parcel: Parcel) {
        let mut state = self.state.lock();
        state.parcels += 1;
        let number = state.parcels;
        if let Some(end) = state.boxes.get_mut(&hub) {
            end.due.insert((Instant::now() + end.way + late, number), parcel);
            end.wake.notify_one();
        }
    }

    /// What has come, or when the next will.
    fn take(&self, hub: HubId) -> Result<Parcel, Option<Instant>> {
        let mut state = self.state.lock();
        let Some(end) = state.boxes.get_mut(&hub) else {
            return Err(None);
        };
        match end.due.first_entry() {
            Some(first) if first.key().0 <= Instant::now() => Ok(first.remove()),
            first => Err(first.map(|first| first.key().0)),
        }
    }
}
