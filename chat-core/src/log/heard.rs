//! What other hubs tell of the room. Hints: what fits on the end of the log is taken in, and the rest is read from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::state::LogState;
use super::{Origin, RoomLog};
use crate::bugs::bug;
use crate::engine::Chain;
use crate::{Entry, Epoch, MessageId, QueueLimit, metrics, sync, weight};

/// How long what is missing before an entry may still come by the bus, where two hubs' notices overtake each other, before it is
/// read from the store.
const PATIENCE: Duration = Duration::from_millis(20);

/// The pause before the store is asked again, which failed; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What other hubs have told, and isn't in the log here yet.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Entries before which some are missing.
    early: BTreeMap<u64, Entry>,
    early_bytes: usize,
    /// The highest head that was told.
    head: u64,
    /// Whether a comparison with the store is wanted.
    compare: bool,
    /// Whether a task is at work that reads what is missing.
    repairing: bool,
}

impl Heard {
    fn keep(&mut self, entry: Entry, limit: QueueLimit) {
        let bytes = weight::entry(&entry);
        let full = self.early.len() >= limit.messages || self.early_bytes + bytes > limit.bytes;
        if full && !bug!(EarlyUnbounded) {
            return; // It is read from the store.
        }
        if let Some(other) = self.early.insert(entry.seq(), entry) {
            self.early_bytes -= weight::entry(&other);
        }
        self.early_bytes += bytes;
    }

    /// How many entries it holds and what they weigh, counted anew, and what it has counted.
    #[cfg(feature = "probe")]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        let bytes = self.early.values().map(weight::entry).sum();
        (self.early.len(), bytes, self.early_bytes)
    }

    fn take_first(&mut self) -> Option<Entry> {
        let (_, entry) = self.early.pop_first()?;
        self.early_bytes -= weight::entry(&entry);
        Some(entry)
    }
}

impl LogState {
    /// Takes what another hub tells, and gives what can be entered now.
    fn hear(&mut self, head: u64, mut entries: Vec<Entry>, limit: QueueLimit) -> Vec<Entry> {
        self.heard.head = self.heard.head.max(head);
        if bug!(ToldHeadTrusted) {
            self.head = self.head.max(head);
        }
        entries.retain(|entry| entry.seq() > self.head);
        let fits = entries.first().is_some_and(|first| first.seq() == self.head + 1);
        if fits && self.heard.early.is_empty() || bug!(NoticeGapIgnored) {
            return entries;
        }
        for entry in entries {
            self.heard.keep(entry, limit);
        }
        let mut next = self.head + 1;
        let mut ready = Vec::new();
        while self.heard.early.first_key_value().is_some_and(|(seq, _)| *seq <= next) {
            if let Some(entry) = self.heard.take_first()
                && entry.seq() == next
            {
                ready.push(entry);
                next += 1;
            }
        }
        ready
    }

    /// What is still missing: a head that was told and isn't reached, or a comparison that isn't made.
    fn is_behind(&self) -> bool {
        self.heard.compare || self.heard.head > self.head
    }

    /// Whether a task has to be started that reads what is missing.
    fn starts_repair(&mut self) -> bool {
        self.is_behind() && !std::mem::replace(&mut self.heard.repairing, true)
    }

    /// Whether that task is to read; otherwise there is nothing to do, or nobody to do it for, and it ends. What was told up to
    /// here is done by that: the store is the truth, and what was told beyond it isn't there.
    fn goes_on_repairing(&mut self) -> bool {
        if !self.is_behind() || self.members.is_empty() || self.broken {
            self.heard = Heard::default();
            self.heard.repairing = bug!(RepairsOnce);
            return false;
        }
        self.heard.compare = false;
        self.heard.head = 0;
        true
    }
}

impl RoomLog {
    /// Another hub says that the log has these entries and goes up to this head. Cancel safe.
    pub(crate) async fn heard(self: &Arc<Self>, epoch: Option<&Epoch>, head: u64, entries: Vec<Entry>) {
        let Some(known) = self.epoch.get() else { return };
        if epoch.is_some_and(|epoch| epoch != known) {
            // One of the two hubs has a log that isn't the store's any more.
            return self.compare_soon();
        }
        let limit = self.engine.limits.send_queue;
        let ready = {
            let mut state = self.state.lock();
            if state.members.is_empty() {
                return;
            }
            let ready = state.hear(head, entries, limit);
            state.others += u64::from(!ready.is_empty());
            ready
        };
        if !ready.is_empty() {
            // What doesn't fit, because others have entered some meanwhile, is read.
            let _ = self.enter_in_batches(ready, Origin::Elsewhere, |_| {}).await;
        }
        self.repair_if_behind(PATIENCE);
    }

    /// The same, of the head alone.
    pub(crate) fn heard_of(self: &Arc<Self>, head: u64) {
        {
            let mut state = self.state.lock();
            state.heard.head = state.heard.head.max(head);
        }
        self.repair_if_behind(PATIENCE);
    }

    /// Another hub lost a race for the next place, and asks for a turn.
    pub(crate) fn is_knocked_at(&self, from: MessageId) {
        self.state.lock().knock(from);
    }

    /// Has the head compared with the store's.
    pub(crate) fn compare_soon(self: &Arc<Self>) {
        self.state.lock().heard.compare = true;
        self.repair_if_behind(Duration::ZERO);
    }

    /// Tells other hubs how far the log goes.
    pub(super) fn tell_of_head(&self, head: u64) {
        if let Some((link, epoch)) = self.engine.bus.as_ref().zip(self.epoch.get()) {
            link.head(&self.id, epoch, head);
        }
    }

    /// Starts the task that reads what is missing, unless it runs.
    fn repair_if_behind(self: &Arc<Self>, patience: Duration) {
        if !self.state.lock().starts_repair() {
            return;
        }
        let log = self.clone();
        self.engine.spawn(async move {
            tokio::select! {
                biased;
                () = log.engine.draining.cancelled() => {}
                () = log.repair(patience) => {}
            }
        });
    }

    async fn repair(&self, patience: Duration) {
        let mut pause = patience;
        loop {
            sync::pause(pause).await;
            if !self.state.lock().goes_on_repairing() {
                return;
            }
            let Some(link) = &self.engine.bus else { return };
            let Ok(_place) = link.readings.acquire().await else {
                return;
            };
            metrics::repaired();
            match self.refresh(Duration::ZERO).await {
                Ok(()) => {
                    if bug!(ToldMeanwhileForgotten) {
                        self.state.lock().heard.compare = false;
                    }
                    pause = PATIENCE;
                }
                Err(error) => {
                    self.state.lock().heard.compare = true;
                    tracing::debug!(room = %self.id, error = %Chain(&error), "what other hubs told of can't be read");
                    pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                }
            }
        }
    }
}

#[cfg(all(test, roomcast_loom))]
mod interleavings;
#[cfg(all(test, not(roomcast_loom)))]
mod model;
