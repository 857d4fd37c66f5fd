//! What waits to be sent to one connection.
//!
//! Rooms push into it and never wait; the connection's own task drains it. It is bounded in messages and in bytes: a
//! batch that doesn't fit is not queued, and the room is told to leave this member to catch up from the log.
//! A tokio channel would cost 800 bytes while idle, and can neither count bytes nor be drained at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::items::Items;
use crate::bugs::bug;
use crate::log::{Batch, MemberKey, RoomLog};
use crate::sync::{AtomicU8, Mutex, MutexGuard};
use crate::{CloseCode, QueueLimit};

/// One thing to be sent, or to be known before what comes after it is sent.
#[derive(Debug)]
pub(crate) enum Item {
    /// New entries of the room in this slot.
    Batch { slot: u32, batch: Arc<Batch> },
    /// An answer to this connection alone.
    Reply(Bytes),
    /// There may be something to tell of who is in the rooms.
    Presence,
    /// A sign of life is wanted.
    Ping,
    /// A room was joined, perhaps anew: it takes this slot and begins after `next - 1`. Its frames follow.
    Attach(Box<Attach>),
    /// A room was left: its slot is free, and the client is told so.
    Detach { slot: u32, left: Bytes },
    /// The room in this slot sends nothing more until the connection has caught up.
    Lagging { slot: u32 },
}

/// The beginning of a room's stream.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) slot: u32,
    pub(crate) room: Arc<RoomLog>,
    /// Under which key the room knows the member.
    pub(crate) member: MemberKey,
    /// The first seq that the client is to see.
    pub(crate) next: u64,
    /// The last one that belongs to the replay: the head when it joined.
    pub(crate) goal: u64,
    /// Whether the client is told who is in the room.
    pub(crate) presence: bool,
    /// Frames that come before: `joined` or `hello`, and a gap.
    pub(crate) frames: Vec<Bytes>,
}

/// How the connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: CloseCode,
    /// When to come back.
    pub(crate) after: Option<Duration>,
    /// Whether what the client asked for before is answered first: messages that wait for their commit, and the request that
    /// is being decided on.
    pub(crate) finish: bool,
}

/// How far a connection is from its end. It only ever rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// It takes no requests and hears nothing of its rooms; what it asked for is answered yet.
    Finishing,
    /// The same, and nothing is waited for.
    Ending,
    /// It is given up at once.
    Cut,
}

/// The queue, shared by the connection's task, its rooms and the hub.
#[derive(Debug)]
pub(crate) struct Outbox {
    limit: QueueLimit,
    /// Set with the state's lock held; looked at without it.
    phase: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Items,
    /// What batches take, in the queue and in the hands of the writer.
    live: Load,
    /// What the writer took last, subtracted when it comes again.
    taken: Load,
    /// Bytes of replies that are not yet written, in the queue and in the hands of the writer.
    replies: usize,
    taken_replies: usize,
    /// Messages of this connection that wait for their commit.
    in_flight: usize,
    /// Whether a request waits for its place: for a message before it to be settled, or for its answer to be written.
    held_back: bool,
    /// Whether [`Item::Presence`] is queued: once is enough.
    presence: bool,
    /// The connection's task. It drives reading and writing both, so there is but one to wake.
    waker: Option<Waker>,
    /// Whether it was woken, since it was last polled, for something else than to send what is queued here.
    rung: bool,
    closing: Option<Closing>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Load {
    messages: usize,
    bytes: usize,
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The items are in the writer's hands.
    Items,
    /// Nothing to send now.
    Nothing,
    /// Nothing to send ever more: say goodbye.
    End,
}

impl Outbox {
    pub(crate) fn new(limit: QueueLimit) -> Self {
        Self {
            limit,
            phase: AtomicU8::new(Phase::Open as u8),
            // Each part of a task has to be polled once before it can ask to be woken.
            state: Mutex::new(State {
                rung: true,
                ..State::default()
            }),
        }
    }

