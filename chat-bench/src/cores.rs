//! What a second core gains, and what sharing the work between two costs.

use std::error::Error;

use crate::curves::Curves;
use crate::grid::Grid;
use crate::hot_path::{Scale, Scaled};
use crate::load::{Drive, Figures};
use crate::parts::{self, Options, Part};
use crate::process::Cores;
use crate::statistics::Rounds;
use crate::subject::{Traffic, ask, load, start};

/// Threads, and whether they have both cores.
const ENGINES: [(&str, usize, bool); 3] = [
    ("in the caller's thread, one core", 0, false),
    ("one worker, one core", 1, false),
    ("two workers, two cores", 2, true),
];
const PATHS: [&str; 3] = ["1x1000", "1x1000-64-at-once", "200x10"];

/// What leaves both cores some rest, so that the load program, which needs one of them, isn't in the way; and what doesn't.
const TRAFFIC: [(&str, Traffic); 3] = [
    ("1x1000, 20 messages/s", traffic(1, 1000, Drive::Rate(20))),
    ("200x10, 20 messages/s in each", traffic(200, 10, Drive::Rate(20))),
    ("1x1000, 64 in flight", traffic(1, 1000, Drive::Window(64))),
];

const fn traffic(rooms: usize, members: usize, drive: Drive) -> Traffic {
    Traffic {
        rooms,
        members,
        drive,
        warm_up_ms: 1000,
        measured_ms: 2000,
    }
}

const PARTS: &[(&str, Part)] = &[("engine", engine), ("server", server)];

/// Measures two cores against one.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    parts::run("cores", words, 3, PARTS)
}

/// The engine and its WebSockets in one process, over streams in memory: nobody else needs a core.
fn engine(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let head = ["", "deliveries/s", "to one core", "CPU us/delivery", "cores busy"];
    let mut grid = Grid::new("the engine without sockets, as many deliveries as it can do", &head);
    for path in PATHS {
        let mut found: [Rounds<Scaled>; ENGINES.len()] = Default::default();
        for _ in 0..options.rounds {
            for ((_, threads, both), rounds) in ENGINES.iter().zip(&mut found) {
                let task = Scale {
                    scenario: path.to_owned(),
                    threads: *threads,
                };
                let both = [cores.server, cores.load][..if *both { 2 } else { 1 }].to_vec();
                rounds.push(ask("scale", &task, &both)?);
            }
        }
        let rate = |scaled: &Scaled| scaled.deliveries as f64 / scaled.seconds;
        for ((name, ..), rounds) in ENGINES.iter().zip(&found) {
            let figures = [
                rounds.median(rate),
                rounds.ratio(&found[0], rate),
                rounds.median(|scaled| scaled.cpu * 1e6 / scaled.deliveries as f64),
                rounds.median(|scaled| scaled.cpu / scaled.seconds),
            ];
            grid.figures(format!("{path}, {name}"), figures);
        }
    }
    Ok(grid)
}

/// The server over sockets. With two cores the load program has to share one of them, so that deliveries a second say little; what
/// a delivery costs in CPU says what sharing costs.
fn server(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let head = [
        "CPU us/delivery",
        "one core",
        "two cores",
        "ratio",
        "deliveries/s, one",
        "two",
    ];
    let mut grid = Grid::new("the server, in one thread on one core, and in two on two cores", &head);
    for (what, traffic) in TRAFFIC {
        let (mut one, mut two) = (Rounds::default(), Rounds::default());
        for _ in 0..options.rounds {
            one.push(over_sockets("roomcast", &[], &[cores.server], traffic, cores)?);
            let both = [cores.server, cores.load];
            two.push(over_sockets("roomcast-threads", &["2"], &both, traffic, cores)?);
        }
        let figures = [
            one.median(Figures::cost),
            two.median(Figures::cost),
            two.ratio(&one, Figures::cost),
            one.median(Figures::rate),
            two.median(Figures::rate),
        ];
        grid.figures(what, figures);
        for (which, rounds) in [("one core", &one), ("two cores", &two)] {
            grid.note_busy(format_args!("{what}, {which}"), rounds.median(Figures::busy));
        }
    }
    Ok(grid)
}

fn over_sockets(
    name: &str,
    with: &[&str],
    on: &[usize],
    traffic: Traffic,
    cores: Cores,
) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, with, on, None)?;
    let figures = load(&server, traffic, cores);
    Ok(figures.map_err(|error| format!("{name} on {} cores: {error}", on.len()))?)
}
