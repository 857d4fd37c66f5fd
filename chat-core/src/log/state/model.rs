//! A room's state in arbitrary sequences, against a model: what the log holds, and for each member what it has seen.

mod log;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use proptest::sample::Index;

use self::log::{Log, Said, Stored, said};
use super::*;
use crate::log::Sender;
use crate::log::tail::batches;
use crate::outbox::{Item, Items, Outbox, Taken};
use crate::properties::config;
use crate::{Change, NewEntry, Protocol, Timestamp, User};

/// What happens to a room. An index picks among what there is.
#[derive(Debug, Clone)]
enum Event {
    /// Somebody says something here.
    Offer(Said),
    /// The committer takes what is queued, as much as a batch holds, and the store has it.
    Commit,
    /// Another hub stores something.
    Foreign(Said),
    /// So much of what other hubs stored is read.
    Read(usize),
    /// Retention removes entries of the log, and the heads are compared.
    Retain(Index),
    /// Somebody joins with a cursor.
    Join(Index),
    Leave(Index),
    /// A member's connection takes what is queued for it.
    Take(Index),
    /// The same, and then fetches one piece if it lags; first the tail may be filled from the store.
    CatchUp(Index, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => said().prop_map(Event::Offer),
        4 => Just(Event::Commit),
        3 => said().prop_map(Event::Foreign),
        2 => (1..4_usize).prop_map(Event::Read),
        1 => any::<Index>().prop_map(Event::Retain),
        2 => any::<Index>().prop_map(Event::Join),
        1 => any::<Index>().prop_map(Event::Leave),
        3 => any::<Index>().prop_map(Event::Take),
        6 => (any::<Index>(), any::<bool>()).prop_map(|(member, fill)| Event::CatchUp(member, fill)),
    ];
    proptest::collection::vec(event, 1..80)
}

const fn limit(messages: usize) -> QueueLimit {
    QueueLimit {
        messages,
        bytes: 1 << 20,
    }
}

const TAIL: QueueLimit = limit(6);
const COMMIT_QUEUE: QueueLimit = limit(4);
const BATCH: QueueLimit = limit(2);
const SEND_QUEUE: QueueLimit = limit(3);
const PAGE: QueueLimit = limit(2);

/// A member, as its connection sees it.
#[derive(Debug)]
struct Seer {
    session: Arc<Session>,
    key: MemberKey,
    /// What it is to see next.
    next: u64,
    lagging: bool,
}

#[derive(Debug)]
struct Run {
    state: LogState,
    log: Log,
    members: Vec<Seer>,
    /// What was offered, and waits.
    queue: VecDeque<Stored>,
    /// What went to members as it was committed, by seq.
    sent: Vec<Frame>,
}

/// What a frame says of itself, whoever wrote it down.
fn check_number(frame: &Frame) {
    let json: serde_json::Value = serde_json::from_slice(&frame.bytes).unwrap();
    assert_eq!(json["seq"], frame.seq, "{json}");
}

impl Run {
    fn new() -> Self {
        Self {
            state: LogState::new(TAIL),
            log: Log::default(),
            members: Vec::new(),
            queue: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Offer(said) => self.offer(&said),
            Event::Commit => self.commit(),
            Event::Foreign(said) => {
                if let Some(entry) = self.log.new_entry(&said) {
                    self.log.entries.push(entry);
                }
            }
            Event::Read(count) => self.read(count),
            Event::Retain(index) => {
                self.log.floor = self.log.floor.max(index.index(self.log.entries.len() + 1) as u64);
                self.state.tail.forget_up_to(self.log.floor);
                self.state.jump(self.log.floor);
            }
            Event::Join(index) => {
                let outbox = Outbox::new(SEND_QUEUE);
                let (user, protocol) = (User::named("ann").unwrap(), Protocol::V1);
                let session = Arc::new(Session { user, protocol, outbox });
                let key = self.state.attach(session.clone(), 0, false).unwrap();
                let next = index.index(self.state.head as usize + 1) as u64 + 1;
                self.members.push(Seer {
                    session,
                    key,
                    next,
                    lagging: true,
                });
            }
            Event::Leave(index) if !self.members.is_empty() => {
                let member = self.members.swap_remove(index.index(self.members.len()));
                self.state.detach(member.key);
                // Twice is as good as once, and does nothing to who has the place then.
                self.state.detach(member.key);
            }
            Event::Take(index) if !self.members.is_empty() => self.take(index.index(self.members.len())),
            Event::CatchUp(index, fill) if !self.members.is_empty() => {
                self.catch_up(index.index(self.members.len()), fill);
            }
            Event::Leave(_) | Event::Take(_) | Event::CatchUp(..) => {}
        }
        self.check_tail();
    }

