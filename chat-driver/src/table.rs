//! Figures, and the table at the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use parking_lot::Mutex;

use crate::latency::Latencies;

/// How often things happened.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<Cow<'static, str>, u64>>);

impl Counts {
    /// It happened once more.
    pub fn add(&self, what: impl Into<Cow<'static, str>>) {
        self.add_all(what, 1);
    }

    /// It happened so often.
    pub fn add_all(&self, what: impl Into<Cow<'static, str>>, times: u64) {
        *self.0.lock().entry(what.into()).or_default() += times;
    }

    /// How often it happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.lock().get(what).copied().unwrap_or_default()
    }

    /// A line for each.
    pub fn print(&self) {
        for (what, count) in &*self.0.lock() {
            line(what, count);
        }
    }
}

/// A figure.
pub fn line(what: &str, value: impl Display) {
    println!("{what:<42} {value}");
}

/// How long something took.
pub fn latency(what: &str, latencies: &Latencies) {
    let at = |per_mille| latencies.quantile(per_mille).as_secs_f32() * 1000.0;
    line(
        what,
        format_args!(
            "{:.1} ms median, {:.1} ms p99, {:.1} ms at most, of {}",
            at(500),
            at(990),
            at(1000),
            latencies.count()
        ),
    );
}
