//! Whether a delivery, a connection and a message cost the same however many members, connections and rooms there are.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use crate::crowd::{Crowd, Hold};
use crate::curves::{Curves, median};
use crate::grid::{Grid, digits};
use crate::load::{Drive, Figures};
use crate::options::Options;
use crate::process::{Cores, cpu_time};
use crate::subject::{Traffic, load, start};

const MEMBERS: [usize; 4] = [10, 100, 1000, 10_000];
const CONNECTIONS: [usize; 4] = [100, 1000, 5000, 15_000];

/// Other rooms than the one in which is spoken: connections, and how many rooms each of them is in.
const ROOMS: [(usize, usize); 5] = [(1, 1), (10, 10), (100, 10), (1000, 10), (1000, 100)];

/// In the room in which is spoken while there are others.
const AMONG_OTHERS: usize = 10;

/// How long a server is watched that nobody asks for anything: some of what it does then comes around once in 30 s, spread
/// over all rooms.
const WATCHED: Duration = Duration::from_secs(3);

type Part = fn(&Options<'_>, Cores, &mut Curves) -> Result<Grid, Box<dyn Error>>;
const PARTS: &[(&str, Part)] = &[("members", members), ("connections", connections), ("rooms", rooms)];

/// Measures the growth of cost.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words, 1)?;
    let cores = Cores::find()?;
    let mut curves = Curves::of("growth");
    for (_, part) in options.wanted(PARTS)? {
        println!("{}", part(&options, cores, &mut curves)?);
    }
    Ok(options.keep(&curves)?)
}

/// The floor's and roomcast's figures of each round, taken one after the other.
type Pairs = Vec<(Figures, Figures)>;

fn of(pairs: &Pairs, figure: impl Fn(&Figures) -> f64) -> (f64, f64, f64) {
    (
        median(pairs.iter().map(|(floor, _)| figure(floor))),
        median(pairs.iter().map(|(_, ours)| figure(ours))),
        median(pairs.iter().map(|(floor, ours)| figure(ours) / figure(floor))),
    )
}

fn measure(name: &str, rooms: usize, members: usize, drive: Drive, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, &[], &[cores.server])?;
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
fn per_delivery(figures: &Figures) -> f64 {
    figures.server_cpu * 1e6 / figures.deliveries as f64
}

fn per_message(figures: &Figures) -> f64 {
    figures.server_cpu * 1e6 / figures.sent as f64
}

fn busy(figures: &Figures) -> f64 {
    figures.own_cpu / figures.seconds
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
        let mut pairs = Pairs::new();
        for _ in 0..options.rounds {
            let once = |name| measure(name, 1, members, Drive::Window(1), cores);
            pairs.push((once("floor")?, once("roomcast")?));
        }
        let (floor, ours, ratio) = of(&pairs, per_delivery);
        let (_, rate, _) = of(&pairs, |figures| figures.deliveries as f64 / figures.seconds);
        let (_, p99, _) = of(&pairs, |figures| figures.latency.p99 / 1000.0);
        let mut row = vec![members.to_string()];
        row.extend([floor, ours, ratio, rate, p99].map(digits));
        grid.row(row);
        let (floor_busy, ours_busy, _) = of(&pairs, busy);
        grid.note_busy(format_args!("floor, {members} members"), floor_busy);
        grid.note_busy(format_args!("roomcast, {members} members"), ours_busy);
        curves.point("members", "floor", members as f64, floor);
        curves.point("members", "roomcast", members as f64, ours);
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
    for connections in CONNECTIONS {
        // A few files are needed for other things.
        if connections + 100 > most {
            grid.note(format!(
                "{connections} connections aren't measured: a process may open {most} files here"
            ));
            continue;
        }
        let (mut pairs, mut tens) = (Pairs::new(), Vec::new());
        for _ in 0..options.rounds {
            let once = |name, rooms| measure(name, rooms, connections / rooms, Drive::Idle, cores);
            pairs.push((once("floor", 1)?, once("roomcast", 1)?));
            tens.push(once("roomcast", connections / 10)?);
        }
        let (floor, ours, _) = of(&pairs, kilobytes);
        let tens = median(tens.iter().map(kilobytes));
        let mut row = vec![connections.to_string()];
        row.extend([floor, ours, tens].map(digits));
        grid.row(row);
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
        "other rooms",
        "connections",
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
        let (mut pairs, mut idle, mut memory) = (Pairs::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let floor = among_others("floor", connections, 0, cores)?;
            let ours = among_others("roomcast", connections, rooms_each, cores)?;
            idle.push(ours.idle);
            // Of a few rooms, what the process takes once is more than what they take.
            if connections * rooms_each >= 1000 {
                memory.push(ours.memory / (connections * rooms_each) as f64 / 1024.0);
            }
            pairs.push((floor.figures, ours.figures));
        }
        let others = connections * rooms_each;
        let (floor, ours, ratio) = of(&pairs, per_message);
        let mut row = vec![others.to_string(), connections.to_string()];
        row.extend([floor, ours, ratio, median(idle), median(memory)].map(digits));
        grid.row(row);
        let (floor_busy, ours_busy, _) = of(&pairs, busy);
        grid.note_busy(format_args!("floor, {others} rooms"), floor_busy);
        grid.note_busy(format_args!("roomcast, {others} rooms"), ours_busy);
        curves.point("rooms", "floor", others as f64, floor);
        curves.point("rooms", "roomcast", others as f64, ours);
    }
    Ok(grid)
}

struct AmongOthers {
    figures: Figures,
    /// Microseconds of CPU in each second without traffic.
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
    let server = start(name, &[], &[cores.server])?;
    let before = crate::process::resident(server.pid())?;
    let hold = Hold {
        port: server.port,
        connections,
        rooms_each,
    };
    // They stay until this is dropped.
    let _others = Crowd::hold(&hold, cores)?;
    let memory = crate::process::resident(server.pid())?.saturating_sub(before) as f64;
    let began = cpu_time(server.pid())?;
    sleep(WATCHED);
    let idle = (cpu_time(server.pid())? - began).as_secs_f64() / WATCHED.as_secs_f64() * 1e6;
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
