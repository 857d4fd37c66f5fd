//! How long things took, in a few bytes: buckets of which each is at most an eighth wider than its beginning.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u32 = 8;

#[derive(Debug, Default)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        let bucket = bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The time that so many of a thousand didn't exceed, to the bucket's upper bound.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let wanted = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros(found.map_or(0, |bucket| start(bucket + 1)))
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(u64::from(STEPS));
    let power = micros.ilog2();
    let step = (micros >> (power - STEPS.ilog2())) - u64::from(STEPS);
    ((power - STEPS.ilog2()) * STEPS) as usize + step as usize
}

/// Where a bucket begins.
fn start(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS as usize, bucket % STEPS as usize);
    (u64::from(STEPS) + step as u64) << power
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
        assert!((0..200).all(|b| bucket(start(b)) == b && bucket(start(b + 1) - 1) == b));
    }
}