    fn offer(&mut self, said: &Said) {
        let Some(entry) = self.log.new_entry(said) else { return };
        let submission = Submission {
            entry: NewEntry {
                id: entry.id,
                user: User::named("ann").unwrap(),
                at: Timestamp::default(),
                change: Change::Delete { message: entry.id },
            },
            bytes: 1,
            deadline: Instant::now(),
            sender: Sender::caller().0,
        };
        let (full, idle) = (self.queue.len() == COMMIT_QUEUE.messages, !self.state.committing);
        match self.state.offer(submission, COMMIT_QUEUE) {
            Offered::Full(_) => assert!(full, "there was a place"),
            Offered::Broken(_) => panic!("nobody broke it"),
            offered => {
                assert!(!full, "there was no place");
                assert_eq!(matches!(offered, Offered::StartCommitter), idle);
                self.queue.push_back(entry);
            }
        }
    }

    fn commit(&mut self) {
        // The store takes a batch only at its head.
        self.read(usize::MAX);
        let before = self.log.head();
        let mut taken = 0;
        while let Some(submission) = self.state.take_next(taken, taken, BATCH) {
            let mut entry = self.queue.pop_front().expect("one was taken that wasn't offered");
            assert_eq!(submission.entry.id, entry.id, "taken out of turn");
            taken += 1;
            // What it is about may be gone by now.
            if let Some(target) = entry.target.take() {
                entry.target = self.still(target);
                if entry.target.is_none() {
                    continue;
                }
            }
            self.log.entries.push(entry);
        }
        assert!(taken <= BATCH.messages);
        // Each as it was said, whatever the rest of the batch made of it.
        let entries = (before + 1..=self.log.head())
            .map(|seq| self.log.as_of(seq, seq))
            .collect();
        self.enter(entries);
        assert_eq!(self.state.rest(), self.queue.is_empty());
    }

    fn still(&self, target: u64) -> Option<u64> {
        let gone = self
            .log
            .entries
            .iter()
            .any(|e| e.target == Some(target) && e.content.is_none());
        (target > self.log.floor && !gone).then_some(target)
    }

    fn read(&mut self, count: usize) {
        // From one before, since what is read may overlap.
        let entries = self
            .log
            .page(self.state.head.saturating_sub(1), count.saturating_add(1));
        self.enter(entries);
    }

    fn enter(&mut self, entries: Vec<Entry>) {
        let head = self.state.head;
        self.sent.retain(|frame| frame.seq <= head);
        self.sent
            .extend(entries.iter().filter(|entry| entry.seq() > head).map(Frame::of));
        let last = entries.last().map_or(head, Entry::seq).max(head);
        let missing = "nothing is missing before what was read";
        if !self.state.enter_unheard(&entries).expect(missing) {
            for batch in batches(entries, BATCH) {
                self.state.enter(batch).expect(missing);
            }
        }
        assert_eq!(self.state.head, last);
    }

    fn take(&mut self, member: usize) {
        let member = &mut self.members[member];
        let mut items = Items::default();
        let taken = pin!(member.session.outbox.take(&mut items, false)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(taken, Poll::Ready(Taken::Items | Taken::Nothing)));
        let mut count = 0;
        for item in items {
            match item {
                Item::Batch { batch, .. } => {
                    assert!(!member.lagging, "a batch for a member that lags");
                    count += batch.len();
                    for frame in batch.frames() {
                        check_number(frame);
                        if frame.seq < member.next {
                            continue;
                        }
                        assert_eq!(frame.seq, member.next, "a hole in the live stream");
                        let sent = self.sent.iter().find(|sent| sent.seq == frame.seq);
                        assert_eq!(sent.map(|sent| &sent.bytes), Some(&frame.bytes));
                        member.next += 1;
                    }
                }
                Item::Lagging { .. } => assert!(!std::mem::replace(&mut member.lagging, true), "marked twice"),
                other => panic!("nobody pushed {other:?}"),
            }
        }
        assert!(count <= SEND_QUEUE.messages);
    }

