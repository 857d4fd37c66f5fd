//! The servers that are measured, and the programs that measure them, each a process of its own on its core.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::load::{Dialect, Drive, Figures, Load};
use crate::process::{Cores, Server, on_cores};

/// Bytes of content: as long as people write.
pub(crate) const CONTENT: usize = 100;

/// Servers of other engines, where their packages are installed: how each is started, in the folder of the peers.
const PEERS: &[(&str, &[&str])] = &[
    ("ws", &["node", "ws.mjs"]),
    ("socket.io", &["node", "socket.io.mjs"]),
    ("bun", &["node_modules/bun/bin/bun.exe", "bun.mjs"]),
];

/// What is put on a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) drive: Drive,
    pub(crate) warm_up_ms: u64,
    pub(crate) measured_ms: u64,
}

fn peer(name: &str) -> Option<&'static [&'static str]> {
    PEERS.iter().find(|(peer, _)| *peer == name).map(|(_, words)| *words)
}

/// Whether there is such a server here: this program's are, and the peers if they are installed.
pub(crate) fn is_there(name: &str, peers: Option<&Path>) -> bool {
    peer(name).is_none() || peers.is_some()
}

/// This program, on these cores.
pub(crate) fn own(cores: &[usize]) -> Result<Command, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    Ok(on_cores(
        cores,
        program.to_str().ok_or("the program's path is no UTF-8")?,
    ))
}

/// Starts the server of this name on these cores, with what it needs.
pub(crate) fn start(
    name: &str,
    with: &[&str],
    cores: &[usize],
    peers: Option<&Path>,
) -> Result<Server, Box<dyn Error>> {
    let command = match peer(name) {
        None => {
            let mut command = own(cores)?;
            command.args(["serve", name]).args(with);
            command
        }
        Some(words) => {
            let mut command = on_cores(cores, words[0]);
            command.args(&words[1..]);
            command.current_dir(peers.ok_or_else(|| format!("{name} isn't installed"))?);
            command
        }
    };
    Ok(Server::start(command)?)
}

/// Puts traffic on a server, of which nothing may be lost.
pub(crate) fn load(server: &Server, traffic: Traffic, cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let load = Load {
        port: server.port,
        pid: server.pid(),
        dialect: Dialect::Plain,
        rooms: traffic.rooms,
        rooms_each: 1,
        members: traffic.members,
        stopped_percent: 0,
        content: CONTENT,
        drive: traffic.drive,
        warm_up_ms: traffic.warm_up_ms,
        measured_ms: traffic.measured_ms,
    };
    let figures: Figures = ask("load", &load, &[cores.load])?;
    match (figures.lost, figures.closed) {
        (0, 0) => Ok(figures),
        (lost, closed) => Err(format!("{lost} deliveries were lost and {closed} connections closed").into()),
    }
}

/// Runs this program for one thing on these cores, and reads what it found.
pub(crate) fn ask<F: DeserializeOwned>(
    task: &str,
    what: &impl Serialize,
    cores: &[usize],
) -> Result<F, Box<dyn Error>> {
    let mut command = own(cores)?;
    command.args([task, &serde_json::to_string(what)?]);
    let output = command.stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the program that was to {task} failed: {}", said.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
