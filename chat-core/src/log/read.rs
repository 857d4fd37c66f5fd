//! Reading the log: from the tail in memory where it reaches back so far, else from the store.

use super::state::{CatchUp, LogState};
use super::tail::Frame;
use super::{MemberKey, RoomLog, shrunk};
use crate::bugs::bug;
use crate::{
    Entry, HistoryRange, LogPage, MAX_SEQ, Message, MessageId, Nonce, PageLimit, QueueLimit, Sent, StoreError,
    StoreErrorKind, UserId,
};

/// How many entries are read at once to put them in front of the tail.
const FILL: u64 = 128;

/// The next piece for a member that lags.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The live stream goes on from here.
    Live,
    /// These are next; they begin with the one that was asked for, or with the first after `gap_to`.
    Frames { frames: Vec<Frame>, gap_to: Option<u64> },
}

impl RoomLog {
    /// The next piece for a member that is to see `next`: from memory if it is there, else from the store. Cancel safe.
    pub(crate) async fn catch_up(&self, member: MemberKey, next: u64) -> Result<Piece, StoreError> {
        let limits = &self.engine.limits;
        // A quarter of what may be queued, so that live messages of other rooms find a place beside it.
        let page = QueueLimit {
            messages: limits.send_queue.messages.div_ceil(4),
            bytes: limits.send_queue.bytes.div_ceil(4),
        };
        for attempt in 0.. {
            match self.state.lock().catch_up(member, next, page) {
                CatchUp::Live => return Ok(Piece::Live),
                CatchUp::Frames(frames) => return Ok(Piece::Frames { frames, gap_to: None }),
                CatchUp::Behind => {}
            }
            if attempt > 0 || !self.fill(next).await? {
                break;
            }
        }
        let after = next - 1;
        let log = self
            .read(
                after,
                PageLimit {
                    entries: limits.history_page_max,
                    bytes: page.bytes,
                },
            )
            .await?;
        if log.head < next {
            self.lost_its_end(after, log.head);
            return Err(shrunk());
        }
        let gap_to = (log.floor > after).then_some(log.floor);
        let mut frames: Vec<_> = log.entries.iter().map(Frame::of).collect();
        if bug!(RepairOutOfOrder) {
            frames.reverse();
        }
        Ok(Piece::Frames { frames, gap_to })
    }

    /// One page of the log, within the time for a read.
    pub(super) async fn read(&self, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.engine.read(self.read_page(after, limit)).await
    }

    /// One page of the log, checked: it has no hole, and goes on where it should.
    pub(super) async fn read_page(&self, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let page = self.engine.store.log(&self.id, after, limit).await?;
        let mut next = after.max(page.floor) + 1;
        for entry in &page.entries {
            if entry.seq() != next || next > MAX_SEQ {
                return Err(StoreError::new(StoreErrorKind::Refused, "the store's log has a hole"));
            }
            next += 1;
        }
        if page.entries.is_empty() && next <= page.head {
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                "the store's log ends before its head",
            ));
        }
        Ok(page)
    }

    /// Fills the tail from the store, so that it holds `next`; false if the tail is too small for that.
    async fn fill(&self, next: u64) -> Result<bool, StoreError> {
        // One time limit for all who wait: if the store hangs, they are told together.
        self.engine
            .read(async {
                let _one_at_a_time = self.filling.lock().await;
                loop {
                    let (last, changes) = {
                        let state = self.state.lock();
                        let first = state.tail.first();
                        if first.is_some_and(|first| first <= next) {
                            return Ok(true);
                        }
                        let capacity = self.engine.limits.tail.messages as u64;
                        if state.tail.is_complete() || state.head.saturating_sub(next) >= capacity {
                            return Ok(false);
                        }
                        (first.map_or(state.head, |first| first - 1), state.changes)
                    };
                    let (older, all) = self.read_before(last).await?;
                    let mut state = self.state.lock();
                    // An edit or a deletion came between: what was read may show what must not be shown any more.
                    let joins = state.tail.first().map_or(state.head, |first| first - 1) == last;
                    if joins && state.changes == changes {
                        state.tail.prepend(older, all);
                    }
                }
            })
            .await
    }

    /// Some entries up to and including this one, without holes, and whether the log has none before them.
    async fn read_before(&self, last: u64) -> Result<(Vec<Entry>, bool), StoreError> {
        let mut entries = Vec::new();
        let start = last.saturating_sub(FILL);
        let (mut after, mut all) = (start, start == 0);
        while after < last {
            let wanted = usize::try_from(last - after).unwrap_or(usize::MAX);
            let page = self.read_page(after, PageLimit::entries(wanted)).await?;
            if page.head < last {
                self.lost_its_end(last, page.head);
                return Err(shrunk());
            }
            if page.floor > after {
                // Retention came between: what was read before is gone, and would leave a hole.
                entries.clear();
                all = true;
            }
            entries.extend(page.entries.into_iter().filter(|entry| entry.seq() <= last));
            after = entries.last().map_or(page.floor, Entry::seq).max(page.floor);
        }
        Ok((entries, all))
    }

    /// How far the log has been cut off by retention, if `next` isn't there any more.
    pub(crate) async fn gap_before(&self, next: u64) -> Result<Option<u64>, StoreError> {
        let held = |state: &LogState| next > state.head || state.tail.first().is_some_and(|first| first <= next);
        if held(&self.state.lock()) || self.fill(next).await? {
            return Ok(None);
        }
        let head = self.engine.read(self.engine.store.room(&self.id)).await?;
        Ok(head.map(|head| head.floor).filter(|floor| *floor >= next))
    }

    /// The seq of the message with which the last `count` messages begin.
    pub(crate) async fn start_of_last(&self, count: usize) -> Result<u64, StoreError> {
        let head = self.head();
        if count == 0 || head == 0 {
            return Ok(head + 1);
        }
        self.fill(head).await?;
        {
            let state = self.state.lock();
            let messages = state
                .tail
                .entries()
                .rev()
                .filter(|entry| matches!(entry, Entry::Message(_)));
            if let Some(first) = messages
                .take(count)
                .map(Entry::seq)
                .enumerate()
                .filter(|(n, _)| n + 1 == count)
                .last()
            {
                return Ok(first.1);
            }
        }
        // Up to the head that is known here: the store may have more, which comes after. A page of history may end early, for its
        // bytes.
        let (mut range, mut left, mut start) = (HistoryRange::Before(head + 1), count, head + 1);
        while left > 0 {
            let page = self.engine.store.history(&self.id, range, left);
            let page = self.engine.read(page).await?;
            let Some(first) = page.messages.first() else { break };
            start = first.seq;
            left = left.saturating_sub(page.messages.len());
            if !page.more {
                break;
            }
            range = HistoryRange::Before(start);
        }
        Ok(start)
    }

    /// Which message was stored for this user's nonce.
    pub(crate) async fn sent(&self, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.engine.read(self.engine.store.sent(&self.id, user, nonce)).await
    }

    /// A message as it now is.
    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let found = self.state.lock().tail.entries().find_map(|entry| match entry {
            Entry::Message(message) if message.id == id => Some(message.clone()),
            _ => None,
        });
        match found {
            Some(message) => Ok(Some(message)),
            None => self.engine.read(self.engine.store.message(&self.id, id)).await,
        }
    }
}
