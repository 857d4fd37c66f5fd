//! How long things took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Microseconds, to a hundredth.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(2).expect("it keeps up to five digits"))
    }
}

impl Latencies {
    /// Something took so long.
    pub fn add(&mut self, took: Duration) {
        // It grows as far as it has to; what is beyond its memory isn't counted.
        let _ = self.0.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// How often it was measured.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that so many of a thousand didn't exceed.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(per_mille as f64 / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|n| latencies.add(Duration::from_micros(n * 100)));
        for (per_mille, micros) in [(500, 50_000), (990, 99_000), (1000, 100_000)] {
            let found = latencies.quantile(per_mille).as_micros();
            assert!((micros..=micros * 9 / 8 + 1).contains(&found), "{per_mille}: {found}");
        }
    }
}
