//! A token bucket.

use std::time::Duration;

use tokio::time::Instant;

use crate::Rate;

/// Lets so many frames a second through in the long run, and so many at once. Starts full.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: Rate,
    tokens: f64,
    filled_at: Instant,
    /// When the last of those that got none was told to come again.
    turn: Option<Instant>,
}

/// The longest that anybody is told to wait: a tiny rate would make it long.
const DAY: Duration = Duration::from_secs(86_400);

impl TokenBucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            filled_at: now,
            turn: None,
        }
    }

    /// Whether nothing was taken lately.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= f64::from(self.rate.burst)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.tokens = (self.tokens + passed * self.rate.per_second).min(f64::from(self.rate.burst));
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.time_for(1.0 - self.tokens))
    }

    /// When one who would have to wait so long may come again: each after the one before, so that who comes again when told to
    /// finds a token.
    pub(crate) fn turn_after(&mut self, wait: Duration, now: Instant) -> Duration {
        let next = self.turn.map_or(now, |before| before + self.time_for(1.0));
        let turn = next.max(now + wait).min(now + DAY);
        self.turn = Some(turn);
        turn - now
    }

    fn time_for(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64((tokens / self.rate.per_second).min(DAY.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(
            Rate {
                per_second: 20.0,
                burst: 40,
            },
            start,
        );
        for _ in 0..40 {
            bucket.take(start).unwrap();
        }
        let wait = bucket.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(50));
        bucket.take(start + wait).unwrap();
        assert!(bucket.take(start + wait).is_err());
        // Idle for long: full again, and no fuller.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_ok()).count(), 40);
    }

    /// Against the same bucket in whole numbers: a thousandth of a token for each millisecond and each frame a second.
    #[cfg(not(roomcast_loom))]
    #[test]
    fn lets_through_what_a_bucket_of_whole_numbers_does() {
        use proptest::prelude::*;

        let asks = (1..50_u32, 1..20_u32, proptest::collection::vec(0..500_u64, 1..100));
        let mut runner =
            proptest::test_runner::TestRunner::new(crate::properties::config(500, "proptest-regressions/rate.txt"));
        let checked = runner.run(&asks, |(per_second, burst, waits)| {
            let mut now = Instant::now();
            let rate = Rate {
                per_second: per_second.into(),
                burst,
            };
            let mut bucket = TokenBucket::new(rate, now);
            let full = u64::from(burst) * 1000;
            let mut tokens = full;
            for wait in waits {
                now += Duration::from_millis(wait);
                tokens = full.min(tokens + wait * u64::from(per_second));
                let taken = bucket.take(now);
                // Floating point may be a hair off where there is exactly one.
                if let (1000, Err(wait)) = (tokens, taken) {
                    prop_assert!(wait < Duration::from_micros(1));
                    break;
                }
                prop_assert_eq!(taken.is_ok(), tokens >= 1000);
                match taken {
                    Ok(()) => tokens -= 1000,
                    Err(wait) => {
                        let exact = (1000 - tokens) as f64 / 1000.0 / f64::from(per_second);
                        prop_assert!(
                            (wait.as_secs_f64() - exact).abs() < 1e-6,
                            "{:?} and not {}",
                            wait,
                            exact
                        );
                    }
                }
            }
            Ok(())
        });
        checked.unwrap();
    }

    #[test]
    fn a_tiny_rate_is_no_overflow() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(
            Rate {
                per_second: f64::MIN_POSITIVE,
                burst: 1,
            },
            start,
        );
        bucket.take(start).unwrap();
        assert_eq!(bucket.take(start).unwrap_err(), Duration::from_secs(86_400));
    }
}
