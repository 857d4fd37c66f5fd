//! The outbox in arbitrary sequences, against a model: a list of what the writer is to get, and a few sums.

use std::pin::pin;
use std::task::Waker;

use proptest::prelude::*;

use super::*;
use crate::log::Frame;
use crate::properties::config;

#[derive(Debug, Clone)]
enum Event {
    /// A room pushes so many entries of so many bytes each.
    Batch(u32, usize, usize),
    /// An answer of so many bytes.
    Reply(usize),
    Presence,
    Ping,
    Begin,
    /// A message that was begun is settled, perhaps with an answer.
    Finish(Option<usize>),
    /// The writer comes, to wait or not.
    Take(bool),
    /// A request asks for its place.
    Capacity,
    Close(Closing),
    Hurry,
    Cut,
}

const LIMIT: QueueLimit = QueueLimit { messages: 6, bytes: 60 };
const IN_FLIGHT: usize = 2;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let code = prop_oneof![
        Just(CloseCode::Draining),
        Just(CloseCode::Kicked),
        Just(CloseCode::TooSlow)
    ];
    let closing = (code, any::<bool>()).prop_map(|(code, finish)| Closing {
        code,
        after: None,
        finish,
    });
    let event = prop_oneof![
        20 => (0..3_u32, 1..4_usize, 1..12_usize).prop_map(|(slot, count, bytes)| Event::Batch(slot, count, bytes)),
        10 => (1..30_usize).prop_map(Event::Reply),
        3 => Just(Event::Presence),
        3 => Just(Event::Ping),
        8 => Just(Event::Begin),
        8 => proptest::option::of(1..30_usize).prop_map(Event::Finish),
        16 => any::<bool>().prop_map(Event::Take),
        8 => Just(Event::Capacity),
        2 => closing.prop_map(Event::Close),
        1 => Just(Event::Hurry),
        1 => Just(Event::Cut),
    ];
    proptest::collection::vec(event, 1..80)
}

/// What is queued, as the model has it.
#[derive(Debug, Clone, PartialEq)]
enum Queued {
    Batch { slot: u32, messages: usize, bytes: usize },
    Reply(usize),
    Presence,
    Ping,
    Lagging(u32),
}

impl Queued {
    fn of(item: &Item) -> Self {
        match item {
            Item::Batch { slot, batch } => Self::Batch {
                slot: *slot,
                messages: batch.len(),
                bytes: batch.bytes(),
            },
            Item::Reply(frame) => Self::Reply(frame.len()),
            Item::Presence => Self::Presence,
            Item::Ping => Self::Ping,
            Item::Lagging { slot } => Self::Lagging(*slot),
            other => panic!("nobody pushed {other:?}"),
        }
    }

    /// Its messages and bytes, if it is of a room.
    fn live(&self) -> (usize, usize) {
        match self {
            Self::Batch { messages, bytes, .. } => (*messages, *bytes),
            _ => (0, 0),
        }
    }

    fn reply(&self) -> usize {
        match self {
            Self::Reply(bytes) => *bytes,
            _ => 0,
        }
    }

    fn of_a_room(&self) -> bool {
        !matches!(self, Self::Reply(_))
    }
}

#[derive(Debug)]
struct Model {
    queue: Vec<Queued>,
    /// What the writer took last: it may not be sent yet.
    taken: Vec<Queued>,
    /// The rooms that were told to push no more.
    lagging: [bool; 3],
    in_flight: usize,
    closing: Option<Closing>,
    phase: Phase,
}

impl Model {
    fn held(&self) -> impl Iterator<Item = &Queued> {
        self.queue.iter().chain(&self.taken)
    }

    fn live(&self) -> (usize, usize) {
        let all = self.held().map(Queued::live);
        all.fold((0, 0), |(messages, bytes), (more, long)| {
            (messages + more, bytes + long)
        })
    }

    fn replies(&self) -> usize {
        self.held().map(Queued::reply).sum()
    }

