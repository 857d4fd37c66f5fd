//! What all parts of a run write into, and what they share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::plan::Plan;
use chat_driver::frame::Entry;
use chat_driver::latency::Latencies;
use chat_driver::table::Counts;
use chat_driver::verdict::Verdict;

/// What is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Load,
    Answers,
    Sight,
    Log,
    Misbehaviour,
    Memory,
    Return,
    Stop,
    Output,
}

impl Check {
    pub(crate) const ALL: [Self; 9] = [
        Self::Load,
        Self::Answers,
        Self::Sight,
        Self::Log,
        Self::Misbehaviour,
        Self::Memory,
        Self::Return,
        Self::Stop,
        Self::Output,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Load => "the load was what was wanted",
            Self::Answers => "who behaves is let in, answered and not sent away",
            Self::Sight => "each member saw each entry once, in order",
            Self::Log => "what was acknowledged is stored once, where it was said to be",
            Self::Misbehaviour => "who misbehaves is answered as the protocol says",
            Self::Memory => "memory is flat",
            Self::Return => "descriptors, threads and tasks are what they were",
            Self::Stop => "the server stops cleanly",
            Self::Output => "the server complains of nothing",
        })
    }
}

/// Where the run stands.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Run,
    /// Nothing new is begun; what is under way is finished.
    Settle,
    /// The rooms end at these numbers. Who has seen them leaves.
    Finish(Arc<Vec<u64>>),
}

/// An acknowledged request that made an entry.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) room: usize,
    pub(crate) seq: u64,
    pub(crate) entry: Entry,
    pub(crate) user: Arc<str>,
    pub(crate) nonce: Option<String>,
}

/// How often something was done to its end, and how often the run ended before.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Deeds {
    pub(crate) judged: u64,
    pub(crate) unfinished: u64,
}

pub(crate) struct Book {
    pub(crate) plan: Plan,
    pub(crate) address: SocketAddr,
    pub(crate) rooms: Vec<String>,
    pub(crate) start: Instant,
    pub(crate) phase: watch::Sender<Phase>,
    /// Members that have something under way, or aren't connected.
    pub(crate) restless: AtomicUsize,
    /// Residents that haven't said all that they say first.
    pub(crate) filling: AtomicUsize,
    /// What the server closes because it stops isn't wrong.
    pub(crate) stopping: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// The entries that anybody saw, by room and seq.
    seen: Vec<Mutex<Vec<Option<Entry>>>>,
    pub(crate) acks: Mutex<Vec<Ack>>,
    pub(crate) delivery: Mutex<Latencies>,
    pub(crate) acknowledgement: Mutex<Latencies>,
    pub(crate) counts: Counts,
    pub(crate) closes: Counts,
    deeds: Mutex<BTreeMap<&'static str, Deeds>>,
    pub(crate) verdict: Verdict<Check>,
}

/// A connection that is open. It is closed when this is dropped.
pub(crate) struct Open(Arc<Book>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Book {
    pub(crate) fn new(plan: Plan, address: SocketAddr) -> Self {
        let (rooms, start) = (plan.rooms(), Instant::now());
        Self {
            address,
            start,
            phase: watch::Sender::new(Phase::Run),
            restless: AtomicUsize::new(0),
            filling: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            seen: rooms.iter().map(|_| Mutex::default()).collect(),
            acks: Mutex::default(),
            delivery: Mutex::default(),
            acknowledgement: Mutex::default(),
            counts: Counts::default(),
            closes: Counts::default(),
            deeds: Mutex::default(),
            verdict: Verdict::new(start),
            rooms,
            plan,
        }
    }

    pub(crate) fn open(self: &Arc<Self>) -> Open {
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.most_open.fetch_max(open, Relaxed);
        self.count("connections");
        Open(Arc::clone(self))
    }

    pub(crate) fn open_now(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn most_open(&self) -> usize {
        self.most_open.load(Relaxed)
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.counts.add(what);
    }

    /// A connection ended so: a close code, or words.
    pub(crate) fn closed(&self, how: impl Into<Cow<'static, str>>) {
        self.closes.add(how);
    }

    pub(crate) fn did(&self, what: &'static str) {
        self.deeds.lock().entry(what).or_default().judged += 1;
    }

    pub(crate) fn gave_up(&self, what: &'static str) {
        self.deeds.lock().entry(what).or_default().unfinished += 1;
    }

    pub(crate) fn deeds(&self) -> BTreeMap<&'static str, Deeds> {
        self.deeds.lock().clone()
    }

    /// Something isn't as it has to be. The first few are told at once.
    pub(crate) fn wrong(&self, check: Check, what: impl fmt::Display) {
        self.verdict.wrong(check, what);
    }

    /// Somebody saw this entry; everybody has to see the same.
    pub(crate) fn saw(&self, room: usize, seq: u64, entry: Entry) {
        let before = {
            let mut seen = self.seen[room].lock();
            let Ok(at) = usize::try_from(seq) else { return };
            if seen.len() <= at {
                seen.resize(at + 1, None);
            }
            *seen[at].get_or_insert(entry)
        };
        if before != entry {
            let room = &self.rooms[room];
            self.wrong(
                Check::Sight,
                format_args!("{room} {seq} is {before:?} to one member and {entry:?} to another"),
            );
        }
    }

    /// What was seen of a room, by seq.
    pub(crate) fn seen(&self, room: usize) -> Vec<Option<Entry>> {
        self.seen[room].lock().clone()
    }

    pub(crate) fn acked(&self, ack: Ack) {
        self.count("acknowledged");
        self.acks.lock().push(ack);
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Run)
    }

    /// Ready when nothing new is to be begun.
    pub(crate) async fn settling(&self) {
        let mut phase = self.phase.subscribe();
        let _ = phase.wait_for(|phase| !matches!(phase, Phase::Run)).await;
    }
}
