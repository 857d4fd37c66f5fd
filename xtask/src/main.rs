//! What is done to this workspace: `cargo xtask test` runs every test, `cargo xtask ci` every check and then every test.
//! `cargo xtask mongod` fetches what the tests of one crate need.

mod checks;
mod mongod;
mod report;
mod tests;
mod tools;
mod workspace;

use std::process::ExitCode;

use report::Report;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test    all tests: Rust, the page in a browser, Python
cargo xtask ci      format, lints, docs, each crate by itself, manifests, packages, licences; then all tests
cargo xtask mongod  fetches a MongoDB server if there is none, so that `cargo test -p roomcast-mongo` has one";

enum Task {
    Test,
    Ci,
    Mongod,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let task = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => Task::Test,
        ["ci"] => Task::Ci,
        ["mongod"] => Task::Mongod,
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
    if let Task::Ci = task {
        checks::all(&workspace, &mut report);
    }
    tests::all(&workspace, &mut report);
    report.finish()
}
