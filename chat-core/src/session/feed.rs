//! Where one connection stands in one room: which entry comes next, and whether it follows the live stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::Protocol;
use crate::bugs::bug;
use crate::log::{Batch, Frame, MemberKey, Piece, RoomLog};
use crate::outbox::Attach;
use crate::wire::{self, GapReason};

/// Where one connection stands in one room.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) room: Arc<RoomLog>,
    /// The connection's key in the room.
    pub(super) member: MemberKey,
    /// The seq that comes next.
    next: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    /// Fetches from the log what comes next. The time counts from when it fell behind the live stream; a replay that
    /// was asked for takes as long as it takes.
    CatchingUp {
        goal: u64,
        behind_since: Option<Instant>,
    },
}

impl Feed {
    pub(super) fn new(attach: &Attach) -> Self {
        Self {
            room: attach.room.clone(),
            member: attach.member,
            next: attach.next,
            state: State::CatchingUp {
                goal: attach.goal,
                behind_since: None,
            },
        }
    }

    pub(super) fn catching_up(&self) -> bool {
        self.state != State::Live
    }

    /// The room pushes nothing more until this connection has caught up.
    pub(super) fn lag(&mut self, now: Instant) {
        if self.state == State::Live {
            self.state = State::CatchingUp {
                goal: 0,
                behind_since: Some(now),
            };
        }
    }

    /// Whether it has been behind the live stream for too long.
    pub(super) fn too_slow(&self, now: Instant, limit: Duration) -> bool {
        matches!(self.state, State::CatchingUp { behind_since: Some(since), .. } if now.duration_since(since) >= limit)
    }

    /// Takes in what the room pushed.
    pub(super) fn batch(&mut self, batch: &Batch, protocol: Protocol, out: &mut Vec<Bytes>) {
        self.frames(batch.frames(), protocol, out);
    }

    /// Takes in what was fetched. Ready to follow the live stream if there was nothing.
    pub(super) fn piece(&mut self, piece: Piece, protocol: Protocol, now: Instant, out: &mut Vec<Bytes>) {
        match piece {
            Piece::Live => self.state = State::Live,
            Piece::Frames { frames, gap_to } => {
                if let Some(to) = gap_to.filter(|to| *to >= self.next) {
                    if protocol == Protocol::V1 {
                        out.push(wire::gap(&self.room.id, Some((self.next, to)), GapReason::Retention));
                    }
                    self.next = to + 1;
                }
                self.frames(&frames, protocol, out);
                if let State::CatchingUp {
                    goal,
                    behind_since: since @ None,
                } = &mut self.state
                    && self.next > *goal
                {
                    *since = Some(now);
                }
            }
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    fn frames(&mut self, frames: &[Frame], protocol: Protocol, out: &mut Vec<Bytes>) {
        for frame in frames {
            // What was fetched may overlap with what is pushed. A hole there can't be, but if there were one, the
            // rest would be fetched from the log.
            let careless = bug!(LiveBeforeReplay | OverflowDrops | RepairOutOfOrder);
            if frame.seq != self.next && !(careless && frame.seq > self.next) {
                continue;
            }
            self.next = frame.seq + 1;
            if protocol == Protocol::V1 || frame.plain {
                out.push(frame.bytes.clone());
            }
        }
    }
}
