//! How often one caller may use the HTTP API: the rate that a connection has, in a token bucket for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_core::{ErrorCode, Rate, Refusal, UserId};

/// So many callers are remembered twice over, and no more. Who is forgotten begins anew with a full bucket, which costs
/// nothing worth guarding: a caller that makes up so many names has as many buckets anyway.
const GENERATION: usize = 8192;

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    User(UserId),
    /// Guests have a new name with each request, so all of one address are one caller.
    Guest(Option<IpAddr>),
}

pub(crate) struct Meter {
    rate: Option<Rate>,
    buckets: Mutex<Buckets>,
}

/// Two generations: who calls moves to the young one, and when that is full it becomes the old one, which is forgotten.
#[derive(Default)]
struct Buckets {
    young: HashMap<Caller, Bucket>,
    old: HashMap<Caller, Bucket>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Meter {
    /// A meter for this rate; none is no limit.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Counts a request, or refuses it and says when to come again.
    pub(crate) fn count(&self, caller: Caller, now: Instant) -> Result<(), Refusal> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let mut buckets = self.buckets.lock();
        let known = buckets.young.remove(&caller).or_else(|| buckets.old.remove(&caller));
        let mut bucket = known.unwrap_or(Bucket {
            tokens: f64::from(rate.burst),
            filled_at: now,
        });
        let taken = bucket.take(rate, now);
        if buckets.young.len() >= GENERATION {
            buckets.old = std::mem::take(&mut buckets.young);
        }
        buckets.young.insert(caller, bucket);
        taken.map_err(|wait| Refusal::new(ErrorCode::RateLimited, "too many requests").retry_after(wait))
    }
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.tokens = (self.tokens + passed * rate.per_second).min(f64::from(rate.burst));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A tiny rate makes this long: what a caller is told is bounded.
        let seconds = ((1.0 - self.tokens) / rate.per_second).min(86_400.0);
        Err(Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Caller {
        Caller::User(UserId::new(name).unwrap())
    }

    fn meter(per_second: f64, burst: u32) -> Meter {
        Meter::new(Some(Rate { per_second, burst }))
    }

    #[test]
    fn each_caller_has_the_rate_for_itself() {
        let (meter, now) = (meter(2.0, 3), Instant::now());
        let guest = Caller::Guest(Some([127, 0, 0, 1].into()));
        for caller in [user("ann"), user("ben"), guest] {
            for _ in 0..3 {
                meter.count(caller.clone(), now).unwrap();
            }
            let refusal = meter.count(caller.clone(), now).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::RateLimited);
            assert_eq!(refusal.retry_after, Some(Duration::from_millis(500)));
            let later = now + Duration::from_millis(500);
            meter.count(caller.clone(), later).unwrap();
            meter.count(caller, later).unwrap_err();
        }
        for _ in 0..1000 {
            Meter::new(None).count(user("ann"), now).unwrap();
        }
    }

    #[test]
    fn made_up_names_take_no_more_than_two_generations() {
        let (meter, now) = (meter(1.0, 1), Instant::now());
        for n in 0..5 * GENERATION {
            meter.count(user(&format!("made-up-{n}")), now).unwrap();
            if n % 1000 == 0 {
                let _ = meter.count(user("ann"), now);
            }
        }
        let buckets = meter.buckets.lock();
        assert!(buckets.young.len() <= GENERATION && buckets.old.len() <= GENERATION);
        drop(buckets);
        meter
            .count(user("ann"), now)
            .expect_err("who keeps calling isn't forgotten among them");
    }
}
