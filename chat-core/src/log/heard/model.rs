//! What other hubs tell, in arbitrary sequences, against a model: the store's log, and what of it was told.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::log::tail::Frame;
use crate::properties::config;
use crate::session::Session;
use crate::{Message, MessageId, Protocol, Timestamp, User, outbox::Outbox};

/// What happens to a room. An index picks among what there is.
#[derive(Debug, Clone)]
enum Event {
    /// Another hub stores so many entries.
    Foreign(u64),
    /// It tells of some of them, soon or late, again, or only of how far the log goes.
    Told { first: Index, count: usize, head: Index },
    /// Somebody tells of a head that the log hasn't got.
    Lie(u64),
    /// The bus was away.
    Missed,
    /// What was heard gets in, in whichever order tasks have their turn.
    Enter(Index),
    /// Something is committed here.
    Commit,
    /// So much is read, by whoever wants to know.
    Read(usize),
    /// The task that reads what is missing begins its next round, or ends it.
    Repair,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let told = (any::<Index>(), 0..5_usize, any::<Index>());
    let event = prop_oneof![
        4 => (1..5_u64).prop_map(Event::Foreign),
        8 => told.prop_map(|(first, count, head)| Event::Told { first, count, head }),
        1 => (1..9_u64).prop_map(Event::Lie),
        1 => Just(Event::Missed),
        8 => any::<Index>().prop_map(Event::Enter),
        1 => Just(Event::Commit),
        1 => (1..4_usize).prop_map(Event::Read),
        4 => Just(Event::Repair),
    ];
    proptest::collection::vec(event, 1..80)
}

const EARLY: QueueLimit = QueueLimit {
    messages: 5,
    bytes: 2_000,
};

const TAIL: QueueLimit = QueueLimit {
    messages: 6,
    bytes: 1 << 20,
};

/// The entry of this number, of some weight.
fn entry(seq: u64) -> Entry {
    let (room, user) = (crate::RoomId::new("r").unwrap(), User::named("ann").unwrap());
    let mut message = Message::new(MessageId::from_u128(seq.into()), room, seq, user, Timestamp::default());
    message.content = Some("x".repeat((seq as usize % 4) * 100 + 1));
    Entry::Message(message)
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Waits,
    Reads,
}

struct Run {
    state: LogState,
    /// How far the store's log goes.
    stored: u64,
    /// The highest head that was told, and is true.
    told: u64,
    /// Whether a comparison was asked for, and where the log ended then.
    missed: u64,
    /// What was heard and isn't entered yet.
    ready: Vec<Vec<Entry>>,
    /// The task that reads what is missing.
    task: Option<Task>,
    /// How many entries members were shown.
    shown: u64,
}

impl Run {
    fn new() -> Self {
        let mut state = LogState::new(TAIL);
        let session = Session {
            user: User::named("ann").unwrap(),
            protocol: Protocol::V1,
            outbox: Outbox::new(TAIL),
        };
        state.attach(Arc::new(session), 0, false).unwrap();
        Self {
            state,
            stored: 0,
            told: 0,
            missed: 0,
            ready: Vec::new(),
            task: None,
            shown: 0,
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Foreign(count) => self.stored += count,
            Event::Told { first, count, head } => self.hear(first, count, head),
            Event::Lie(beyond) => {
                let ready = self.state.hear(self.stored + beyond, Vec::new(), EARLY);
                self.ready.push(ready);
            }
            Event::Missed => {
                self.state.heard.compare = true;
                self.missed = self.stored;
            }
            Event::Enter(which) if !self.ready.is_empty() => {
                let entries = self.ready.swap_remove(which.index(self.ready.len()));
                self.enter(entries);
            }
            Event::Enter(_) => {}
            Event::Commit => {
                // The store takes it only at its head.
                self.read(usize::MAX);
                self.stored += 1;
                self.read(1);
            }
            Event::Read(count) => self.read(count),
            Event::Repair => self.repair(),
        }
        if self.state.starts_repair() {
            assert!(self.task.is_none(), "two tasks read what is missing");
            self.task = Some(Task::Waits);
        }
        self.check();
    }

