//! What happens when everybody comes at once, comes back at once, or stops reading for a moment.

use std::error::Error;

use crate::crowd::{Burst, Connect, Connected, Drained, Manner, Resume, Resumed, Task};
use crate::curves::{Curves, median};
use crate::grid::{Grid, digits};
use crate::options::Options;
use crate::process::Cores;
use crate::subject::{CONTENT, all, ask, start_any};

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

type Part = fn(&Options<'_>, Cores) -> Result<Grid, Box<dyn Error>>;
const PARTS: &[(&str, Part)] = &[("connect", connect), ("resume", resume), ("burst", burst)];

/// Measures storms.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words, 3)?;
    let cores = Cores::find()?;
    for (_, part) in options.wanted(PARTS)? {
        println!("{}", part(&options, cores)?);
    }
    Ok(options.keep(&Curves::of("storms"))?)
}

/// By server, what came of each round.
type Found<F> = Vec<(&'static str, Vec<F>)>;

/// Servers take turns.
fn rounds<F: serde::de::DeserializeOwned>(
    options: &Options<'_>,
    cores: Cores,
    task: impl Fn(u16, u32) -> Task,
) -> Result<Found<F>, Box<dyn Error>> {
    let mut found: Found<F> = all(options.peers).into_iter().map(|name| (name, Vec::new())).collect();
    for _ in 0..options.rounds {
        for (name, rounds) in &mut found {
            let server = start_any(name, options.peers, cores)?;
            let came = ask("crowd", &task(server.port, server.pid()), &[cores.load]);
            rounds.push(came.map_err(|error| format!("{name}: {error}"))?);
        }
    }
    Ok(found)
}

/// The median of the ratios of figures that were taken one after the other.
fn ratio<F>(ours: &[F], reference: &[F], figure: impl Fn(&F) -> f64) -> f64 {
    let pairs = ours.iter().zip(reference);
    median(pairs.map(|(ours, reference)| figure(ours) / figure(reference)))
}

fn connect(options: &Options<'_>, cores: Cores) -> Result<Grid, Box<dyn Error>> {
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
        let of = |figure: &dyn Fn(&Connected) -> f64| median(rounds.iter().map(figure));
        let cost = |came: &Connected| came.server_cpu * 1e6 / COMING as f64;
        let mut row = vec![(*name).to_owned()];
        let figures = [
            of(&|came| COMING as f64 / came.open),
            of(&|came| COMING as f64 / came.full),
            of(&|came| came.full * 1e3),
            of(&cost),
            ratio(rounds, &found[0].1, cost),
        ];
        row.extend(figures.map(digits));
        grid.row(row);
        grid.note_busy(name, of(&|came| came.own_cpu / came.full));
    }
    Ok(grid)
}

/// The same number of clients come without a cursor, so that what is missed can be told from what coming costs.
fn resume(options: &Options<'_>, cores: Cores) -> Result<Grid, Box<dyn Error>> {
    let ways = [
        ("floor, coming", "floor", Manner::Plain),
        ("roomcast, coming plain", "roomcast", Manner::Plain),
        ("roomcast, coming", "roomcast", Manner::Fresh),
        ("roomcast, coming back", "roomcast", Manner::Missed(MISSED)),
    ];
    let mut found: Found<Resumed> = ways.iter().map(|(what, ..)| (*what, Vec::new())).collect();
    for _ in 0..options.rounds {
        for ((what, name, manner), (_, rounds)) in ways.iter().zip(&mut found) {
            let server = start_any(name, None, cores)?;
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
        let of = |figure: &dyn Fn(&Resumed) -> f64| median(rounds.iter().map(figure));
        let cost = |came: &Resumed| came.server_cpu * 1e6 / RESUMING as f64;
        let mut row = vec![(*what).to_owned()];
        let figures = [
            of(&|came| came.median * 1e3),
            of(&|came| came.all * 1e3),
            of(&cost),
            ratio(rounds, &found[0].1, cost),
            of(&|came| came.before * 1e3),
            of(&|came| came.meanwhile * 1e3),
        ];
        row.extend(figures.map(digits));
        grid.row(row);
        grid.note_busy(what, of(&|came| came.own_cpu / came.all));
    }
    Ok(grid)
}

fn burst(options: &Options<'_>, cores: Cores) -> Result<Grid, Box<dyn Error>> {
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
        let of = |bytes: &dyn Fn(&Drained) -> Option<u64>| {
            digits(median(rounds.iter().filter_map(|drained| {
                Some(bytes(drained)?.saturating_sub(drained.empty) as f64 / SLOW as f64 / 1024.0)
            })))
        };
        let lost: u64 = rounds.iter().map(|drained| drained.lost).sum();
        grid.row([
            (*name).to_owned(),
            of(&|drained| Some(drained.idle)),
            of(&|drained| drained.bursts.first().map(|(full, _)| *full)),
            of(&|drained| drained.bursts.first().map(|(_, after)| *after)),
            of(&|drained| drained.bursts.last().map(|(full, _)| *full)),
            of(&|drained| drained.bursts.last().map(|(_, after)| *after)),
            lost.to_string(),
        ]);
    }
    Ok(grid)
}