    /// Queues a room's new entries. If they don't fit it queues the mark that the slot lags, and returns false: then
    /// the room pushes nothing more for this member. A connection that is about to end hears nothing.
    pub(crate) fn push_batch(&self, slot: u32, batch: &Arc<Batch>) -> bool {
        let mut state = self.state.lock();
        if state.closing.is_some() {
            return true;
        }
        let messages = state.live.messages.saturating_add(batch.len());
        let bytes = state.live.bytes.saturating_add(batch.bytes());
        let fits = messages <= self.limit.messages && (bytes <= self.limit.bytes || bug!(BytesUnbounded));
        if fits {
            state.live = Load { messages, bytes };
            state.queue.push_back(Item::Batch {
                slot,
                batch: batch.clone(),
            });
        } else if bug!(OverflowDrops) {
            return true;
        } else {
            state.queue.push_back(Item::Lagging { slot });
        }
        wake(state);
        fits
    }

    /// Queues what isn't a batch. Its amount is bounded by what the connection may have under way.
    pub(crate) fn push(&self, item: Item) {
        let mut state = self.state.lock();
        if let Item::Reply(frame) = &item {
            state.replies += frame.len();
        }
        state.queue.push_back(item);
        wake(state);
    }

    /// Queues the mark that there is something to tell of who is in a room, unless it is queued.
    pub(crate) fn push_presence(&self) {
        let mut state = self.state.lock();
        if state.closing.is_some() || std::mem::replace(&mut state.presence, true) {
            return;
        }
        state.queue.push_back(Item::Presence);
        wake(state);
    }

    /// A message of this connection was handed to its room.
    pub(crate) fn begin(&self) {
        self.state.lock().in_flight += 1;
    }

    /// A message that was begun is settled; `answer` is what the client is told.
    pub(crate) fn finish(&self, answer: Option<Bytes>) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.rung |= std::mem::take(&mut state.held_back);
        if let Some(frame) = answer {
            state.replies += frame.len();
            state.queue.push_back(Item::Reply(frame));
        }
        wake(state);
    }

    /// Closes the connection once its answers are sent. What its rooms said is dropped, and they are not heard any more. The
    /// first call counts, but a client that would be told to come back may yet be told to stay away.
    pub(crate) fn close(&self, closing: Closing) {
        let mut state = self.state.lock();
        match state.closing {
            Some(first) if !first.code.reconnect() || closing.code.reconnect() => return,
            _ => state.closing = Some(closing),
        }
        let dropped = state.queue.retain(|item| {
            !matches!(
                item,
                Item::Batch { .. } | Item::Lagging { .. } | Item::Ping | Item::Presence
            )
        });
        state.live = state.taken;
        self.reach(if closing.finish {
            Phase::Finishing
        } else {
            Phase::Ending
        });
        wake(state);
        drop(dropped);
    }

