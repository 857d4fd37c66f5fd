//! Ids and time that are the same in each run, and limits that a run meets.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_core::{Clock, Epoch, IdSource, Limits, MessageId, QueueLimit, Timestamp};
use tokio::time::Instant;

/// Counts.
#[derive(Default)]
pub struct Ids(AtomicU64);

impl Ids {
    /// Counts on from here.
    pub fn after(last: u64) -> Self {
        Self(AtomicU64::new(last))
    }
}

impl IdSource for Ids {
    fn message_id(&self) -> MessageId {
        MessageId::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn epoch(&self) -> Epoch {
        Epoch::new(format!("e{}", self.0.fetch_add(1, Ordering::Relaxed))).expect("letters and digits")
    }
}

/// Simulated time since it was made.
pub struct SimulatedClock(Instant);

impl SimulatedClock {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.elapsed().as_millis() as i64)
    }
}

/// Runs it on this thread, in time that passes as soon as all wait for it.
pub fn in_simulated_time(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(run);
}

/// Narrow, so that each of them is met; so many messages more than one may wait for a connection.
pub fn narrow(queued: u8) -> Limits {
    let queue = |messages, bytes| QueueLimit { messages, bytes };
    let mut limits = Limits::default();
    limits.send_queue = queue(1 + usize::from(queued), 2048);
    limits.history_page = 3;
    limits.history_page_max = 8;
    limits.tail = queue(4, 4096);
    limits.commit_batch = queue(4, 4096);
    limits
}
