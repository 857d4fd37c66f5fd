//! The store: a true log in memory, and one handle per hub through which it is slow, fails, hangs and answers late.

mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{
    Appended, Change, Epoch, HistoryPage, HistoryRange, IdSource, LogPage, MemoryStore, Message, MessageId,
    MessageSearch, MessageStore, NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError,
    StoreErrorKind, UserId, probe,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bug::{self, Bug};
use crate::oracle::{Event, HubId};
use crate::rng::Rng;
use crate::world::World;
use write::Write;

/// How well the store is, in thousandths of its calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// The longest latency in one direction, in milliseconds.
    pub(crate) slow_ms: u64,
    /// Fails without an effect.
    pub(crate) fails: u64,
    /// A write whose outcome isn't told: it had its effect, or a part of it, or none, or will have it.
    pub(crate) unknown: u64,
    /// Never answers.
    pub(crate) hangs: u64,
    /// Another writer comes between.
    pub(crate) rivals: u64,
}

/// What all handles share.
pub(crate) struct Disk {
    log: MemoryStore,
    weather: Mutex<Weather>,
    /// What a counter beside the log says, where a bug keeps one.
    counters: Mutex<BTreeMap<RoomId, u64>>,
}

impl Disk {
    pub(crate) fn new(retention: Option<usize>) -> Self {
        Self {
            log: retention.map_or_else(MemoryStore::new, MemoryStore::with_retention),
            weather: Mutex::default(),
            counters: Mutex::default(),
        }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    /// A counter that runs ahead of what is written.
    fn count(&self, room: &RoomId, to: u64) {
        let mut counters = self.counters.lock();
        let counter = counters.entry(room.clone()).or_default();
        *counter = (*counter).max(to);
    }

    /// The head as the counter has it, if there is one.
    fn counted(&self, room: &RoomId, head: u64) -> u64 {
        head.max(self.counters.lock().get(room).copied().unwrap_or_default())
    }
}

/// One hub's way to the store.
pub(crate) struct Handle {
    world: Arc<World>,
    hub: HubId,
    /// Cancelled when the hub is killed: calls in flight are carried out or not, and never answered.
    dead: CancellationToken,
    closed: AtomicBool,
    rng: Rng,
}

/// What becomes of a write.
struct Fate {
    /// How many of the entries are stored.
    part: usize,
    /// Whether another writer comes right after them.
    rival: bool,
    /// How long it takes to be stored.
    delay: Duration,
    /// Whether it is stored although nobody waits any more.
    survives: bool,
    answer: Answer,
}

enum Answer {
    Truth,
    Unknown,
    Never,
    Fails(StoreErrorKind),
}

/// A write whose caller may stop waiting.
struct Pending {
    task: JoinHandle<()>,
    survives: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.survives {
            self.task.abort();
        }
    }
}

impl Handle {
    pub(crate) fn new(world: Arc<World>, hub: HubId, dead: CancellationToken, rng: Rng) -> Self {
        Self {
            world,
            hub,
            dead,
            closed: AtomicBool::new(false),
            rng,
        }
    }

