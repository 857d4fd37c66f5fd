//! How much happened.

use std::fmt;
use std::ops::AddAssign;

/// How much happened in a run, or in many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything that was looked at.
    pub events: u64,
    /// Entries that were stored.
    pub entries: u64,
    /// Connections that were opened, or refused.
    pub connections: u64,
    /// Those of them that were WebSockets.
    pub sockets: u64,
    /// What the embedding server asked of its hubs, and users that it sent away.
    pub calls: u64,
    /// Calls that the store failed, answered late, in part or not at all.
    pub store_faults: u64,
    /// Hubs that were killed.
    pub kills: u64,
    /// Hubs that were shut down.
    pub drains: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.entries += other.entries;
        self.connections += other.connections;
        self.sockets += other.sockets;
        self.calls += other.calls;
        self.store_faults += other.store_faults;
        self.kills += other.kills;
        self.drains += other.drains;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events: {} entries, {} connections ({} WebSockets), {} calls of the server's own, {} store faults, \
             {} hubs killed, {} drained",
            self.events,
            self.entries,
            self.connections,
            self.sockets,
            self.calls,
            self.store_faults,
            self.kills,
            self.drains
        )
    }
}
