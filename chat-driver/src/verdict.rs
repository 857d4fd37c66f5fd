//! What was wrong.

use std::collections::BTreeMap;
use std::fmt::Display;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many things that are wrong with one assertion are shown.
const SHOWN: usize = 5;

/// What was found to be wrong with each assertion of a run.
#[derive(Debug)]
pub struct Verdict<C> {
    start: Instant,
    wrong: Mutex<BTreeMap<C, Wrong>>,
}

/// The first few things that were wrong, and how many there were.
#[derive(Debug, Default)]
struct Wrong {
    count: u64,
    first: Vec<String>,
}

impl<C: Copy + Ord + Display> Verdict<C> {
    /// Nothing is wrong so far. Times are told from here on.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            wrong: Mutex::default(),
        }
    }

    /// Something isn't as it has to be. The first few are told at once.
    pub fn wrong(&self, check: C, what: impl Display) {
        let mut wrong = self.wrong.lock();
        let wrong = wrong.entry(check).or_default();
        wrong.count += 1;
        if wrong.first.len() < SHOWN {
            let at = self.start.elapsed().as_secs_f32();
            eprintln!("at {at:.1} s: {what}");
            wrong.first.push(what.to_string());
        }
    }

    /// Says of all assertions whether they hold. True if they do; if not, it says how to run it again.
    pub fn print(&self, all: &[C], again: impl Display) -> bool {
        println!("\n== assertions");
        let wrong = self.wrong.lock();
        for check in all {
            let Some(wrong) = wrong.get(check) else {
                println!("pass  {check}");
                continue;
            };
            println!("FAIL  {check}: {} times", wrong.count);
            for what in &wrong.first {
                println!("      {what}");
            }
        }
        if !wrong.is_empty() {
            println!("run it again with {again}");
        }
        wrong.is_empty()
    }
}