    fn hear(&mut self, first: Index, count: usize, head: Index) {
        if self.stored == 0 {
            return;
        }
        let first = first.index(self.stored as usize) as u64 + 1;
        let entries: Vec<_> = (first..=self.stored).take(count).map(entry).collect();
        let last = entries.last().map_or(1, Entry::seq);
        let head = last + head.index((self.stored - last) as usize + 1) as u64;
        self.told = self.told.max(head);
        let before = self.state.head;
        let ready = self.state.hear(head, entries, EARLY);
        assert_eq!(self.state.head, before, "nothing is entered yet");
        let seqs: Vec<_> = ready.iter().map(Entry::seq).collect();
        assert!(
            seqs.iter().copied().eq(before + 1..=before + seqs.len() as u64),
            "{seqs:?} after {before}"
        );
        self.ready.push(ready);
    }

    /// As [`RoomLog`] does: what doesn't fit any more is left out.
    fn enter(&mut self, entries: Vec<Entry>) {
        let before = self.state.head;
        let batch: Vec<_> = entries.iter().map(|entry| (entry.clone(), Frame::of(entry))).collect();
        let fits = entries
            .iter()
            .find(|entry| entry.seq() > before)
            .is_none_or(|first| first.seq() == before + 1);
        assert_eq!(self.state.enter(batch).is_ok(), fits);
        self.shown += self.state.head - before;
        if fits {
            assert_eq!(self.state.head, entries.last().map_or(before, Entry::seq).max(before));
        }
    }

    fn read(&mut self, count: usize) {
        let entries = (self.state.head + 1..=self.stored).take(count).map(entry).collect();
        self.enter(entries);
    }

    fn repair(&mut self) {
        match self.task {
            None => {}
            Some(Task::Waits) if self.state.goes_on_repairing() => {
                // What the store has at this moment is read; what comes after isn't.
                self.read(usize::MAX);
                self.task = Some(Task::Reads);
            }
            Some(Task::Waits) => {
                self.task = None;
                let heard = &self.state.heard;
                assert_eq!((heard.early.len(), heard.early_bytes), (0, 0), "it is kept");
            }
            Some(Task::Reads) => self.task = Some(Task::Waits),
        }
    }

    fn check(&self) {
        let state = &self.state;
        assert!(state.head <= self.stored, "{} isn't stored", state.head);
        // The tail is what members were shown last: without holes, and as it was stored.
        let tail: Vec<_> = state.tail.entries().cloned().collect();
        let first = state.head + 1 - tail.len() as u64;
        assert!(tail.iter().cloned().eq((first..=state.head).map(entry)));
        assert_eq!(self.shown, state.head, "something was left out, or shown twice");
        let early = &state.heard.early;
        let bytes: usize = early.values().map(weight::entry).sum();
        assert_eq!(bytes, state.heard.early_bytes);
        assert!(
            early.len() <= EARLY.messages && bytes <= EARLY.bytes,
            "{} of {bytes} bytes",
            early.len()
        );
        assert!(early.iter().all(|(seq, held)| *held == entry(*seq)));
        assert!(
            !state.is_behind() || self.task.is_some(),
            "nobody reads what is missing"
        );
    }

    /// Nothing more is told: in the end everything that was is here, and nothing is kept.
    fn settle(mut self) {
        for ready in std::mem::take(&mut self.ready) {
            self.enter(ready);
        }
        let mut steps = 0;
        while self.task.is_some() {
            self.repair();
            steps += 1;
            assert!(steps < 10, "it never ends");
        }
        self.check();
        assert!(
            self.state.head >= self.told.max(self.missed),
            "what was told is not here"
        );
    }
}

fn what_is_told_gets_in(events: Vec<Event>) {
    let mut run = Run::new();
    for event in events {
        run.event(event);
    }
    run.settle();
}

proptest! {
    #![proptest_config(config(2_000, "proptest-regressions/heard.txt"))]

    #[test]
    fn whatever_is_told_gets_in_once_and_in_order(events in events()) {
        what_is_told_gets_in(events);
    }
}

#[cfg(feature = "bugs")]
#[test]
fn known_bugs_are_found() {
    use crate::bugs::Bug;
    for bug in [
        Bug::NoticeGapIgnored,
        Bug::ToldHeadTrusted,
        Bug::EarlyUnbounded,
        Bug::RepairsOnce,
    ] {
        crate::properties::finds(bug, events(), what_is_told_gets_in);
    }
}
