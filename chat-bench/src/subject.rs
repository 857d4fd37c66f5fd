//! The servers that are measured, and the programs that measure them, each a process of its own on its core.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::load::{Figures, Load};
use crate::process::{Cores, Server, on_cores};

/// Those of other engines, where their packages are installed: how each is started, in the folder `peers`.
const PEERS: &[(&str, &[&str])] = &[
    ("ws", &["node", "ws.mjs"]),
    ("bun", &["node_modules/bun/bin/bun.exe", "bun.mjs"]),
];

/// This program, on these cores.
pub(crate) fn own(cores: &[usize]) -> Result<Command, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    Ok(on_cores(
        cores,
        program.to_str().ok_or("the program's path is no UTF-8")?,
    ))
}

/// Starts one that this program is itself, with what it needs.
pub(crate) fn start(name: &str, with: &[&str], cores: &[usize]) -> Result<Server, Box<dyn Error>> {
    let mut command = own(cores)?;
    command.args(["serve", name]).args(with);
    Ok(Server::start(command)?)
}

/// Starts one of this program's or of the peers'.
pub(crate) fn start_any(name: &str, peers: Option<&Path>, cores: Cores) -> Result<Server, Box<dyn Error>> {
    let peer = PEERS.iter().find(|(peer, _)| *peer == name);
    let (Some((_, words)), Some(folder)) = (peer, peers) else {
        return start(name, &[], &[cores.server]);
    };
    let mut command = on_cores(&[cores.server], words[0]);
    command.args(&words[1..]).current_dir(folder);
    Ok(Server::start(command)?)
}

/// The servers to compare with: this program's, and the peers if they are installed.
pub(crate) fn all(peers: Option<&Path>) -> Vec<&'static str> {
    let others = PEERS.iter().filter(|_| peers.is_some()).map(|(name, _)| *name);
    ["floor", "roomcast", "axum"].into_iter().chain(others).collect()
}

/// Puts traffic on a server.
pub(crate) fn load(load: &Load, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    ask("load", load, &[cores.load])
}

/// Runs this program for one thing on these cores, and reads what it found.
pub(crate) fn ask<F: DeserializeOwned>(
    task: &str,
    what: &impl Serialize,
    cores: &[usize],
) -> Result<F, Box<dyn Error>> {
    let mut command = own(cores)?;
    command
        .args([task, &serde_json::to_string(what)?])
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the program that was to {task} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
