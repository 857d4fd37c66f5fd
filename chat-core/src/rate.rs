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
}

impl TokenBucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            filled_at: now,
        }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.tokens = (self.tokens + passed * self.rate.per_second).min(f64::from(self.rate.burst));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A tiny rate makes this long: what a client may be told is bounded.
        let seconds = ((1.0 - self.tokens) / self.rate.per_second).min(86_400.0);
        Err(Duration::from_secs_f64(seconds))
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
