//! Every seed that ever failed, and fresh ones.
#![allow(missing_docs)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seeds that found something, in the engine or in the simulation itself.
const FAILED: [u64; 20] = [
    2,
    6,
    22,
    72,
    79,
    80,
    89,
    99,
    123,
    321,
    778,
    872,
    1873,
    1,
    47,
    82,
    363,
    4162,
    1254,
    1795685902007648,
];

fn passes(seeds: impl IntoIterator<Item = u64, IntoIter: Send>, time: Duration) {
    let all = chat_sim::many(seeds, time);
    println!("{all}");
    assert!(all.failed.is_empty(), "{all}");
    assert!(all.runs > 0);
}

#[test]
fn seeds_that_failed_once() {
    passes(FAILED, Duration::MAX);
}

/// Others each day; the first one is printed.
#[test]
fn fresh_seeds() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let day = now.map_or(0, |now| now.as_secs() / 86_400);
    let first = day * 1_000_000;
    println!("seeds from {first}");
    passes(first..first + 400, Duration::from_secs(40));
}
