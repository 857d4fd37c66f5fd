//! What is done to this workspace: `cargo xtask test` runs every test, `cargo xtask ci` every check and then every test.
//! `cargo xtask mongod` fetches what the tests of one crate need, `cargo xtask sim` runs the simulation, `cargo xtask fuzz`
//! looks for input that breaks what reads it.

mod checks;
mod fuzz;
mod mongod;
mod report;
mod sim;
mod tests;
mod tools;
mod workspace;

use std::process::ExitCode;

use report::Report;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test    all tests: Rust, the page in a browser, Python
cargo xtask ci      format, lints, docs, each crate by itself, manifests, packages, licences; then all tests and the simulation
cargo xtask mongod  fetches a MongoDB server if there is none, so that `cargo test -p roomcast-mongo` has one
cargo xtask sim    two minutes of the simulation with fresh seeds; --seeds N, --minutes M, or --seed N with all its events
cargo xtask fuzz   a minute of fuzzing of each target, after a replay of its corpus; [--minutes M] [NAME]";

enum Task {
    Test,
    Ci,
    Mongod,
    Sim,
    Fuzz,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let task = match words[..] {
        ["test"] => Task::Test,
        ["ci"] => Task::Ci,
        ["mongod"] => Task::Mongod,
        ["sim", ..] => Task::Sim,
        ["fuzz", ..] => Task::Fuzz,
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let workspace = match Workspace::read() {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("the workspace can't be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    if let Task::Mongod = task {
        report.part("MongoDB server", || mongod::mongod(&workspace).map(drop));
        return report.finish();
    }
    if let Task::Sim = task {
        report.part("simulation", || sim::sim(&workspace, &words[1..]));
        return report.finish();
    }
    if let Task::Fuzz = task {
        report.part("fuzzing", || fuzz::with(&workspace, &words[1..]));
        return report.finish();
    }
    if let Task::Ci = task {
        checks::all(&workspace, &mut report);
    }
    tests::all(&workspace, &mut report);
    if let Task::Ci = task {
        report.part("simulation", || sim::sim(&workspace, &[]));
        report.part("fuzzing", || fuzz::fuzz(&workspace, fuzz::BRIEF, None));
    }
    report.finish()
}
