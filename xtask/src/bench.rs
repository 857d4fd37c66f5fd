//! The benchmarks: the engine beside other servers, each in a process and on a core of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mongod::mongod;
use crate::report::{Outcome, run};
use crate::tools;
use crate::workspace::{Workspace, cargo, files};

/// Where figures are kept for charts, and where those go.
const FIGURES: &str = "bench";
const CHARTS: &str = "docs/charts";

/// Builds and runs the benchmarks, with the peers that Node's registry has if Node is there: deliveries, or the part that is
/// named first.
pub(crate) fn bench(workspace: &Workspace, options: &[&str]) -> Outcome {
    let figures = workspace.target.join(FIGURES);
    match *options {
        ["charts"] => {
            let mut command = built(&[]);
            command.arg("charts").arg(figures).arg(workspace.root.join(CHARTS));
            run(command.current_dir(&workspace.root))
        }
        ["charts", ..] => Err("charts takes no options: it draws what the parts have kept".to_owned()),
        [part @ ("growth" | "cores" | "storms" | "durable"), ref options @ ..] => {
            measure(workspace, part, options, &figures)
        }
        _ => measure(workspace, "run", options, &figures),
    }
}

fn measure(workspace: &Workspace, part: &str, options: &[&str], figures: &Path) -> Outcome {
    let is_durable = part == "durable";
    let mut command = built(if is_durable { &["--features", "stores"] } else { &[] });
    command.arg(part).args(options).arg("--figures").arg(figures);
    if is_durable {
        command.env("MONGOD", mongod(workspace)?);
        // Databases are on the disk that the workspace is on: what is only in memory is not durable.
        command.env("TMPDIR", figures);
        fs::create_dir_all(figures).map_err(|error| format!("{}: {error}", figures.display()))?;
    }
    if matches!(part, "run" | "storms") {
        add_peers(workspace, &mut command);
    }
    run(command.current_dir(&workspace.root))
}

/// The program, built with these options.
fn built(options: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package", "chat-bench"]);
    command.args(options).arg("--");
    command
}

fn add_peers(workspace: &Workspace, command: &mut Command) {
    match peers(workspace) {
        Ok((folder, node)) => {
            command.arg("--peers").arg(folder);
            node.put_on_path(command);
        }
        Err(error) => println!("Without the peers that run on Node: {error}"),
    }
}

/// A folder below `target` with the peers and their packages, and what runs them.
fn peers(workspace: &Workspace) -> Result<(PathBuf, tools::Node), String> {
    let node = tools::node(workspace)?;
    let folder = workspace.target.join("peers");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in files(&workspace.root.join("chat-bench/peers")) {
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, folder.join(name)).map_err(|error| error.to_string())?;
    }
    let install = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    run(node.npm().args(install).current_dir(&folder))?;
    Ok((folder, node))
}
