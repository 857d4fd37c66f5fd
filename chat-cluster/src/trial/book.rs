//! What all parts of a trial write into, and what they share.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use chat_driver::frame::{Entry, Frame, Kind};
use chat_driver::latency::Latencies;
use chat_driver::table::Counts;
use chat_driver::verdict::Verdict;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Answers,
    Sight,
    Log,
    Refused,
    Recovery,
    Delivery,
    Stop,
}

impl Check {
    pub(crate) const ALL: [Self; 7] = [
        Self::Answers,
        Self::Sight,
        Self::Log,
        Self::Refused,
        Self::Recovery,
        Self::Delivery,
        Self::Stop,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Answers => {
                "clients are told no more than to come back or to send again, and not even that while nothing fails"
            }
            Self::Sight => "each client saw each message once, in order, over all its connections",
            Self::Log => "what was acknowledged is in the log once, where it was said to be, on every node",
            Self::Refused => "what was refused is nowhere",
            Self::Recovery => "after each fault, everybody soon sees what is said",
            Self::Delivery => "in quiet times, what is stored by one node is soon seen on the others",
            Self::Stop => "a node that is told to stop does so cleanly, and none panics",
        })
    }
}

/// Where the trial stands.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Run,
    /// Nothing new is said; what is under way is finished.
    Settle,
    /// The rooms end at these numbers. Who has seen them leaves.
    Finish(Arc<Vec<u64>>),
}

/// What became of something that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    Acked { seq: u64, message: u128 },
    Refused,
}

/// Something that was said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) room: usize,
    pub(crate) user: Arc<str>,
    /// When and on which node it was first sent.
    first: Option<(Instant, usize)>,
    /// Sent in a quiet time.
    quiet: bool,
    /// When it was first known to be stored: by its ack, or because somebody saw it.
    known: Option<Instant>,
    tries: u32,
    pub(crate) fate: Fate,
}

/// The message that was seen at a place in a log: its id, and the number that its content begins with.
pub(crate) type Seen = Option<(u128, usize)>;

/// Where a client got to see something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub(crate) node: usize,
    pub(crate) room: usize,
    /// Not read from the log after a return.
    pub(crate) live: bool,
}

pub(crate) struct Book {
    pub(crate) balancer: SocketAddr,
    pub(crate) rooms: Vec<String>,
    pub(crate) start: Instant,
    pub(crate) phase: watch::Sender<Phase>,
    /// Nothing has failed for a while, and nothing will in the next moment.
    pub(crate) quiet: AtomicBool,
    /// By the number that its content begins with.
    pub(crate) said: Mutex<Vec<Said>>,
    /// What anybody saw, by room and seq.
    seen: Vec<Mutex<Vec<Seen>>>,
    /// The room of each client, and how far it has seen it.
    clients: Mutex<Vec<(usize, Arc<AtomicU64>)>>,
    /// To other nodes, in quiet times: from being stored, and from being sent.
    pub(crate) told_quiet: Mutex<Latencies>,
    pub(crate) across_quiet: Mutex<Latencies>,
    pub(crate) across_otherwise: Mutex<Latencies>,
    pub(crate) acknowledged: Mutex<Latencies>,
    pub(crate) counts: Counts,
    pub(crate) closes: Counts,
    pub(crate) verdict: Verdict<Check>,
}

impl Book {
    pub(crate) fn new(balancer: SocketAddr, rooms: Vec<String>) -> Self {
        let start = Instant::now();
        Self {
            balancer,
            start,
            phase: watch::Sender::new(Phase::Run),
            quiet: AtomicBool::new(false),
            said: Mutex::default(),
            seen: rooms.iter().map(|_| Mutex::default()).collect(),
            clients: Mutex::default(),
            told_quiet: Mutex::default(),
            across_quiet: Mutex::default(),
            across_otherwise: Mutex::default(),
            acknowledged: Mutex::default(),
            counts: Counts::default(),
            closes: Counts::default(),
            verdict: Verdict::new(start),
            rooms,
        }
    }

    pub(crate) fn wrong(&self, check: Check, what: impl fmt::Display) {
        self.verdict.wrong(check, what);
    }

    /// A client of this room; it writes down how far it has seen it.
    pub(crate) fn client(&self, room: usize) -> Arc<AtomicU64> {
        let seen = Arc::new(AtomicU64::new(0));
        self.clients.lock().push((room, Arc::clone(&seen)));
        seen
    }

