//! What is measured, and against which servers.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::load::{Drive, Figures, Load};
use crate::process::{Cores, Server, on_core};
use crate::report::{Report, Table};

/// One line of traffic, put on every server in turn.
struct Scenario {
    name: &'static str,
    rooms: usize,
    members: usize,
    drive: Drive,
    /// The server that the others are told in ratio to.
    reference: &'static str,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "20 messages/s, 1x1000",
        rooms: 1,
        members: 1000,
        drive: Drive::Rate(20),
        reference: "floor",
    },
    Scenario {
        name: "saturated, 4 in flight, 1x1000",
        rooms: 1,
        members: 1000,
        drive: Drive::Window(4),
        reference: "floor-gathering",
    },
    Scenario {
        name: "saturated, 64 in flight, 1x1000",
        rooms: 1,
        members: 1000,
        drive: Drive::Window(64),
        reference: "floor-gathering",
    },
    Scenario {
        name: "saturated, 1 in flight each, 200x10",
        rooms: 200,
        members: 10,
        drive: Drive::Window(1),
        reference: "floor",
    },
    Scenario {
        name: "idle, 1x5000",
        rooms: 1,
        members: 5000,
        drive: Drive::Idle,
        reference: "floor",
    },
];

/// Those that this program is itself; the references are first in each round.
const SERVERS: &[&str] = &["floor", "floor-gathering", "roomcast", "axum"];

/// Those of other engines, where their packages are installed: how each is started, in the folder `peers`.
const PEERS: &[(&str, &[&str])] = &[
    ("ws", &["node", "ws.mjs"]),
    ("bun", &["node_modules/bun/bin/bun.exe", "bun.mjs"]),
];

/// About as long as people write: with its envelope, a message takes 200 bytes and some.
const CONTENT: usize = 64;

pub(crate) fn run(options: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut rounds, mut only, mut peers, mut json) = (3, "", None, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().copied().unwrap_or_default();
        match *option {
            "--rounds" => {
                rounds = value
                    .parse()
                    .map_err(|_| format!("--rounds takes a number, not {value:?}"))?
            }
            "--only" => only = value,
            "--peers" => peers = Some(Path::new(value)),
            "--json" => json = Some(Path::new(value)),
            other => {
                let allowed = "allowed are --rounds, --only, --json and --peers";
                return Err(format!("there is no option {other}; {allowed}").into());
            }
        }
    }
    let cores = Cores::find()?;
    let scenarios: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| scenario.name.contains(only))
        .collect();
    if rounds == 0 || scenarios.is_empty() {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(format!("nothing to measure; there are the scenarios {}", names.join("; ")).into());
    }
    let mut report = Report::default();
    for scenario in scenarios {
        let mut table = Table::new(scenario.name, scenario.reference);
        // Servers take turns, so that what disturbs the machine disturbs all of them.
        for _ in 0..rounds {
            for name in SERVERS {
                table.add(
                    name,
                    Some(
                        measure(own_server(name, cores)?, scenario, cores)
                            .map_err(|error| format!("{name}: {error}"))?,
                    ),
                );
            }
            for (name, words) in PEERS {
                if let Some(folder) = peers {
                    let mut command = on_core(cores.server, words[0]);
                    command.args(&words[1..]).current_dir(folder);
                    table.add(
                        name,
                        Some(measure(command, scenario, cores).map_err(|error| format!("{name}: {error}"))?),
                    );
                }
            }
        }
        println!("{table}");
        report.tables.push(table);
        if let Some(file) = json {
            std::fs::write(file, serde_json::to_vec_pretty(&report)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}

/// This program.
fn own(core: usize) -> Result<Command, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    Ok(on_core(core, program.to_str().ok_or("the program's path is no UTF-8")?))
}

fn own_server(name: &str, cores: Cores) -> Result<Command, Box<dyn Error>> {
    let mut command = own(cores.server)?;
    command.args(["serve", name]);
    Ok(command)
}

fn measure(command: Command, scenario: &Scenario, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = Server::start(command)?;
    let load = Load {
        port: server.port,
        pid: server.pid(),
        rooms: scenario.rooms,
        members: scenario.members,
        content: CONTENT,
        drive: scenario.drive,
        warm_up_ms: 1000,
        measured_ms: 3000,
    };
    let mut command = own(cores.load)?;
    command
        .args(["load", &serde_json::to_string(&load)?])
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the load program failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
