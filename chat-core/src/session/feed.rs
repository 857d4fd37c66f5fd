//! Where one connection stands in one room: which entry comes next, and whether it follows the live stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::send::Piece;
use crate::Protocol;
use crate::bugs::bug;
use crate::log::{Batch, Frame, MemberKey, Piece as Fetched, RoomLog};
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
    /// Which version of who is in the room the client was told, if it wants to know; 0 is none yet.
    pub(super) shown: Option<u64>,
    /// Set until it follows the live stream. In a box, because most do.
    behind: Option<Box<Behind>>,
}

/// It fetches from the log what comes next.
#[derive(Debug, Default)]
struct Behind {
    /// The last seq of the replay that was asked for, which takes as long as it takes.
    goal: u64,
    /// Since when it is behind the live stream.
    since: Option<Instant>,
    /// What was fetched and isn't all sent.
    page: Vec<Frame>,
    /// Set while the store fails.
    trouble: Option<Trouble>,
}

/// Since when the store fails, and when it is asked again.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    retry_at: Instant,
    pause: Duration,
}

/// The first pause before the store is asked again; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Feed {
    pub(super) fn new(attach: &Attach) -> Self {
        Self {
            room: attach.room.clone(),
            member: attach.member,
            next: attach.next,
            shown: attach.presence.then_some(0),
            behind: Some(Box::new(Behind {
                goal: attach.goal,
                ..Behind::default()
            })),
        }
    }

    pub(super) fn catching_up(&self) -> bool {
        self.behind.is_some()
    }

    /// How urgently it has something to fetch or to go on with, 0 first; `None` if it has nothing now.
    pub(super) fn urgency(&self, now: Instant) -> Option<u8> {
        let behind = self.behind.as_ref()?;
        if self.retry_at().is_some_and(|at| at > now) {
            return None;
        }
        Some(match behind.since {
            _ if self.has_page() => 0,
            Some(_) => 1,
            None => 2,
        })
    }

    /// The room pushes nothing more until this connection has caught up.
    pub(super) fn lag(&mut self, now: Instant) {
        self.behind.get_or_insert_with(|| {
            Box::new(Behind {
                since: Some(now),
                ..Behind::default()
            })
        });
    }

    /// When the store is asked again, which failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        Some(self.behind.as_ref()?.trouble.as_ref()?.retry_at)
    }

    /// The store failed: it is asked again after a pause. False if it has failed for that long.
    pub(super) fn try_again(&mut self, now: Instant, limit: Duration) -> bool {
        let trouble = self.behind.get_or_insert_default().trouble.get_or_insert(Trouble {
            since: now,
            retry_at: now,
            pause: FIRST_PAUSE,
        });
        trouble.retry_at = now + trouble.pause;
        trouble.pause = (trouble.pause * 2).min(LONGEST_PAUSE);
        now.duration_since(trouble.since) < limit
    }

    /// Whether it has been behind the live stream for too long. While the store fails, that is not the client's doing.
    pub(super) fn too_slow(&self, now: Instant, limit: Duration) -> bool {
        let behind = self.behind.as_ref().filter(|behind| behind.trouble.is_none());
        let since = behind.and_then(|behind| behind.since);
        since.is_some_and(|since| now.duration_since(since) >= limit)
    }

    /// Takes in what the room pushed, as much as the piece has room for. False if something is left.
    pub(super) fn batch(&mut self, batch: &Batch, protocol: Protocol, out: &mut Piece) -> bool {
        self.frames(batch.frames(), protocol, out)
    }

    /// Takes in what was fetched. Ready to follow the live stream if there was nothing.
    pub(super) fn take(&mut self, fetched: Fetched, protocol: Protocol, now: Instant, out: &mut Piece) {
        match fetched {
            Fetched::Live => self.behind = None,
            Fetched::Frames { frames, gap_to } => {
                if let Some(to) = gap_to.filter(|to| *to >= self.next) {
                    if protocol == Protocol::V1 {
                        out.add_small(wire::gap(&self.room.id, Some((self.next, to)), GapReason::Retention));
                    }
                    self.next = to + 1;
                }
                let behind = self.behind.get_or_insert_default();
                if behind.trouble.take().is_some() && behind.since.is_some() {
                    behind.since = Some(now);
                }
                behind.page = frames;
            }
        }
    }

    /// Whether part of what was fetched isn't sent yet.
    pub(super) fn has_page(&self) -> bool {
        self.behind.as_ref().is_some_and(|behind| !behind.page.is_empty())
    }

    /// Goes on with what was fetched, as much as the piece has room for. True if that was all.
    pub(super) fn page(&mut self, protocol: Protocol, now: Instant, out: &mut Piece) -> bool {
        let Some(mut behind) = self.behind.take() else {
            return true;
        };
        let done = self.frames(&behind.page, protocol, out);
        if done {
            behind.page = Vec::new();
        }
        if behind.since.is_none() && self.next > behind.goal {
            behind.since = Some(now);
        }
        self.behind = Some(behind);
        done
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    fn frames(&mut self, frames: &[Frame], protocol: Protocol, out: &mut Piece) -> bool {
        for frame in frames {
            // What was fetched may overlap with what is pushed, or was begun before. A hole there can't be, but if there were
            // one, the rest would be fetched from the log.
            let careless = bug!(LiveBeforeReplay | OverflowDrops | RepairOutOfOrder);
            if frame.seq != self.next && !(careless && frame.seq > self.next) {
                continue;
            }
            if (protocol == Protocol::V1 || frame.plain) && !out.add(&frame.bytes) {
                return false;
            }
            self.next = frame.seq + 1;
        }
        true
    }
}
