//! Three chat servers on one MongoDB behind HAProxy: to try things out on, or to be held to what they promise while parts of it
//! fail.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::mongod;
use crate::packaged::{HAPROXY, NATS_SERVER, NGINX};
use crate::report::{Outcome, run, run_tests};
use crate::workspace::{Workspace, cargo};

/// Runs it with these arguments on the server as it is released; by itself, a cluster to try things out on. Comes back only
/// if it can't be started: Ctrl-C is for the cluster, which has to tidy up.
pub(crate) fn cluster(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    let arguments = match arguments {
        ["up" | "test", ..] => arguments.to_vec(),
        _ => [&["up"], arguments].concat(),
    };
    let error = built(workspace, &["--release"], "release", &arguments)?.exec();
    Err(format!("the cluster can't be started: {error}"))
}

/// A minute of faults with this bus, on the server with its debug assertions.
pub(crate) fn short(workspace: &Workspace, bus: &str) -> Outcome {
    run_tests(&mut built(
        workspace,
        &[],
        "debug",
        &["test", "--bus", bus, "--minutes", "1"],
    )?)
}

/// The configurations that are documented, checked by the programs that they are for.
pub(crate) fn configurations(workspace: &Workspace) -> Outcome {
    let folder = build(workspace, &[], "debug")?;
    run_tests(
        Command::new(folder.join("chat-cluster"))
            .arg("check")
            .arg("--haproxy")
            .arg(HAPROXY.find(workspace)?)
            .arg("--nginx")
            .arg(NGINX.find(workspace)?)
            .arg("--nats-server")
            .arg(NATS_SERVER.find(workspace)?)
            .arg("--folder")
            .arg(workspace.target.join("cluster")),
    )
}

/// The program with all that it needs.
fn built(workspace: &Workspace, options: &[&str], profile: &str, arguments: &[&str]) -> Result<Command, String> {
    let folder = build(workspace, options, profile)?;
    let parts: [(&str, OsString); 5] = [
        ("--server", folder.join("chat-server").into()),
        ("--mongod", mongod::mongod(workspace)?.into()),
        ("--haproxy", HAPROXY.find(workspace)?.into()),
        ("--nats-server", NATS_SERVER.find(workspace)?.into()),
        ("--folder", workspace.target.join("cluster").into()),
    ];
    let mut command = Command::new(folder.join("chat-cluster"));
    command.args(arguments).current_dir(&workspace.root);
    for (name, value) in parts {
        command.arg(name).arg(value);
    }
    Ok(command)
}

/// The server and the program, both at once, so that what they have in common is built once. Gives the folder that they are in.
fn build(workspace: &Workspace, options: &[&str], profile: &str) -> Result<PathBuf, String> {
    run(cargo()
        .args([
            "build",
            "--locked",
            "--package",
            "chat-server",
            "--package",
            "chat-cluster",
        ])
        .args(options)
        .current_dir(&workspace.root))?;
    Ok(workspace.target.join(profile))
}
