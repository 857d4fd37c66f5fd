//! A bus between the ends of one process, made of channels, which can make mistakes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_core::{Bus, BusError, Bytes, Inbox, MemoryStore, Notice, RoomId};
use roomcast_testkit::async_trait;
use roomcast_testkit::bus::{BusHarness, Node, SharedStore};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mistake {
    None,
    NeverDelivers,
    WatchesTheFirstRoomAlone,
    NeverUnwatches,
    /// Whatever room nobody is in any more.
    UnwatchesEverything,
    /// A room that was watched and unwatched isn't watched again.
    WatchesOnce,
    /// Says that it listens a while before it does.
    ListensLate,
    /// Has little room, loses whatever comes once that was full, and says nothing of it.
    LosesInSilence,
    /// Says nothing of a cut.
    HealsInSilence,
    /// What was watched before a cut, or during it, isn't after it.
    ForgetsRoomsInACut,
    /// Carries so many bytes and not more.
    CutsNotices,
    /// Takes what is no notice for the end.
    EndsAtNonsense,
    /// Takes rooms for the same whose names differ in case alone: the one that came later isn't watched.
    FoldsRooms,
    /// During a cut, a watch waits for its end, and a notice for a while.
    WaitsInACut,
    CarriesRoomsAlone,
    DropsWhatPasses,
    TellsWhileItRuns,
    /// A task of its own goes on for ever.
    LeavesATask,
    /// A task of its own ends with the bus and not with its closing, and the bus is kept by it.
    ListensAfterClose,
    NeverHealthy,
    HangsWhenClosedTwice,
}

/// What waits for one hub.
enum Item {
    Notice(Bytes),
    Missed,
}

struct End {
    mistake: Mistake,
    rooms: Mutex<HashSet<RoomId>>,
    were_watched: Mutex<HashSet<RoomId>>,
    sender: mpsc::Sender<Item>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Item>>,
    overflowed: AtomicBool,
    runs: AtomicBool,
    closed: AtomicUsize,
    net: Arc<Net>,
}

/// What the ends have in common.
#[derive(Default)]
struct Net {
    ends: Mutex<Vec<std::sync::Weak<End>>>,
    cut: AtomicBool,
    healed: Notify,
}

impl Net {
    fn ends(&self) -> Vec<Arc<End>> {
        self.ends.lock().iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }
}

impl End {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    /// Something was told that this end may want.
    fn offer(&self, room: Option<&RoomId>, bytes: &Bytes) {
        if self.net.is_cut()
            || self.is(Mistake::NeverDelivers)
            || (room.is_none() && self.is(Mistake::CarriesRoomsAlone))
        {
            return;
        }
        if !room.is_none_or(|room| self.rooms.lock().contains(room)) {
            return;
        }
        if self.is(Mistake::LosesInSilence) && self.overflowed.load(SeqCst) {
            return;
        }
        let bytes = match self.mistake {
            Mistake::CutsNotices => bytes.slice(..bytes.len().min(32 << 10)),
            _ => bytes.clone(),
        };
        if self.sender.try_send(Item::Notice(bytes)).is_err() {
            self.overflowed.store(true, SeqCst);
        }
    }

    fn folded(&self, room: &RoomId) -> bool {
        let folded = room.as_str().to_lowercase();
        self.rooms
            .lock()
            .iter()
            .any(|other| other.as_str().to_lowercase() == folded)
    }

    fn takes(&self, room: &RoomId) -> bool {
        match self.mistake {
            Mistake::WatchesTheFirstRoomAlone => self.rooms.lock().is_empty(),
            Mistake::WatchesOnce => self.were_watched.lock().insert(room.clone()),
            Mistake::FoldsRooms => !self.folded(room),
            Mistake::ForgetsRoomsInACut => !self.net.is_cut(),
            _ => true,
        }
    }
}

/// What a hub gets: the end, with one task or none.
struct Handle(Arc<End>);

#[async_trait]
impl Bus for Handle {
    async fn run(&self, inbox: Inbox) {
        let end = &self.0;
        end.runs.store(true, SeqCst);
        let _stops = scopeguard(|| end.runs.store(false, SeqCst));
        let mut receiver = end.receiver.lock().await;
        while let Some(item) = receiver.recv().await {
            if !end.is(Mistake::LosesInSilence) && end.overflowed.swap(false, SeqCst) {
                inbox.missed();
            }
            match item {
                Item::Notice(bytes) => {
                    if end.is(Mistake::EndsAtNonsense) && !bytes.starts_with(b"{\"from\"") {
                        return;
                    }
                    inbox.deliver(&bytes).await;
                }
                Item::Missed if !end.is(Mistake::HealsInSilence) => inbox.missed(),
                Item::Missed => {}
            }
        }
    }