    /// How many clients of the room haven't seen this number yet.
    pub(crate) fn behind(&self, room: usize, seq: u64) -> usize {
        let clients = self.clients.lock();
        let behind = clients
            .iter()
            .filter(|(of, seen)| *of == room && seen.load(Relaxed) < seq);
        behind.count()
    }

    /// Something is to be said: gives the number that its content has to begin with.
    pub(crate) fn say(&self, room: usize, user: &Arc<str>) -> usize {
        let mut said = self.said.lock();
        said.push(Said {
            room,
            user: Arc::clone(user),
            first: None,
            quiet: false,
            known: None,
            tries: 0,
            fate: Fate::Pending,
        });
        said.len() - 1
    }

    /// It is sent, perhaps once more; to this node, if that is known.
    pub(crate) fn sent(&self, number: usize, node: Option<usize>) {
        let said = &mut self.said.lock()[number];
        said.tries += 1;
        self.counts.add(if said.tries > 1 {
            "messages sent again"
        } else {
            "messages sent"
        });
        if let (None, Some(node)) = (said.first, node) {
            said.first = Some((Instant::now(), node));
            said.quiet = self.quiet.load(Relaxed);
        }
    }

    /// It is stored, says the server.
    pub(crate) fn acked(&self, number: usize, seq: u64, message: u128, dup: bool) {
        let said = &mut self.said.lock()[number];
        self.counts.add(if dup {
            "acknowledged as a repetition"
        } else {
            "acknowledged"
        });
        if dup && said.tries < 2 {
            let what = format_args!("message {number} was sent once and is called a repetition");
            self.wrong(Check::Answers, what);
        }
        if let Some((at, _)) = said.first.filter(|_| said.quiet && said.tries == 1) {
            self.acknowledged.lock().add(at.elapsed());
        }
        said.known.get_or_insert_with(Instant::now);
        said.fate = Fate::Acked { seq, message };
    }

    /// The server won't have it.
    pub(crate) fn refused(&self, number: usize) {
        self.counts.add("refused for good, as they had to be");
        self.said.lock()[number].fate = Fate::Refused;
    }

    /// A client sees an entry. It has to be what everybody else saw at this number, and what was said here.
    pub(crate) fn saw(&self, sighting: Sighting, frame: &Frame, entry: Entry) -> Result<(), String> {
        let Sighting { node, room, live } = sighting;
        if frame.room_id != self.rooms[room] || entry.kind != Kind::Message {
            return Err(format!("{:?} of {}", entry.kind, frame.room_id));
        }
        let number = number(frame.content.as_deref()).ok_or("a message that nobody said")?;
        self.counts.add(if live { "seen live" } else { "seen in replays" });
        {
            let mut seen = self.seen[room].lock();
            let at = usize::try_from(frame.seq).map_err(|error| error.to_string())?;
            if seen.len() <= at {
                seen.resize(at + 1, None);
            }
            let before = *seen[at].get_or_insert((entry.message, number));
            if before != (entry.message, number) {
                return Err(format!("{at} is {before:?} to others, and here message {number}"));
            }
        }
        let mut said = self.said.lock();
        let said = said.get_mut(number).ok_or("a message that nobody said")?;
        if said.fate == Fate::Refused {
            self.wrong(
                Check::Refused,
                format_args!("message {number} was refused, and is seen"),
            );
        }
        let known = *said.known.get_or_insert_with(Instant::now);
        match said.first {
            Some((at, sender)) if live && sender != node && said.quiet => {
                self.told_quiet.lock().add(known.elapsed());
                self.across_quiet.lock().add(at.elapsed());
            }
            Some((at, sender)) if live && sender != node => self.across_otherwise.lock().add(at.elapsed()),
            _ => {}
        }
        Ok(())
    }

    /// What was seen of a room, by seq.
    pub(crate) fn seen(&self, room: usize) -> Vec<Seen> {
        self.seen[room].lock().clone()
    }
}

/// The number that a message's content begins with.
pub(crate) fn number(content: Option<&str>) -> Option<usize> {
    content?.split(' ').next()?.parse().ok()
}

/// The node that answered, as the balancer says.
pub(crate) fn served_by(name: &str) -> Option<usize> {
    let number: usize = name.strip_prefix("node-")?.parse().ok()?;
    number.checked_sub(1)
}
