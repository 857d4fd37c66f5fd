//! What happens when everybody comes at once, comes back at once, or stops reading for a moment.

use std::error::Error;

use crate::crowd::{Burst, Connect, Connected, Drained, Manner, Resume, Resumed, Task};
use crate::curves::Curves;
use crate::grid::{Grid, digits};
use crate::parts::{self, Options, Part};
use crate::process::Cores;
use crate::statistics::Rounds;
use crate::subject::{CONTENT, ask, is_there, start};

/// Those that a crowd can speak to.
const SERVERS: [&str; 5] = ["floor", "roomcast", "axum", "ws", "bun"];

/// Who connects at once.
const COMING: usize = 2000;
/// Who comes back at once, to so many who stayed, and how much each has missed.
const RESUMING: usize = 1000;
const STAYING: usize = 100;
const MISSED: u64 = 50;
const PER_SECOND: u32 = 20;

/// A burst: enough to fill the queue of every member, twice over.
const SLOW: usize = 1000;
const BURST_CONTENT: usize = 400;
const BURST: u64 = 600;
const BURSTS: usize = 3;

const PARTS: &[(&str, Part)] = &[("connect", connect), ("resume", resume), ("burst", burst)];

/// Measures storms.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    parts::run("storms", words, 3, PARTS)
}

/// By server, what came of each round.
type Found<F> = Vec<(&'static str, Rounds<F>)>;

/// Servers take turns.
fn rounds<F: serde::de::DeserializeOwned>(
    options: &Options<'_>,
    cores: Cores,
    task: impl Fn(u16, u32) -> Task,
) -> Result<Found<F>, Box<dyn Error>> {
    let servers = SERVERS.into_iter().filter(|name| is_there(name, options.peers));
    let mut found: Found<F> = servers.map(|name| (name, Rounds::default())).collect();
    for _ in 0..options.rounds {
        for (name, rounds) in &mut found {
            let server = start(name, &[], &[cores.server], options.peers)?;
            let came = ask("crowd", &task(server.port, server.pid()), &[cores.load]);
            rounds.push(came.map_err(|error| format!("{name}: {error}"))?);
        }
    }
    Ok(found)
}

fn connect(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let found = rounds::<Connected>(options, cores, |port, pid| {
        Task::Connect(Connect {
            port,
            pid,
            members: COMING,
            content: CONTENT,
        })
    })?;
    let head = [
        "",
        "handshakes/s",
        "joins/s",
        "full after, ms",
        "server CPU a join, us",
        "ratio to the floor",
    ];
    let title = format!("{COMING} clients come into one room, 64 at a time, until all have heard a message");
    let mut grid = Grid::new(title, &head);
    for (name, rounds) in &found {
        let cost = |came: &Connected| came.server_cpu * 1e6 / COMING as f64;
        let figures = [
            rounds.median(|came| COMING as f64 / came.open),
            rounds.median(|came| COMING as f64 / came.full),
            rounds.median(|came| came.full * 1e3),
            rounds.median(cost),
            rounds.ratio(&found[0].1, cost),
        ];
        grid.figures(*name, figures);
        grid.note_busy(name, rounds.median(|came| came.own_cpu / came.full));
    }
    Ok(grid)
}

/// The same number of clients come without a cursor, so that what is missed can be told from what coming costs.
fn resume(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let ways = [
        ("floor, coming", "floor", Manner::Plain),
        ("roomcast, coming plain", "roomcast", Manner::Plain),
        ("roomcast, coming", "roomcast", Manner::Fresh),
        ("roomcast, coming back", "roomcast", Manner::Missed(MISSED)),
    ];
    let mut found: Found<Resumed> = ways.iter().map(|(what, ..)| (*what, Rounds::default())).collect();
    for _ in 0..options.rounds {
        for ((what, name, manner), (_, rounds)) in ways.iter().zip(&mut found) {
            let server = start(name, &[], &[cores.server], None)?;
            let task = Task::Resume(Resume {
                port: server.port,
                pid: server.pid(),
                members: RESUMING,
                manner: *manner,
                staying: STAYING,
                per_second: PER_SECOND,
                content: CONTENT,
            });
            let came = ask("crowd", &task, &[cores.load]);
            rounds.push(came.map_err(|error| format!("{what}: {error}"))?);
        }
    }
    let head = [
        "",
        "half there after, ms",
        "all there after, ms",
        "server CPU each, us",
        "ratio to the floor",
        "p99 of who stayed, ms: before",
        "meanwhile",
    ];
    let title = format!(
        "{RESUMING} members come at once to {STAYING} who stay, at {PER_SECOND} messages/s; who comes back has missed {MISSED}"
    );
    let mut grid = Grid::new(title, &head);
    for (what, rounds) in &found {
        let cost = |came: &Resumed| came.server_cpu * 1e6 / RESUMING as f64;
        let figures = [
            rounds.median(|came| came.median * 1e3),
            rounds.median(|came| came.all * 1e3),
            rounds.median(cost),
            rounds.ratio(&found[0].1, cost),
            rounds.median(|came| came.before * 1e3),
            rounds.median(|came| came.meanwhile * 1e3),
        ];
        grid.figures(*what, figures);
        grid.note_busy(what, rounds.median(|came| came.own_cpu / came.all));
    }
    Ok(grid)
}

fn burst(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let found = rounds::<Drained>(options, cores, |port, pid| {
        Task::Burst(Burst {
            port,
            pid,
            members: SLOW,
            content: BURST_CONTENT,
            messages: BURST,
            times: BURSTS,
        })
    })?;
    let head = ["", "idle", "burst", "drained", "third burst", "drained", "lost"];
    let title = format!(
        "resident KB per connection: {SLOW} members stop reading while {BURST} messages of {BURST_CONTENT} bytes are said, \
         and then read them"
    );
    let mut grid = Grid::new(title, &head);
    for (name, rounds) in &found {
        let of = |bytes: fn(&Drained) -> Option<u64>| {
            rounds.median(|drained| {
                let more = bytes(drained).map(|bytes| bytes.saturating_sub(drained.empty));
                more.map_or(f64::NAN, |more| more as f64 / SLOW as f64 / 1024.0)
            })
        };
        let figures = [
            of(|drained| Some(drained.idle)),
            of(|drained| drained.bursts.first().map(|(full, _)| *full)),
            of(|drained| drained.bursts.first().map(|(_, after)| *after)),
            of(|drained| drained.bursts.last().map(|(full, _)| *full)),
            of(|drained| drained.bursts.last().map(|(_, after)| *after)),
        ];
        let lost: u64 = rounds.iter().map(|drained| drained.lost).sum();
        let cells = figures.map(digits).into_iter().chain([lost.to_string()]);
        grid.row(std::iter::once((*name).to_owned()).chain(cells));
    }
    Ok(grid)
}
