//! The benchmarks: the engine beside other servers, each in a process and on a core of its own.

use std::fs;
use std::path::PathBuf;

use crate::report::{Outcome, run};
use crate::tools;
use crate::workspace::{Workspace, cargo, files};

/// Builds and runs the benchmarks, with the peers that Node's registry has if Node is there.
pub(crate) fn bench(workspace: &Workspace, options: &[&str]) -> Outcome {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package", "chat-bench", "--", "run"]);
    command.args(options);
    match peers(workspace) {
        Ok((folder, node)) => {
            command.arg("--peers").arg(folder);
            node.put_on_path(&mut command);
        }
        Err(error) => println!("Without the peers that run on Node: {error}"),
    }
    run(command.current_dir(&workspace.root))
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