    fn close(&mut self, closing: Closing) {
        let first = self.closing.is_none();
        let away = self.closing.is_some_and(|before| before.code.reconnect()) && !closing.code.reconnect();
        if first || away {
            self.closing = Some(closing);
            self.queue.retain(|item| !item.of_a_room());
            self.phase = self.phase.max(if closing.finish {
                Phase::Finishing
            } else {
                Phase::Ending
            });
        }
    }
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn batch(count: usize, bytes: usize) -> Arc<Batch> {
    let frame = |seq| Frame {
        seq,
        bytes: vec![b'x'; bytes].into(),
        plain: true,
    };
    Arc::new(Batch::new((1..=count as u64).map(frame).collect()))
}

fn it_does_as_the_model(events: Vec<Event>) {
    let outbox = Outbox::new(LIMIT);
    let mut model = Model {
        queue: Vec::new(),
        taken: Vec::new(),
        lagging: [false; 3],
        in_flight: 0,
        closing: None,
        phase: Phase::Open,
    };
    for event in events {
        match event {
            // A room pushes nothing to a member that lags.
            Event::Batch(slot, ..) if model.lagging[slot as usize] => {}
            Event::Batch(slot, messages, bytes) => {
                let bytes = messages * bytes;
                let (held, long) = model.live();
                let fits = held + messages <= LIMIT.messages && long + bytes <= LIMIT.bytes;
                let open = model.closing.is_none();
                let pushed = outbox.push_batch(slot, &batch(messages, bytes / messages));
                assert_eq!(pushed, fits || !open);
                if open && fits {
                    model.queue.push(Queued::Batch { slot, messages, bytes });
                } else if open {
                    model.lagging[slot as usize] = true;
                    model.queue.push(Queued::Lagging(slot));
                }
            }
            Event::Reply(bytes) => {
                outbox.push(Item::Reply(vec![b'x'; bytes].into()));
                model.queue.push(Queued::Reply(bytes));
            }
            Event::Presence => {
                outbox.push_presence();
                // Once is enough.
                if model.closing.is_none() && !model.queue.contains(&Queued::Presence) {
                    model.queue.push(Queued::Presence);
                }
            }
            Event::Ping => {
                outbox.push(Item::Ping);
                model.queue.push(Queued::Ping);
            }
            Event::Begin => {
                outbox.begin();
                model.in_flight += 1;
            }
            Event::Finish(answer) if model.in_flight > 0 => {
                outbox.finish(answer.map(|bytes| vec![b'x'; bytes].into()));
                model.in_flight -= 1;
                model.queue.extend(answer.map(Queued::Reply));
            }
            Event::Finish(_) => {}
            Event::Take(wait) => take(&outbox, &mut model, wait),
            Event::Capacity => {
                let answers = model.replies() < LIMIT.bytes && model.queue.len() < 4 * LIMIT.messages;
                let place = model.in_flight < IN_FLIGHT && answers;
                assert_eq!(now(outbox.capacity(IN_FLIGHT)).is_ready(), place);
            }
            Event::Close(closing) => {
                outbox.close(closing);
                model.close(closing);
            }
            // The hub's connections are closed before they are hurried.
            Event::Hurry if model.closing.is_some() => {
                outbox.hurry();
                model.queue.clear();
                model.phase = model.phase.max(Phase::Ending);
            }
            Event::Hurry => {}
            Event::Cut => {
                outbox.cut();
                model.phase = Phase::Cut;
            }
        }
        assert_eq!((outbox.phase(), outbox.closing()), (model.phase, model.closing));
        let state = outbox.state.lock();
        let live = (state.live.messages, state.live.bytes);
        assert_eq!((live, state.replies), (model.live(), model.replies()));
        assert!(live.0 <= LIMIT.messages && live.1 <= LIMIT.bytes);
    }
}

fn take(outbox: &Outbox, model: &mut Model, wait: bool) {
    let mut items = Items::default();
    let taken = now(outbox.take(&mut items, wait));
    // What it took before is sent.
    model.taken = std::mem::take(&mut model.queue);
    let ends = model.in_flight == 0 || model.phase >= Phase::Ending;
    let expected = match model.closing {
        _ if !model.taken.is_empty() => Poll::Ready(Taken::Items),
        Some(_) if ends => Poll::Ready(Taken::End),
        None if !wait => Poll::Ready(Taken::Nothing),
        _ => Poll::Pending,
    };
    assert_eq!(taken, expected);
    assert!(items.iter().map(Queued::of).eq(model.taken.iter().cloned()));
    for item in items.iter() {
        // The room pushes again once the connection has caught up.
        if let Item::Lagging { slot } = item {
            model.lagging[*slot as usize] = false;
        }
    }
}

proptest! {
    #![proptest_config(config(4_000, "proptest-regressions/outbox.txt"))]

    #[test]
    fn whatever_is_pushed_it_does_as_the_model(events in events()) {
        it_does_as_the_model(events);
    }
}

#[cfg(feature = "bugs")]
#[test]
fn known_bugs_are_found() {
    crate::properties::finds(crate::bugs::Bug::OverflowDrops, events(), it_does_as_the_model);
}
