//! The servers that are measured, and the programs that measure them, each a process of its own on its core.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::load::{Dialect, Drive, Figures, Load};
use crate::process::{Cores, Server, on_cores};
use crate::scenarios::servers::command;

/// As long as in the other benchmarks.
pub(crate) const CONTENT: usize = 100;

/// What is put on a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) drive: Drive,
    pub(crate) warm_up_ms: u64,
    pub(crate) measured_ms: u64,
}

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
    let command = command(name, peers, cores)?;
    Ok(Server::start(
        command.ok_or_else(|| format!("{name} isn't installed"))?,
    )?)
}

/// The servers that a crowd can speak to: this program's, and the peers if they are installed.
pub(crate) fn all(peers: Option<&Path>) -> Vec<&'static str> {
    let others = ["ws", "bun"].into_iter().filter(|_| peers.is_some());
    ["floor", "roomcast", "axum"].into_iter().chain(others).collect()
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
    command
        .args([task, &serde_json::to_string(what)?])
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the program that was to {task} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
