//! How long messages took to arrive, counted from when they were due to be sent: a server that makes the sender wait can't hide
//! it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::stamp::due;

/// In microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// Tenths of a microsecond, to a thousandth.
#[derive(Debug)]
pub(super) struct Samples(Histogram<u64>);

impl Samples {
    pub(super) fn new() -> Self {
        Self(Histogram::new(3).expect("it keeps up to five digits"))
    }

    /// Takes in a message that arrived `now`, in nanoseconds on the clock of the stamps.
    pub(super) fn arrived(&mut self, now: u64, message: &[u8]) {
        if let Some(due) = due(message) {
            // It grows as far as it has to; what is beyond its memory isn't counted.
            let _ = self.0.record(now.saturating_sub(due) / 100);
        }
    }

    pub(super) fn forget(&mut self) {
        self.0.reset();
    }

    pub(super) fn latency(&self) -> Latency {
        let at = |share| self.0.value_at_quantile(share) as f64 / 10.0;
        Latency {
            median: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_stamp() {
        let mut samples = Samples::new();
        for n in 1..=1000_u64 {
            let message = format!(r#"{{"seq":1,"content":"{}"}}"#, crate::stamp::content(5_000_000, 20));
            samples.arrived(5_000_000 + n * 1_000_000, message.as_bytes());
        }
        samples.arrived(1, br#"{"content":"no stamp"}"#);
        let Latency { median, p99, p999 } = samples.latency();
        for (found, exact) in [(median, 500_000.0), (p99, 990_000.0), (p999, 999_000.0)] {
            assert!((found / exact - 1.0).abs() < 0.002, "{found}, not {exact}");
        }
        samples.forget();
        assert_eq!(samples.latency().median, 0.0);
    }
}
