//! Runs of many seeds, on all cores.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::run::{Run, run};
use crate::tally::Tally;

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Many {
    /// How many there were.
    pub runs: u64,
    /// How much happened in all of them.
    pub tally: Tally,
    /// Those that broke a promise, those with the smallest seeds first.
    pub failed: Vec<Run>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in self.failed.iter().take(3) {
            writeln!(f, "{run}\n")?;
        }
        if !self.failed.is_empty() {
            let seeds: Vec<_> = self.failed.iter().map(|run| run.seed.to_string()).collect();
            writeln!(f, "failed: {}", seeds.join(" "))?;
        }
        let (runs, failed, took) = (self.runs, self.failed.len(), self.took.as_secs_f64());
        write!(f, "{runs} seeds, {failed} failed, in {took:.1} s\n{}", self.tally)
    }
}

/// A run that takes longer doesn't end.
const ENDLESS: Duration = Duration::from_secs(60);

/// Runs these seeds, as many as time allows.
pub fn many(seeds: impl IntoIterator<Item = u64, IntoIter: Send>, time: Duration) -> Many {
    let began = Instant::now();
    let seeds = Mutex::new(seeds.into_iter());
    let all = Mutex::new(Many::default());
    let running = Mutex::new(BTreeMap::new());
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while began.elapsed() < time {
                        let Some(seed) = seeds.lock().next() else { break };
                        running.lock().insert(seed, Instant::now());
                        let run = run(seed, None);
                        running.lock().remove(&seed);
                        let mut all = all.lock();
                        all.runs += 1;
                        all.tally += run.tally;
                        if run.violation.is_some() {
                            all.failed.push(run);
                        }
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            let endless = running
                .lock()
                .iter()
                .find(|(_, since)| since.elapsed() > ENDLESS)
                .map(|(seed, _)| *seed);
            if let Some(seed) = endless {
                // Its thread can't be stopped: the engine spins without ever waiting.
                eprintln!("seed {seed} doesn't end\nonce more: cargo xtask sim --seed {seed}");
                std::process::exit(1);
            }
        }
    });
    let mut all = all.into_inner();
    all.failed.sort_by_key(|run| run.seed);
    all.took = began.elapsed();
    all
}
