//! The tables at the end.

use std::time::Duration;

use chat_driver::table::{latency, line};

use super::book::{Book, Check};
use super::fault::Fault;
use super::run::Trial;

/// A fault, and what came of it. Times are from its beginning on.
pub(crate) struct Struck {
    pub(crate) fault: Fault,
    /// Since the trial began.
    pub(crate) at: Duration,
    /// When all parts were there again.
    pub(crate) good: Duration,
    /// When everybody had seen what was said right after it.
    pub(crate) seen: Option<Duration>,
    /// When everybody saw at once what was said.
    pub(crate) steady: Option<Duration>,
}

/// Prints everything. True if nothing was wrong.
pub(crate) fn print(trial: &Trial, book: &Book, struck: &[Struck]) -> bool {
    println!("\n== messages and connections");
    book.counts.print();
    println!("\n== ends of connections, as the clients saw them");
    book.closes.print();

    println!(
        "\n== faults, in seconds from each one's beginning: all parts are there again; everybody has seen what was"
    );
    println!("   said right after it; everybody sees at once what is said");
    println!("{:>6} {:>6} {:>6} {:>6}", "at", "there", "seen", "steady");
    let seconds = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{:.1}", time.as_secs_f32()));
    for row in struck {
        println!(
            "{:>6.0} {:>6} {:>6} {:>6}  {}",
            row.at.as_secs_f32(),
            seconds(Some(row.good)),
            seconds(row.seen),
            seconds(row.steady),
            row.fault
        );
    }

    println!("\n== times, bus {}", trial.bus.name());
    latency("stored to other nodes, in quiet times", &book.told_quiet.lock());
    latency("sent to other nodes, in quiet times", &book.across_quiet.lock());
    latency("sent to other nodes, otherwise", &book.across_otherwise.lock());
    latency("sent to the ack, in quiet times", &book.acknowledged.lock());
    line(
        "the whole trial",
        format_args!("{:.0} s", book.start.elapsed().as_secs_f32()),
    );

    let (bus, minutes, seed) = (trial.bus.name(), trial.length.as_secs_f32() / 60.0, trial.seed);
    let again = format!("cargo xtask cluster test --bus {bus} --minutes {minutes} --seed {seed}");
    book.verdict.print(&Check::ALL, again)
}
