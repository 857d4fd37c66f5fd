//! How long messages took to arrive, counted from when they were due to be sent: a server that makes the sender wait can't hide
//! it.

use serde::{Deserialize, Serialize};

/// Digits of the due time at the beginning of a content.
pub(super) const STAMP: usize = 16;
const BEFORE: &[u8] = b"\"content\":\"";

/// In microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

#[derive(Debug, Default)]
pub(super) struct Samples(Vec<u32>);

/// So many are kept at most.
const KEPT: usize = 10_000_000;

impl Samples {
    /// Takes in a message that arrived `now`, in nanoseconds on the clock of the stamps.
    pub(super) fn arrived(&mut self, now: u64, message: &[u8]) {
        let at = message.windows(BEFORE.len()).position(|bytes| bytes == BEFORE);
        let stamp = at.and_then(|at| message.get(at + BEFORE.len()..)?.get(..STAMP));
        let due = stamp.and_then(|stamp| u64::from_str_radix(std::str::from_utf8(stamp).ok()?, 16).ok());
        if let Some(due) = due
            && self.0.len() < KEPT
        {
            self.0
                .push(u32::try_from(now.saturating_sub(due) / 100).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn latency(&mut self) -> Latency {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = |share: f64| {
            self.0
                .get((last as f64 * share) as usize)
                .map_or(0.0, |tenths| f64::from(*tenths) / 10.0)
        };
        Latency {
            median: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}
