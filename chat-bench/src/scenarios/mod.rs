//! What is measured: one line of traffic for each table, put on each of its servers in turn.

mod run;

use std::fmt;

use crate::load::{Dialect, Drive};
use crate::subject::CONTENT;

pub(crate) use run::run;

/// One line of traffic.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    rooms: usize,
    members: usize,
    drive: Drive,
    /// How many of the rooms each connection is in.
    rooms_each: usize,
    /// Bytes of content.
    content: usize,
    /// So many in a hundred never read.
    stopped_percent: usize,
    servers: &'static [&'static str],
}

/// Every server, in the order in which each round takes them. The floor that gathers is the reference of some scenarios, and is
/// left out of the others.
const ALL: &[&str] = &[
    "floor",
    GATHERING,
    "roomcast",
    "axum",
    "socketioxide",
    "ws",
    "socket.io",
    "bun",
];

/// One of each kind, for what takes long and tells little more with the others.
const SOME: &[&str] = &["floor", GATHERING, "roomcast", "axum", "ws", "bun"];

/// The larger a message, the less it matters how it is framed; ws sends each by itself like the floor.
const LARGE: &[&str] = &[GATHERING, "roomcast", "axum", "bun"];

/// Those that let one connection be in several rooms. axum's example has a task and a channel for each connection's room.
const SEVERAL_ROOMS: &[&str] = &["floor", GATHERING, "roomcast", "socketioxide", "ws", "socket.io", "bun"];

const GATHERING: &str = "floor-gathering";

const SCENARIOS: &[Scenario] = &[
    Scenario::new(1, 1000, Drive::Rate(20)),
    Scenario::new(1, 1000, Drive::Rate(100)),
    Scenario::new(1, 1000, Drive::Window(1)),
    Scenario::new(1, 1000, Drive::Window(4)),
    Scenario::new(1, 1000, Drive::Window(64)),
    Scenario::new(1, 10_000, Drive::Window(4)),
    Scenario::new(200, 10, Drive::Window(1)),
    Scenario::new(5000, 2, Drive::Window(1)),
    Scenario::new(100, 100, Drive::Window(4)).rooms_each(100),
    Scenario::new(1, 1000, Drive::Window(4)).content(1 << 10).on(LARGE),
    Scenario::new(1, 1000, Drive::Window(4)).content(16 << 10).on(LARGE),
    Scenario::new(1, 200, Drive::Rate(100))
        .content(16 << 10)
        .stopped(5)
        .on(SOME),
    Scenario::new(1, 5000, Drive::Idle),
];

impl Scenario {
    const fn new(rooms: usize, members: usize, drive: Drive) -> Self {
        Self {
            rooms,
            members,
            drive,
            rooms_each: 1,
            content: CONTENT,
            stopped_percent: 0,
            servers: ALL,
        }
    }

    const fn rooms_each(mut self, rooms: usize) -> Self {
        self.rooms_each = rooms;
        self.servers = SEVERAL_ROOMS;
        self
    }

    const fn content(mut self, bytes: usize) -> Self {
        self.content = bytes;
        self
    }

    const fn stopped(mut self, percent: usize) -> Self {
        self.stopped_percent = percent;
        self
    }

    const fn on(mut self, servers: &'static [&'static str]) -> Self {
        self.servers = servers;
        self
    }

    /// The server that the others are told in ratio to: where more than one message is under way, the floor that gathers them.
    fn reference(&self) -> &'static str {
        match self.drive {
            Drive::Window(2..) => GATHERING,
            _ => "floor",
        }
    }

    fn servers(&self) -> impl Iterator<Item = &'static str> {
        let reference = self.reference();
        let all = self.servers.iter().copied();
        all.filter(move |name| *name != GATHERING || reference == GATHERING)
    }

    /// How a connection that is in all its rooms speaks to this server.
    fn dialect(&self, server: &str) -> Dialect {
        match server {
            "socketioxide" | "socket.io" => Dialect::SocketIo,
            "roomcast" if self.rooms_each > 1 => Dialect::V1,
            _ => Dialect::Plain,
        }
    }

    /// How long it is measured. It takes seconds until those that don't read hold up a server.
    fn measured_ms(&self) -> u64 {
        match self.drive {
            _ if self.stopped_percent > 0 => 8000,
            Drive::Idle => 500,
            // Enough messages for the rare ones among them.
            Drive::Rate(_) => 4000,
            Drive::Window(_) => 2000,
        }
    }
}

/// Its name.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rooms, self.members)?;
        if self.rooms_each > 1 {
            write!(f, " on the same connections")?;
        }
        match self.drive {
            Drive::Idle => return write!(f, ", idle"),
            Drive::Rate(rate) => write!(f, ", {rate} messages/s")?,
            Drive::Window(window) if self.rooms > self.rooms_each => write!(f, ", {window} in flight in each")?,
            Drive::Window(window) => write!(f, ", {window} in flight")?,
        }
        match self.content {
            bytes if bytes % 1024 == 0 => write!(f, ", {} KB", bytes / 1024)?,
            bytes => write!(f, ", {bytes} bytes")?,
        }
        if self.stopped_percent > 0 {
            write!(f, ", {}% never read", self.stopped_percent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_references_are_measured() {
        let names: std::collections::HashSet<_> = SCENARIOS.iter().map(Scenario::to_string).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        for scenario in SCENARIOS {
            assert!(
                scenario.servers().any(|server| server == scenario.reference()),
                "{scenario}"
            );
            assert!(scenario.servers.iter().all(|server| ALL.contains(server)), "{scenario}");
            assert_eq!(scenario.rooms % scenario.rooms_each, 0, "{scenario}");
        }
    }

    #[test]
    fn names_say_what_is_measured() {
        let name = |scenario: Scenario| scenario.to_string();
        assert_eq!(
            name(Scenario::new(1, 200, Drive::Rate(100)).content(16 << 10).stopped(5)),
            "1x200, 100 messages/s, 16 KB, 5% never read"
        );
        assert_eq!(
            name(Scenario::new(100, 50, Drive::Window(4)).rooms_each(100)),
            "100x50 on the same connections, 4 in flight, 100 bytes"
        );
        assert_eq!(
            name(Scenario::new(5000, 2, Drive::Window(1))),
            "5000x2, 1 in flight in each, 100 bytes"
        );
        assert_eq!(name(Scenario::new(1, 5000, Drive::Idle)), "1x5000, idle");
    }
}
