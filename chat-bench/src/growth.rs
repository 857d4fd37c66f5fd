//! Whether a delivery, a connection and a message cost the same however many members, connections and rooms there are.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use crate::crowd::{Crowd, Hold};
use crate::curves::Curves;
use crate::grid::Grid;
use crate::load::{Drive, Figures};
use crate::parts::{self, Options, Part};
use crate::process::{Cores, cpu_time, resident};
use crate::statistics::Rounds;
use crate::subject::{Traffic, load, start};

const MEMBERS: [usize; 4] = [10, 100, 1000, 10_000];
/// And as many more as a process may open files, up to what Linux has ports for by itself.
const CONNECTIONS: [usize; 3] = [100, 1000, 5000];
const PORTS: usize = 28_000;

/// Other rooms than the one in which is spoken: connections, and how many rooms each of them is in.
const ROOMS: [(usize, usize); 5] = [(1, 1), (10, 10), (100, 10), (1000, 10), (1000, MOST_ROOMS_EACH)];
const MOST_ROOMS_EACH: usize = 100;

/// In the room in which is spoken while there are others.
const AMONG_OTHERS: usize = 10;

/// How long the server with the most rooms is watched while nobody asks it for anything: whatever it does then comes around in 30 s.
const WATCHED: Duration = Duration::from_secs(40);

const PARTS: &[(&str, Part)] = &[("members", members), ("connections", connections), ("rooms", rooms)];

/// Measures the growth of cost.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    parts::run("growth", words, 1, PARTS)
}

fn measure(name: &str, rooms: usize, members: usize, drive: Drive, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, &[], &[cores.server], None)?;
    let (warm_up_ms, measured_ms) = match drive {
        Drive::Idle => (0, 0),
        _ => (500, 2000),
    };
    let traffic = Traffic {
        rooms,
        members,
        drive,
        warm_up_ms,
        measured_ms,
    };
    let figures = load(&server, traffic, cores);
    Ok(figures.map_err(|error| format!("{name} with {members} members in each of {rooms} rooms: {error}"))?)
}

/// Microseconds of the server's CPU time.
fn per_message(figures: &Figures) -> f64 {
    figures.server_cpu * 1e6 / figures.sent as f64
}

fn members(options: &Options<'_>, cores: Cores, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let head = [
        "members",
        "floor, us",
        "roomcast, us",
        "ratio",
        "deliveries/s",
        "p99, ms",
    ];
    let mut grid = Grid::new(
        "CPU per delivery as a room grows: saturated, one message under way in one room",
        &head,
    );
    for members in MEMBERS {
        let (mut floor, mut ours) = (Rounds::default(), Rounds::default());
        for _ in 0..options.rounds {
            let once = |name| measure(name, 1, members, Drive::Window(1), cores);
            floor.push(once("floor")?);
            ours.push(once("roomcast")?);
        }
        let costs = [floor.median(Figures::cost), ours.median(Figures::cost)];
        let figures = [
            costs[0],
            costs[1],
            ours.ratio(&floor, Figures::cost),
            ours.median(Figures::rate),
            ours.median(|figures| figures.latency.p99 / 1e3),
        ];
        grid.figures(members.to_string(), figures);
        for (name, rounds, cost) in [("floor", &floor, costs[0]), ("roomcast", &ours, costs[1])] {
            grid.note_busy(format_args!("{name}, {members} members"), rounds.median(Figures::busy));
            curves.point("members", name, members as f64, cost);
        }
    }
    Ok(grid)
}

