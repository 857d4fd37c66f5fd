//! The servers that are compared: how each is started, and spoken to.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::load::Dialect;
use crate::process::{Cores, on_core};

/// Those of other engines, where their packages are installed: how each is started, in the folder `peers`.
const PEERS: &[(&str, &[&str])] = &[
    ("ws", &["node", "ws.mjs"]),
    ("socket.io", &["node", "socket.io.mjs"]),
    ("bun", &["node_modules/bun/bin/bun.exe", "bun.mjs"]),
];

/// How to start the server of this name; nothing if it is a peer and the peers aren't installed.
pub(crate) fn command(name: &str, peers: Option<&Path>, cores: Cores) -> Result<Option<Command>, Box<dyn Error>> {
    let Some((_, words)) = PEERS.iter().find(|(peer, _)| *peer == name) else {
        let mut command = own(cores.server)?;
        command.args(["serve", name]);
        return Ok(Some(command));
    };
    Ok(peers.map(|folder| {
        let mut command = on_core(cores.server, words[0]);
        command.args(&words[1..]).current_dir(folder);
        command
    }))
}

/// This program, on this core.
pub(super) fn own(core: usize) -> Result<Command, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    Ok(on_core(core, program.to_str().ok_or("the program's path is no UTF-8")?))
}

/// How a connection that is in so many rooms speaks to the server.
pub(super) fn dialect(name: &str, rooms: usize) -> Dialect {
    match name {
        "socketioxide" | "socket.io" => Dialect::SocketIo,
        "roomcast" if rooms > 1 => Dialect::V1,
        _ => Dialect::Plain,
    }
}