    async fn watch(&self, rooms: &[RoomId]) {
        let end = self.0.clone();
        while end.is(Mistake::WaitsInACut) && end.net.is_cut() {
            end.net.healed.notified().await;
        }
        if end.is(Mistake::ListensLate) {
            let rooms = rooms.to_vec();
            tokio::spawn(async move {
                sleep(Duration::from_millis(30)).await;
                end.rooms.lock().extend(rooms);
            });
            return;
        }
        for room in rooms {
            if end.takes(room) {
                end.rooms.lock().insert(room.clone());
            }
        }
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        match self.0.mistake {
            Mistake::NeverUnwatches => {}
            Mistake::UnwatchesEverything => self.0.rooms.lock().clear(),
            _ => self.0.rooms.lock().retain(|room| !rooms.contains(room)),
        }
    }

    fn publish(&self, notice: &Notice) {
        if self.0.is(Mistake::TellsWhileItRuns) && !self.0.runs.load(SeqCst) {
            return;
        }
        if self.0.is(Mistake::DropsWhatPasses) && notice.is_passing() {
            return;
        }
        if self.0.is(Mistake::WaitsInACut) && self.0.net.is_cut() {
            std::thread::sleep(Duration::from_millis(200));
        }
        for end in self.0.net.ends() {
            if !Arc::ptr_eq(&end, &self.0) {
                end.offer(notice.room(), notice.bytes());
            }
        }
    }

    async fn health(&self) -> Result<(), BusError> {
        if self.0.net.is_cut() || self.0.is(Mistake::NeverHealthy) {
            return Err(BusError::new("the wires are cut"));
        }
        Ok(())
    }

    async fn close(&self) {
        if self.0.closed.fetch_add(1, SeqCst) > 0 && self.0.is(Mistake::HangsWhenClosedTwice) {
            std::future::pending::<()>().await;
        }
    }
}

/// Does something when it is dropped.
fn scopeguard(end: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}

pub(crate) struct Wires {
    mistake: Mistake,
    store: SharedStore,
    net: Arc<Net>,
}

impl Wires {
    pub(crate) fn without_mistake() -> Self {
        Self::with(Mistake::None)
    }

    pub(crate) fn with(mistake: Mistake) -> Self {
        Self {
            mistake,
            store: SharedStore::new(MemoryStore::new()),
            net: Arc::default(),
        }
    }
}

#[async_trait]
impl BusHarness for Wires {
    async fn node(&self) -> Node {
        let capacity = if self.mistake == Mistake::LosesInSilence { 4 } else { 64 };
        let (sender, receiver) = mpsc::channel(capacity);
        let end = Arc::new(End {
            mistake: self.mistake,
            rooms: Mutex::default(),
            were_watched: Mutex::default(),
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            overflowed: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            closed: AtomicUsize::new(0),
            net: self.net.clone(),
        });
        self.net.ends.lock().push(Arc::downgrade(&end));
        match self.mistake {
            Mistake::LeavesATask => {
                tokio::spawn(std::future::pending::<()>());
            }
            Mistake::ListensAfterClose => {
                let end = end.clone();
                tokio::spawn(async move { end.net.healed.notified().await });
            }
            _ => {}
        }
        Node {
            store: Arc::new(self.store.clone()),
            bus: Arc::new(Handle(end)),
        }
    }

    async fn inject(&self, room: Option<&RoomId>, bytes: &[u8]) -> bool {
        for end in self.net.ends() {
            end.offer(room, &Bytes::copy_from_slice(bytes));
        }
        true
    }

    async fn cut(&self) -> bool {
        self.net.cut.store(true, SeqCst);
        true
    }

    async fn heal(&self) {
        self.net.cut.store(false, SeqCst);
        self.net.healed.notify_waiters();
        for end in self.net.ends() {
            if end.is(Mistake::ForgetsRoomsInACut) {
                end.rooms.lock().clear();
            }
            end.sender
                .send(Item::Missed)
                .await
                .unwrap_or_else(|_| panic!("the end is there"));
        }
    }
}
