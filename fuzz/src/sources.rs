//! Ids and time that are the same in each run.

use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_core::{Clock, Epoch, IdSource, MessageId, Timestamp};
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