    /// How the connection is to end, if it is.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.state.lock().closing
    }

    /// The time to finish is over: what a closing connection was yet to be told is dropped.
    pub(crate) fn hurry(&self) {
        let mut state = self.state.lock();
        let dropped = std::mem::take(&mut state.queue);
        state.live = state.taken;
        state.replies = state.taken_replies;
        self.reach(Phase::Ending);
        wake(state);
        drop(dropped);
    }

    /// Ends the connection without waiting for anything.
    pub(crate) fn cut(&self) {
        let state = self.state.lock();
        if bug!(WakesEarly) {
            wake(state);
            return self.reach(Phase::Cut);
        }
        self.reach(Phase::Cut);
        wake(state);
    }

    fn reach(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// How far the connection is from its end.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Finishing,
            2 => Phase::Ending,
            _ => Phase::Cut,
        }
    }

    /// The same, for the connection's task, which begins with it whenever it is polled: this is where it says that it is to be
    /// woken, for a change of the phase and for all that its parts wait for here. Tells as well whether it was
    /// [rung for](Self::ring) since: if it wasn't, and the phase is what it was, there can be something to send, and nothing else.
    pub(crate) fn poll_phase(&self, cx: &Context<'_>) -> (Phase, bool) {
        let early = bug!(RegistersLate).then(|| self.phase());
        let rung = {
            let mut state = self.state.lock();
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            std::mem::take(&mut state.rung)
        };
        (early.unwrap_or_else(|| self.phase()), rung)
    }

    /// Wakes the connection's task for something that isn't queued here: the client, the time, whatever a request waits for.
    pub(crate) fn ring(&self) {
        let mut state = self.state.lock();
        if bug!(RingsLate) {
            wake(state);
            self.state.lock().rung = true;
            return;
        }
        state.rung = true;
        wake(state);
    }

    /// Ready when the connection is to be given up.
    pub(crate) async fn cut_off(&self) {
        poll_fn(|cx| match self.poll_phase(cx) {
            (Phase::Cut, _) => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Runs a part of the connection's task until the connection is that far: then `None`.
    pub(crate) fn before<F: Future>(
        &self,
        phase: Phase,
        mut part: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |cx| {
            if self.phase() >= phase {
                return Poll::Ready(None);
            }
            part.as_mut().poll(cx).map(Some)
        })
    }

    /// Waits until the connection may have another request under way: fewer than `in_flight` uncommitted messages, and
    /// answers that the client takes. A part of the connection's task.
    pub(crate) async fn capacity(&self, in_flight: usize) {
        poll_fn(|_| {
            let mut state = self.state.lock();
            let taken = state.replies < self.limit.bytes || bug!(AnswersUnbounded);
            let answers = taken && state.queue.len() < self.limit.messages.saturating_mul(4);
            if state.in_flight < in_flight && answers {
                return Poll::Ready(());
            }
            state.held_back = true;
            Poll::Pending
        })
        .await;
    }

    /// Ready when [`take`](Self::take) has something. A part of the connection's task.
    pub(crate) async fn filled(&self) {
        poll_fn(|_| {
            let state = self.state.lock();
            if state.queue.is_empty() && state.closing.is_none() {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Hands all that is queued to the writer, in order; `into` must be empty. What it took before counts as sent.
    /// With `wait`, or once the connection is closing, is ready only when there is something to do. A part of the connection's
    /// task. Cancel safe.
    pub(crate) fn take<'a>(&'a self, into: &'a mut Items, wait: bool) -> impl Future<Output = Taken> + 'a {
        into.shrink();
        poll_fn(move |_| {
            let mut state = self.state.lock();
            let held_back = state.sent();
            let taken = self.next(&mut state, into, wait);
            if held_back {
                state.rung = true;
                wake(state);
            }
            taken
        })
    }

    fn next(&self, state: &mut State, into: &mut Items, wait: bool) -> Poll<Taken> {
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, into);
            state.presence = false;
            return Poll::Ready(Taken::Items);
        }
        if state.closing.is_some() {
            if state.in_flight == 0 || self.phase() >= Phase::Ending {
                return Poll::Ready(Taken::End);
            }
        } else if !wait {
            return Poll::Ready(Taken::Nothing);
        }
        Poll::Pending
    }
}

impl State {
    /// What the writer took before counts as sent, and what is queued is the next that it takes. True if a request was held back
    /// that may have its place now.
    fn sent(&mut self) -> bool {
        let fewer = self.taken_replies > 0 || !self.queue.is_empty();
        self.live.messages -= self.taken.messages;
        self.live.bytes -= self.taken.bytes;
        self.replies -= self.taken_replies;
        self.taken = self.live;
        self.taken_replies = self.replies;
        fewer && std::mem::take(&mut self.held_back) && !bug!(AnswersUntold)
    }
}

#[cfg(feature = "probe")]
impl Outbox {
    /// What is in it, counted anew beside what it has counted.
    pub(crate) fn held(&self) -> crate::probe::Queued {
        let state = self.state.lock();
        let mut held = crate::probe::Queued {
            taken: (state.taken.messages, state.taken.bytes),
            taken_answers: state.taken_replies,
            counted: (state.live.messages, state.live.bytes),
            counted_answers: state.replies,
            in_flight: state.in_flight,
            items: state.queue.len(),
            ..Default::default()
        };
        for item in state.queue.iter() {
            match item {
                Item::Batch { batch, .. } => {
                    held.queued.0 += batch.frames().len();
                    held.queued.1 += batch.frames().iter().map(|frame| frame.bytes.len()).sum::<usize>();
                }
                Item::Reply(frame) => held.answers += frame.len(),
                Item::Attach(attach) => held.others += attach.frames.iter().map(Bytes::len).sum::<usize>(),
                Item::Detach { left, .. } => held.others += left.len(),
                Item::Ping | Item::Presence | Item::Lagging { .. } => {}
            }
        }
        held
    }
}

/// Wakes the connection's task, with the lock released before. The waker is taken: a task that was woken registers
/// again when it is polled, and until then further wakes would be for nothing.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

mod items;

#[cfg(all(test, roomcast_loom))]
pub(crate) mod interleavings;
#[cfg(all(test, not(roomcast_loom)))]
mod model;
