//! What is done to this workspace: `cargo xtask test` runs every test, `cargo xtask ci` every check and then every test.
//! `cargo xtask mongod` fetches what the tests of one crate need, `cargo xtask sim` runs the simulation.

mod checks;
mod models;
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
cargo xtask loom    the engine's own synchronisation in every order of its threads, or the tests of that name
cargo xtask sim    two minutes of the simulation with fresh seeds; --seeds N, --minutes M, or --seed N with all its events";

enum Task {
    Test,
    Ci,
    Mongod,
    Sim,
    Loom,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let task = match words[..] {
        ["test"] => Task::Test,
        ["ci"] => Task::Ci,
        ["mongod"] => Task::Mongod,
        ["sim", ..] => Task::Sim,
        ["loom", ..] => Task::Loom,
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
    if let Task::Loom = task {
        report.part("interleavings", || models::loom(&workspace, &words[1..]));
        return report.finish();
    }
    if let Task::Ci = task {
        checks::all(&workspace, &mut report);
    }
    tests::all(&workspace, &mut report);
    if let Task::Ci = task {
        report.part("interleavings", || models::loom(&workspace, &[]));
        report.part("simulation", || sim::sim(&workspace, &[]));
    }
    report.finish()
}
