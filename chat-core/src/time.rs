//! Wall-clock time, as it stands in messages.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, in whole milliseconds since 1970. Written as RFC 3339: `2026-11-22T09:00:00.123Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment that RFC 3339 can write: the beginning of the year 0.
    const MIN_MS: i64 = -62_167_219_200_000;
    /// The last moment that RFC 3339 can write: the end of the year 9999.
    const MAX_MS: i64 = 253_402_207_200_000 - 1;

    /// The moment that many milliseconds after the beginning of 1970. What RFC 3339 can't write is clamped.
    #[must_use]
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(Self::MIN_MS, Self::MAX_MS))
    }

    /// Milliseconds since the beginning of 1970.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment less that span, for cut-offs by age.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::from_millis(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let ms = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        Self::from_millis(ms)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        // In range by construction; the fallback only keeps this free of a panic.
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let mut text = String::with_capacity(24);
        PRINTER.print_timestamp(&time, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = crate::InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self::from_millis(time.as_millisecond()))
            .map_err(|_| crate::InvalidName(format!("{} is not a time in RFC 3339", crate::id::quoted(text))))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The clock that stamps messages: [`HubBuilder::clock`](crate::HubBuilder::clock).
///
/// It may jump in either direction: nothing but the stamps and retention by age depends on it. Time-outs and rates
/// are measured on tokio's monotonic clock.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The default [`Clock`]: the system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_with_milliseconds_and_read_back() {
        let time = Timestamp::from_millis(1_795_338_000_123);
        assert_eq!(time.to_string(), "2026-11-22T09:00:00.123Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_ends_of_time_are_written_too() {
        for ms in [i64::MIN, i64::MAX, Timestamp::MIN_MS, Timestamp::MAX_MS] {
            let time = Timestamp::from_millis(ms);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time, "{time}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(
            "soon".parse::<Timestamp>().unwrap_err().to_string(),
            "\"soon\" is not a time in RFC 3339"
        );
    }
}