fn connections(options: &Options<'_>, cores: Cores, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let head = ["connections", "floor, KB", "roomcast, KB", "in rooms of ten, KB"];
    let mut grid = Grid::new(
        "resident memory per idle connection as connections grow: in one room, and in rooms of ten",
        &head,
    );
    let most = rlimit::Resource::NOFILE
        .get_hard()
        .map_or(usize::MAX, |most| most as usize);
    // A few are needed for other things.
    let most = most.min(PORTS).saturating_sub(100) / 1000 * 1000;
    let counts = CONNECTIONS.into_iter().filter(|connections| *connections < most);
    for connections in counts.chain([most.max(CONNECTIONS[0])]) {
        let (mut floor, mut ours, mut tens) = (Rounds::default(), Rounds::default(), Rounds::default());
        for _ in 0..options.rounds {
            let once = |name, rooms| measure(name, rooms, connections / rooms, Drive::Idle, cores);
            floor.push(once("floor", 1)?);
            ours.push(once("roomcast", 1)?);
            tens.push(once("roomcast", connections / 10)?);
        }
        let [floor, ours, tens] = [floor, ours, tens].map(|rounds| rounds.median(kilobytes));
        grid.figures(connections.to_string(), [floor, ours, tens]);
        curves.point("connections", "roomcast", connections as f64, ours);
        curves.point("connections", "roomcast, rooms of ten", connections as f64, tens);
    }
    Ok(grid)
}

fn kilobytes(figures: &Figures) -> f64 {
    figures.memory[1].saturating_sub(figures.memory[0]) as f64 / figures.connections as f64 / 1024.0
}

/// The other rooms have an idle member each, who is in up to a hundred of them on one connection. The floor knows of no such
/// connections: there, each is in one room alone, so that it has as many sockets and fewer rooms.
fn rooms(options: &Options<'_>, cores: Cores, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let head = [
        "other rooms, on connections",
        "floor, us",
        "roomcast, us",
        "ratio",
        "roomcast idle, us/s",
        "KB a room",
    ];
    let mut grid = Grid::new(
        "CPU of a message in a room of ten as other rooms grow: saturated, one message under way",
        &head,
    );
    for (connections, rooms_each) in ROOMS {
        let (mut floor, mut ours) = (Rounds::default(), Rounds::default());
        for _ in 0..options.rounds {
            floor.push(among_others("floor", connections, 0, cores)?);
            ours.push(among_others("roomcast", connections, rooms_each, cores)?);
        }
        let others = connections * rooms_each;
        let cost = |found: &AmongOthers| per_message(&found.figures);
        let costs = [floor.median(cost), ours.median(cost)];
        // Of a few rooms, what the process takes once is more than what they take.
        let memory = if others >= 1000 {
            ours.median(|found| found.memory / others as f64 / 1024.0)
        } else {
            f64::NAN
        };
        let figures = [
            costs[0],
            costs[1],
            ours.ratio(&floor, cost),
            ours.median(|found| found.idle),
            memory,
        ];
        grid.figures(format!("{others} on {connections}"), figures);
        for (name, rounds, cost) in [("floor", &floor, costs[0]), ("roomcast", &ours, costs[1])] {
            let busy = rounds.median(|found| found.figures.busy());
            grid.note_busy(format_args!("{name}, {others} rooms"), busy);
            curves.point("rooms", name, others as f64, cost);
        }
    }
    Ok(grid)
}

struct AmongOthers {
    figures: Figures,
    /// Microseconds of CPU in each second without traffic, with the most rooms.
    idle: f64,
    /// What the others took, in bytes.
    memory: f64,
}

fn among_others(
    name: &str,
    connections: usize,
    rooms_each: usize,
    cores: Cores,
) -> Result<AmongOthers, Box<dyn Error>> {
    let server = start(name, &[], &[cores.server], None)?;
    let before = resident(server.pid())?;
    let hold = Hold {
        port: server.port,
        connections,
        rooms_each,
    };
    // They stay until this is dropped.
    let _others = Crowd::hold(&hold, cores)?;
    let memory = resident(server.pid())?.saturating_sub(before) as f64;
    let idle = if rooms_each == MOST_ROOMS_EACH {
        let began = cpu_time(server.pid())?;
        sleep(WATCHED);
        (cpu_time(server.pid())? - began).as_secs_f64() / WATCHED.as_secs_f64() * 1e6
    } else {
        f64::NAN
    };
    let traffic = Traffic {
        rooms: 1,
        members: AMONG_OTHERS,
        drive: Drive::Window(1),
        warm_up_ms: 500,
        measured_ms: 2000,
    };
    let figures = load(&server, traffic, cores);
    let figures = figures.map_err(|error| format!("{name} with {connections} other connections: {error}"))?;
    Ok(AmongOthers { figures, idle, memory })
}
