//! Measuring the scenarios, one after the other.

use std::error::Error;

use super::{SCENARIOS, Scenario};
use crate::load::{Figures, Load};
use crate::parts::Options;
use crate::process::{Cores, raise_open_files};
use crate::report::{Report, Table};
use crate::subject::{ask, is_there, start};

pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words, 2)?;
    let scenarios = options.wanted(SCENARIOS, Scenario::to_string)?;
    let cores = Cores::find()?;
    raise_open_files();
    let (mut report, mut failed) = (Report::default(), 0);
    for scenario in scenarios {
        let mut table = Table::new(scenario.to_string(), scenario.reference());
        // Servers take turns, so that what disturbs the machine disturbs all of them.
        for _ in 0..options.rounds {
            for name in scenario.servers().filter(|name| is_there(name, options.peers)) {
                let figures = measure(name, scenario, &options, cores)
                    .inspect_err(|error| eprintln!("{name} in {scenario}: {error}"))
                    .ok();
                failed += usize::from(figures.is_none());
                table.add(name, figures);
            }
        }
        println!("{table}");
        report.tables.push(table);
        // What there is so far.
        options.keep("deliveries", &report)?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} measurements failed, as told above").into()),
    }
}

fn measure(name: &str, scenario: &Scenario, options: &Options<'_>, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, &[], &[cores.server], options.peers)?;
    let load = Load {
        port: server.port,
        pid: server.pid(),
        dialect: scenario.dialect(name),
        rooms: scenario.rooms,
        rooms_each: scenario.rooms_each,
        members: scenario.members,
        stopped_percent: scenario.stopped_percent,
        content: scenario.content,
        drive: scenario.drive,
        warm_up_ms: 500,
        measured_ms: scenario.measured_ms(),
    };
    ask("load", &load, &[cores.load])
}
