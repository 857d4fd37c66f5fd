//! Runs of one seed.

use std::cell::RefCell;
use std::fmt;
use std::panic;
use std::sync::Once;

use crate::bug::{Bug, Switched};
use crate::oracle::Violation;
use crate::tally::Tally;
use crate::world::World;

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// A hash over all events: the same for two runs that are the same to the last event.
    pub hash: u64,
    /// How much happened.
    pub tally: Tally,
    /// The last ones.
    pub last: Vec<String>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(violation) = &self.violation else {
            return write!(f, "seed {}, hash {:016x}: {}", self.seed, self.hash, self.tally);
        };
        for line in self.last.iter().rev().take(40).rev() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} after {} events: {violation}", self.seed, self.tally.events)?;
        write!(f, "once more, with all events: cargo xtask sim --seed {}", self.seed)
    }
}

/// Runs this seed, with a known bug if one is given.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Run {
    run_with(seed, bug, false)
}

/// Runs this seed, and prints each event.
#[must_use]
pub fn run_printed(seed: u64) -> Run {
    run_with(seed, None, true)
}

thread_local! {
    /// A panic of this thread: tokio would keep it in a task that nobody asks.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn notice_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|panic| panic.get_or_insert_with(|| info.to_string()).truncate(2_000));
            before(info);
        }));
    });
}

fn run_with(seed: u64, bug: Option<Bug>, print: bool) -> Run {
    notice_panics();
    PANIC.take();
    let _switched = Switched::on(bug);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| unreachable!("a runtime without I/O needs nothing: {error}"));
    let end = runtime.block_on(async { World::new(seed, print).run().await });
    drop(runtime);
    let panicked = PANIC.take().map(|what| Violation {
        promise: "no panic",
        what,
    });
    Run {
        seed,
        violation: panicked.or(end.violation),
        hash: end.hash,
        tally: end.tally,
        last: end.last,
    }
}