    /// One piece for a member. True if it follows the live stream.
    fn catch_up(&mut self, index: usize, fill: bool) -> bool {
        self.take(index);
        let (key, next) = (self.members[index].key, self.members[index].next);
        if !self.members[index].lagging {
            return true;
        }
        if fill {
            self.fill();
        }
        match self.state.catch_up(key, next, PAGE) {
            CatchUp::Live => {
                // Perhaps it has seen what this hub has yet to read.
                assert!(next > self.state.head, "it has not seen everything");
                self.members[index].lagging = false;
                return true;
            }
            CatchUp::Frames(frames) => {
                assert!((1..=PAGE.messages).contains(&frames.len()));
                for (frame, seq) in frames.iter().zip(next..) {
                    check_number(frame);
                    assert_eq!(frame.seq, seq, "a hole in the replay");
                    self.check_now(frame);
                }
                self.members[index].next += frames.len() as u64;
            }
            CatchUp::Behind => {
                assert!(next <= self.state.head);
                // From the store: a gap, if there is one, and what comes after.
                let first = next.max(self.log.floor + 1);
                let page = self.log.page(first - 1, PAGE.messages);
                self.members[index].next = first + page.len() as u64;
            }
        }
        false
    }

    fn fill(&mut self) {
        let last = self.state.tail.first().map_or(self.state.head, |first| first - 1);
        let start = last.saturating_sub(3).max(self.log.floor);
        let older = (start + 1..=last)
            .map(|seq| self.log.as_of(seq, self.log.head()))
            .collect();
        self.state.tail.prepend(older, start == self.log.floor);
    }

    /// What is replayed is as it is now: at least with what this hub knows of, and perhaps with what only the store does.
    fn check_now(&self, frame: &Frame) {
        let now = (self.state.head.max(frame.seq)..=self.log.head())
            .any(|head| Frame::of(&self.log.as_of(frame.seq, head)).bytes == frame.bytes);
        assert!(now, "out of date: {}", String::from_utf8_lossy(&frame.bytes));
    }

    /// The tail ends at the head, has no hole, and holds nothing that is out of date or removed.
    fn check_tail(&self) {
        let seqs: Vec<_> = self.state.tail.entries().map(Entry::seq).collect();
        let first = self.state.head + 1 - seqs.len() as u64;
        assert!(seqs.iter().copied().eq(first..=self.state.head), "{seqs:?}");
        assert!(seqs.len() <= TAIL.messages && seqs.first().is_none_or(|first| *first > self.log.floor));
        for entry in self.state.tail.entries() {
            self.check_now(&Frame::of(entry));
        }
        let waiting: usize = self.state.queue.iter().map(|submission| submission.bytes).sum();
        assert_eq!(
            (waiting, self.state.queue.len()),
            (self.state.queue_bytes, self.queue.len())
        );
    }

    /// In the end everybody has seen everything.
    fn settle(mut self) {
        while !self.queue.is_empty() {
            self.commit();
        }
        self.read(usize::MAX);
        for member in 0..self.members.len() {
            let mut steps = 0;
            while !self.catch_up(member, false) {
                steps += 1;
                assert!(steps < 1_000, "it never gets there");
            }
            assert_eq!(self.members[member].next, self.log.head() + 1);
        }
    }
}

fn everybody_sees_the_log(events: Vec<Event>) {
    let mut run = Run::new();
    for event in events {
        run.event(event);
    }
    run.settle();
}

proptest! {
    #![proptest_config(config(2_000, "proptest-regressions/log.txt"))]

    #[test]
    fn whatever_happens_everybody_sees_the_log(events in events()) {
        everybody_sees_the_log(events);
    }
}

#[cfg(feature = "bugs")]
#[test]
fn known_bugs_are_found() {
    use crate::bugs::Bug;
    for bug in [
        Bug::LiveBeforeReplay,
        Bug::OverflowDrops,
        Bug::TailKeepsDeleted,
        Bug::EditWithoutNumber,
    ] {
        crate::properties::finds(bug, events(), everybody_sees_the_log);
    }
}
