//! What is done to this workspace: `cargo xtask test` runs every test, `cargo xtask ci` every check and then every test.

mod bench;
mod checks;
mod cluster;
mod fuzz;
mod instructions;
mod models;
mod mongod;
mod packaged;
mod report;
mod sim;
mod soak;
mod tests;
mod tools;
mod workspace;

use std::process::ExitCode;

use report::Report;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test    all tests: Rust, the page in a browser, Python
cargo xtask ci      format, lints, docs, each crate by itself, manifests, packages, licences; then all tests and searches
cargo xtask mongod  fetches a MongoDB server if there is none, so that `cargo test -p roomcast-mongo` has one
cargo xtask nats    the same with a NATS server
cargo xtask sim     two minutes of the simulation with fresh seeds; --seeds N, --minutes M, or --seed N with all its events
cargo xtask soak    ten minutes of 2,000 connections, good and bad, to the example server; --minutes M, --connections N, --seed N
cargo xtask cluster three chat servers on one MongoDB behind HAProxy, until Ctrl-C; --bus nats, mongodb or none; --members 1
cargo xtask cluster test  the same under load while parts of it fail; --bus BUS, --minutes M, --seed N
cargo xtask loom    the engine's own synchronisation in every order of its threads, or the tests of that name
cargo xtask fuzz    a minute of fuzzing of each target, after a replay of its corpus; --minutes M, NAME
cargo xtask instructions   what a delivery takes in instructions, held to the record; --record makes that anew
cargo xtask bench   the engine beside other servers, as ratios; --rounds N, --only PART
cargo xtask bench growth|cores|storms|durable  what grows with what, a second core, storms of clients, durable messages; the same
cargo xtask bench charts   charts of what those have found last, into docs/charts";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (task, options) = match words[..] {
        [task @ ("test" | "ci" | "mongod" | "nats")] => (task, &words[1..]),
        [
            task @ ("sim" | "soak" | "cluster" | "loom" | "fuzz" | "bench" | "instructions"),
            ..,
        ] => (task, &words[1..]),
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
    match task {
        "mongod" => report.part("MongoDB server", || mongod::mongod(&workspace).map(drop)),
        "nats" => report.part("NATS server", || packaged::NATS_SERVER.find(&workspace).map(drop)),
        "sim" => report.part("simulation", || sim::sim(&workspace, options)),
        "soak" => report.part("soak", || soak::soak(&workspace, options)),
        "cluster" => report.part("cluster", || cluster::cluster(&workspace, options)),
        "loom" => report.part("interleavings", || models::loom(&workspace, options)),
        "fuzz" => report.part("fuzzing", || fuzz::with(&workspace, options)),
        "bench" => report.part("benchmarks", || bench::bench(&workspace, options)),
        "instructions" => report.part("instructions", || instructions::instructions(&workspace, options)),
        "test" => tests::all(&workspace, &mut report),
        _ => {
            checks::all(&workspace, &mut report);
            tests::all(&workspace, &mut report);
            report.part("interleavings", || models::loom(&workspace, &[]));
            report.part("instructions", || instructions::instructions(&workspace, &[]));
            report.part("simulation", || sim::sim(&workspace, &[]));
            report.part("fuzzing", || fuzz::fuzz(&workspace, fuzz::BRIEF, None));
            report.part("soak", || soak::short(&workspace));
            report.part("documented configurations", || cluster::configurations(&workspace));
            report.part("cluster on NATS", || cluster::short(&workspace, "nats"));
            report.part("cluster on change streams", || cluster::short(&workspace, "mongodb"));
        }
    }
    report.finish()
}
