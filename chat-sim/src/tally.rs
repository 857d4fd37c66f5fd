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
    /// Notices that came to a hub by the bus.
    pub notices: u64,
    /// Those that were lost on the way, each for one hub.
    pub notices_lost: u64,
    /// Those that came more than once, or again long after.
    pub notices_repeated: u64,
    /// Those that came late, and so perhaps behind others.
    pub notices_delayed: u64,
    /// Those that weren't what was sent, and what nobody sent.
    pub notices_mangled: u64,
    /// How often the bus, or one hub's way to it, was down.
    pub cuts: u64,
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
        self.notices += other.notices;
        self.notices_lost += other.notices_lost;
        self.notices_repeated += other.notices_repeated;
        self.notices_delayed += other.notices_delayed;
        self.notices_mangled += other.notices_mangled;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.drains += other.drains;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events: {} entries, {} connections ({} WebSockets), {} calls of the server's own, {} store faults, \
             {} hubs killed, {} drained, {} notices ({} lost, {} repeated, {} late, {} mangled), the bus cut {} times",
            self.events,
            self.entries,
            self.connections,
            self.sockets,
            self.calls,
            self.store_faults,
            self.kills,
            self.drains,
            self.notices,
            self.notices_lost,
            self.notices_repeated,
            self.notices_delayed,
            self.notices_mangled,
            self.cuts
        )
    }
}
