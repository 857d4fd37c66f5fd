//! What is done to this workspace: `cargo xtask test` runs every test, `cargo xtask ci` every check and then every test.

mod checks;
mod report;
mod tests;
mod tools;
mod workspace;

use std::process::ExitCode;

use report::Report;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test    all tests: Rust, the page in a browser, Python
cargo xtask ci      format, lints, docs, each crate by itself, manifests, packages, licences; then all tests";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ci = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => false,
        ["ci"] => true,
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
    if ci {
        checks::all(&workspace, &mut report);
    }
    tests::all(&workspace, &mut report);
    report.finish()
}
