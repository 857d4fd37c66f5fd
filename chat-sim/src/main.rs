//! Runs the simulation: one seed with all its events, so many seeds, or as many as fit into some minutes.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "\
chat-sim --seed N             one seed, with all its events
chat-sim --seeds N [--from N] so many seeds, fresh ones unless told where to begin
chat-sim --minutes M          as many fresh seeds as fit";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<(&str, u64)>> = arguments
        .chunks(2)
        .map(|pair| Some((pair[0].as_str(), pair.get(1)?.parse().ok()?)))
        .collect();
    let forever = Duration::from_secs(u64::MAX / 4);
    match numbers.as_deref() {
        Some([("--seed", seed)]) => {
            let run = chat_sim::run_printed(*seed);
            println!("{run}");
            code(run.violation.is_none())
        }
        Some([("--seeds", count)]) => several(fresh(), *count, forever),
        Some([("--seeds", count), ("--from", first)]) => several(*first, *count, forever),
        Some([("--minutes", minutes)]) => several(fresh(), u64::MAX, Duration::from_secs(60 * minutes)),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Seeds that weren't run before: they begin with the time.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() * 1_000_000)
}

fn several(first: u64, count: u64, time: Duration) -> ExitCode {
    println!("seeds from {first}");
    let all = chat_sim::many(first..first.saturating_add(count), time);
    println!("{all}");
    code(all.failed.is_empty())
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