    /// Whatever it is, a killed hub sees no end of it.
    async fn alive<T>(&self, call: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            value = call => value,
        }
    }

    fn weather(&self) -> Weather {
        *self.world.disk.weather.lock()
    }

    fn fault(&self) {
        if !self.dead.is_cancelled() {
            self.world.see(&Event::StoreFault { hub: self.hub });
        }
    }

    async fn latency(&self) {
        let slow = self.weather().slow_ms;
        match self.rng.below(slow + 1) {
            0 if self.rng.chance(500) => {}
            0 => tokio::task::yield_now().await,
            ms => {
                if Duration::from_millis(ms) > LONG {
                    self.fault();
                }
                sleep(Duration::from_millis(ms)).await;
            }
        }
    }

    fn begin(&self) -> Result<(), StoreError> {
        if self.dead.is_cancelled() {
            return Ok(());
        }
        self.world.see(&Event::StoreCall { hub: self.hub });
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Refused, "closed"));
        }
        Ok(())
    }

    async fn read<T>(&self, get: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.alive(async {
            self.begin()?;
            self.latency().await;
            let (weather, draw) = (self.weather(), self.rng.below(1000));
            if draw < weather.fails {
                self.fault();
                return Err(StoreError::new(StoreErrorKind::Unavailable, "busy"));
            }
            if draw < weather.fails + weather.hangs {
                self.fault();
                return std::future::pending().await;
            }
            let value = at_once(get)?;
            self.latency().await;
            Ok(value)
        })
        .await
    }

    fn fate(&self, entries: usize) -> Fate {
        let weather = self.weather();
        let rng = &self.rng;
        let mut fate = Fate {
            part: entries,
            rival: false,
            delay: rng.millis(0, weather.slow_ms),
            survives: rng.chance(500),
            answer: Answer::Truth,
        };
        let mut draw = rng.below(1000);
        let mut is = |share: u64| {
            let hit = draw < share;
            draw = if hit { u64::MAX } else { draw - share };
            hit
        };
        if is(weather.fails) {
            fate.answer = Answer::Fails(if rng.chance(100) {
                StoreErrorKind::Refused
            } else {
                StoreErrorKind::Unavailable
            });
        } else if is(weather.unknown) {
            fate.answer = Answer::Unknown;
            fate.survives = true;
            match rng.below(4) {
                0 => fate.part = 0,
                1 => fate.part = rng.size(0, entries),
                2 => fate.delay = rng.millis(0, 5_000),
                _ => {}
            }
        } else if is(weather.hangs) {
            fate.answer = Answer::Never;
            fate.delay = rng.millis(0, 5_000);
        } else if is(weather.rivals) {
            fate.rival = true;
            fate.part = rng.size(0, entries);
        }
        fate
    }

    async fn write(&self, room: &RoomId, expected: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.begin()?;
        let (hub, count, bytes) = (self.hub, entries.len(), probe::weigh(entries));
        self.world.see(&Event::Appending { hub, count, bytes });
        self.world.look(hub);
        let fate = self.fate(entries.len());
        if !matches!(fate.answer, Answer::Truth) || fate.delay > LONG {
            self.fault();
        }
        if bug::is(Bug::CounterFirst) {
            self.world.disk.count(room, expected + entries.len() as u64);
        }
        if let Answer::Fails(kind) = fate.answer {
            self.latency().await;
            return Err(StoreError::new(kind, "no"));
        }
        let mut entries = entries[..fate.part].to_vec();
        if bug::is(Bug::NonceInMemory) {
            entries.iter_mut().for_each(|entry| self.forget_nonce(entry));
        }
        let write = Write {
            world: self.world.clone(),
            hub: self.hub,
            room: room.clone(),
            expected,
            entries,
            rival: fate.rival.then(|| self.world.ids.message_id()),
        };
        let (tell, told) = oneshot::channel();
        let task = tokio::spawn(async move {
            sleep(fate.delay).await;
            // Who asked may be gone.
            let _ = tell.send(write.land());
        });
        let _pending = Pending {
            task,
            survives: fate.survives,
        };
        match fate.answer {
            Answer::Never => std::future::pending().await,
            Answer::Unknown => {
                self.latency().await;
                Err(StoreError::new(StoreErrorKind::OutcomeUnknown, "who knows"))
            }
            Answer::Truth | Answer::Fails(_) => {
                let appended = told
                    .await
                    .unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::OutcomeUnknown, "lost")));
                self.latency().await;
                appended
            }
        }
    }

    /// A store that knows nonces only as long as its process lives.
    fn forget_nonce(&self, entry: &mut NewEntry) {
        if let Change::Message {
            nonce: Some((nonce, _)),
            ..
        } = &mut entry.change
            && let Ok(other) = Nonce::new(format!("{nonce}@{}", self.hub))
        {
            *nonce = other;
        }
    }
}

/// A latency that counts as a fault.
const LONG: Duration = Duration::from_millis(300);

/// The store in memory never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the store in memory never waits"),
    }
}

#[async_trait]
impl MessageStore for Handle {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        let disk = &self.world.disk;
        let head = self.read(disk.log.room(room)).await?;
        Ok(head.map(|head| RoomHead {
            head: disk.counted(room, head.head),
            ..head
        }))
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        let create = async {
            let head = self.world.disk.log.create_room(room, epoch).await?;
            let (room, epoch) = (room.as_str(), head.epoch.as_str());
            self.world.see(&Event::Created { room, epoch });
            Ok(head)
        };
        self.read(create).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.read(self.world.disk.log.rooms(after, limit)).await
    }

    async fn append(&self, room: &RoomId, expected: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        self.alive(self.write(room, expected, entries)).await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let disk = &self.world.disk;
        let mut page = self.read(disk.log.log(room, after, limit)).await?;
        page.head = disk.counted(room, page.head);
        Ok(page)
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.read(self.world.disk.log.history(room, range, limit)).await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.read(self.world.disk.log.message(room, id)).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.read(self.world.disk.log.sent(room, user, nonce)).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.read(self.world.disk.log.health()).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The log is everybody's: only this way to it is closed.
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        Some(self)
    }
}

#[async_trait]
impl MessageSearch for Handle {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let log = &self.world.disk.log;
        self.read(MessageSearch::search(log, room, query, before, limit)).await
    }
}
