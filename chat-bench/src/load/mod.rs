//! The load program: one thread on a core of its own, which holds all connections, makes the traffic and counts what comes back.
//! It looks at headers alone, so that it isn't what is measured; how busy it was is part of its result.

mod connection;
mod dialect;
mod latency;
mod run;
#[cfg(test)]
mod tests;

use std::io;

use serde::{Deserialize, Serialize};

pub(crate) use dialect::Dialect;
pub(crate) use latency::Latency;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The server's port.
    pub(crate) port: u16,
    /// The server's process, whose use is measured.
    pub(crate) pid: u32,
    pub(crate) dialect: Dialect,
    pub(crate) rooms: usize,
    /// How many of them a connection is in, together with the others that are in any of them: a divisor of the rooms.
    pub(crate) rooms_each: usize,
    /// Connections in each room. The first of each sends.
    pub(crate) members: usize,
    /// So many in a hundred of the members stop reading before anything is measured.
    pub(crate) stopped_percent: usize,
    /// Length of a message's content.
    pub(crate) content: usize,
    pub(crate) drive: Drive,
    pub(crate) warm_up_ms: u64,
    pub(crate) measured_ms: u64,
}

/// How each sender makes its traffic.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Drive {
    /// None: the connections are idle.
    Idle,
    /// So many messages a second, on time whatever comes back.
    Rate(u32),
    /// So many messages are always under way.
    Window(usize),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many there were.
    pub(crate) connections: usize,
    /// Messages that were sent while it was measured.
    pub(crate) sent: u64,
    /// Messages that arrived, each at one member.
    pub(crate) deliveries: u64,
    /// Messages that should have arrived for those sent from the beginning to the end, and didn't.
    pub(crate) lost: u64,
    /// Connections that the server closed, of those that read.
    pub(crate) closed: u64,
    /// Connections that never read, which are in none of the other figures but those of memory.
    pub(crate) stopped: usize,
    /// Of those, the ones that the server closed.
    pub(crate) stopped_closed: u64,
    pub(crate) seconds: f64,
    /// CPU time of the server, in seconds.
    pub(crate) server_cpu: f64,
    /// CPU time of this program, in seconds.
    pub(crate) own_cpu: f64,
    /// How long this program waited for a core that others used, in seconds.
    pub(crate) own_waiting: f64,
    /// From when a message should have been sent to its arrival, in microseconds.
    pub(crate) latency: Latency,
    /// How long connecting took, in seconds.
    pub(crate) connecting: f64,
    /// Resident memory of the server in bytes: before the first connection, with all of them idle, and at the end.
    pub(crate) memory: [u64; 3],
}

impl Figures {
    /// Microseconds of the server's CPU time for each delivery.
    pub(crate) fn cost(&self) -> f64 {
        self.server_cpu * 1e6 / self.deliveries as f64
    }

    /// Deliveries a second.
    pub(crate) fn rate(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    /// The share of the time that the load program was at work.
    pub(crate) fn busy(&self) -> f64 {
        self.own_cpu / self.seconds
    }
}

impl Load {
    /// Sets of connections that are in the same rooms.
    pub(crate) fn groups(&self) -> usize {
        self.rooms / self.rooms_each
    }

    pub(crate) fn connections(&self) -> usize {
        self.groups() * self.members
    }

    /// How many of each group's connections stop reading.
    fn stopped(&self) -> usize {
        self.members * self.stopped_percent / 100
    }
}

/// Does it, and prints the figures.
pub(crate) fn load(text: &str) -> io::Result<()> {
    crate::process::raise_open_files();
    let load: Load = serde_json::from_str(text)?;
    let figures = run::Run::start(load)?.measure()?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
