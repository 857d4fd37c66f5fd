//! Measuring the scenarios, one after the other.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::servers::{command, dialect, own};
use super::{SCENARIOS, Scenario};
use crate::load::{Figures, Load};
use crate::process::{Cores, Server, raise_open_files};
use crate::report::{Report, Table};

struct Options {
    rounds: usize,
    only: String,
    json: Option<PathBuf>,
    peers: Option<PathBuf>,
}

impl Options {
    fn read(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 2,
            only: String::new(),
            json: None,
            peers: None,
        };
        for pair in words.chunks(2) {
            let [option, value] = pair else {
                return Err(format!("{} takes a value", pair[0]));
            };
            match *option {
                "--rounds" => {
                    let rounds = value.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or(format!("--rounds takes a number from 1 on, not {value:?}"))?;
                }
                "--only" => options.only = (*value).to_owned(),
                "--json" => options.json = Some(value.into()),
                "--peers" => options.peers = Some(value.into()),
                other => {
                    let allowed = "allowed are --rounds, --only, --json and --peers";
                    return Err(format!("there is no option {other}; {allowed}"));
                }
            }
        }
        Ok(options)
    }

    fn scenarios(&self) -> Result<Vec<&'static Scenario>, String> {
        let chosen: Vec<_> = SCENARIOS
            .iter()
            .filter(|scenario| scenario.to_string().contains(&self.only))
            .collect();
        if chosen.is_empty() {
            let names: Vec<_> = SCENARIOS.iter().map(Scenario::to_string).collect();
            return Err(format!(
                "no scenario has {:?} in its name; there are\n{}",
                self.only,
                names.join("\n")
            ));
        }
        Ok(chosen)
    }
}

pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words)?;
    let scenarios = options.scenarios()?;
    let cores = Cores::find()?;
    raise_open_files();
    let (mut report, mut failed) = (Report::default(), 0);
    write(&report, options.json.as_deref())?;
    for scenario in scenarios {
        let mut table = Table::new(scenario.to_string(), scenario.reference());
        // Servers take turns, so that what disturbs the machine disturbs all of them.
        for _ in 0..options.rounds {
            for name in scenario.servers() {
                let Some(command) = command(name, options.peers.as_deref(), cores)? else {
                    continue;
                };
                let figures = measure(name, command, scenario, cores)
                    .inspect_err(|error| eprintln!("{name} in {scenario}: {error}"))
                    .ok();
                failed += usize::from(figures.is_none());
                table.add(name, figures);
            }
        }
        println!("{table}");
        report.tables.push(table);
        write(&report, options.json.as_deref())?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} measurements failed, as told above").into()),
    }
}

/// Writes what there is so far.
fn write(report: &Report, file: Option<&Path>) -> Result<(), Box<dyn Error>> {
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(report)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn measure(name: &str, server: Command, scenario: &Scenario, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = Server::start(server)?;
    let load = Load {
        port: server.port,
        pid: server.pid(),
        dialect: dialect(name, scenario.rooms_each),
        rooms: scenario.rooms,
        rooms_each: scenario.rooms_each,
        members: scenario.members,
        stopped_percent: scenario.stopped_percent,
        content: scenario.content,
        drive: scenario.drive,
        warm_up_ms: 500,
        measured_ms: scenario.measured_ms(),
    };
    let mut command = own(cores.load)?;
    command.args(["load", &serde_json::to_string(&load)?]);
    let output = command.stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the load program failed: {}", said.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_in_words() {
        let options = Options::read(&["--only", "idle", "--rounds", "1", "--json", "f"]).expect("they are right");
        assert_eq!((options.only.as_str(), options.rounds), ("idle", 1));
        assert_eq!(options.json.as_deref(), Some(Path::new("f")));
        for wrong in [
            &["--rounds"][..],
            &["--rounds", "0"],
            &["--rounds", "few"],
            &["--fast", "yes"],
        ] {
            let error = Options::read(wrong).err().expect("they are wrong");
            assert!(error.contains(wrong[0]), "{error}");
        }
        let unknown = Options::read(&["--only", "tennis"]).and_then(|options| options.scenarios().map(drop));
        assert!(unknown.is_err_and(|error| error.contains("tennis") && error.contains("1x5000, idle")));
    }
}
