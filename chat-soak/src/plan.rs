//! How much of everything there is.

use std::time::Duration;

/// Members of a room in which people talk.
const PER_ROOM: usize = 50;

/// How many of a room's members stay from the first minute to the last, so that the room stays in memory.
const RESIDENTS: usize = 4;

/// Entries that a server keeps in memory of each room, by default. The residents say as many before the others come, so
/// that this memory is taken when the measuring begins.
const TAIL: usize = 1024;

/// How much of everything there is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many connections there have to be at once, at some time.
    pub(crate) connections: usize,
    /// How long the load lasts once all are there.
    pub(crate) load: Duration,
    /// Over how long they come.
    pub(crate) ramp: Duration,
    /// From when on memory is compared: all kinds of connections have come, and the first ones have gone.
    pub(crate) warm_up: Duration,
    /// Rooms in which people talk.
    pub(crate) talk_rooms: usize,
    /// Messages that each resident says before the load.
    pub(crate) fill: usize,
    /// How long a member waits between two things, on the average.
    pub(crate) pause: Duration,
    pub(crate) members: usize,
    pub(crate) plain: usize,
    pub(crate) pausing: usize,
    pub(crate) trickling: usize,
    pub(crate) stalling: usize,
    pub(crate) deaf: usize,
    pub(crate) half_open: usize,
    pub(crate) rogues: usize,
    pub(crate) callers: usize,
    /// Connections that are there when the server is stopped.
    pub(crate) guests: usize,
}

/// What is expected of the server, and how long it may take.
pub(crate) mod bounds {
    use std::time::Duration;

    /// Any answer to a well-behaved member, under load.
    pub(crate) const ANSWER: Duration = Duration::from_secs(20);
    /// From the last client's end until the server's descriptors, threads and tasks are what they were.
    pub(crate) const RETURN: Duration = Duration::from_secs(10);
    /// From SIGTERM to the end: the server has 10 s for its clients and 1 s for the last HTTP answers.
    pub(crate) const STOP: Duration = Duration::from_secs(12);
    /// How much more memory the last third may take, in KiB; the documentation says what that is made of.
    pub(crate) const GROWTH_KIB: u64 = 16 << 10;
}

impl Plan {
    pub(crate) fn new(seed: u64, connections: usize, load: Duration) -> Self {
        // Some are away at any time: those that left, and those that pause between two misdeeds.
        let slots = connections * 118 / 100;
        let part = |per_mille: usize| (slots * per_mille / 1000).max(1);
        let members = part(768);
        let talk_rooms = (members / PER_ROOM).max(1);
        let ramp = (load / 6).min(Duration::from_secs(20));
        Self {
            seed,
            connections,
            load,
            ramp,
            warm_up: ramp + (load / 10).max(Duration::from_secs(10)),
            talk_rooms,
            fill: TAIL.div_ceil(RESIDENTS),
            // Three messages a second in each room.
            pause: Duration::from_millis(PER_ROOM as u64 * 1000 / 3),
            members,
            plain: part(50),
            pausing: part(15),
            trickling: part(5),
            stalling: part(10),
            deaf: part(12),
            half_open: part(60),
            rogues: part(70),
            callers: part(10),
            guests: part(100),
        }
    }

    pub(crate) fn rooms(&self) -> Vec<String> {
        let talk = (0..self.talk_rooms).map(|n| format!("talk-{n}"));
        talk.chain(["loud".to_owned(), "rogues".to_owned()]).collect()
    }

    /// The room of large messages, for readers that are to fall behind.
    pub(crate) fn loud(&self) -> usize {
        self.talk_rooms
    }

    /// The room of those that misbehave.
    pub(crate) fn rogue_room(&self) -> usize {
        self.talk_rooms + 1
    }

    /// Whether the member with this number stays all the time.
    pub(crate) fn is_resident(&self, number: usize) -> bool {
        number < RESIDENTS * self.talk_rooms
    }

    /// How many files each of the two programs needs: connections, those that end while others begin, and all else.
    pub(crate) fn files(&self) -> u64 {
        (self.connections as u64 * 3 / 2 + 256) * 4 / 3
    }
}
