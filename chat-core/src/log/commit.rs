//! Group commit: one append is in flight per room, and what arrives meanwhile is the next batch.
//!
//! Commit, then broadcast, then acknowledge. When an append's outcome is unknown, the log is read before anything is
//! written again: each entry has an id that no other has, and the store takes a batch only at the head that was
//! read, so a late success of the first try makes the second one fail, and is found.

mod turns;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;
use tokio::time::Instant;

pub(super) use turns::Turn;

use super::submission::{Receipt, Sender, Submission, nonce_conflict, subject, unavailable};
use super::{Origin, RoomLog};
use crate::bugs::bug;
use crate::engine::{Chain, RoomLease};
use crate::{
    Appended, Change, Deletion, Edit, Entry, ErrorCode, Message, NewEntry, Outcome, PageLimit, Refusal, StoreError,
    StoreErrorKind, metrics,
};

/// The first pause before a failed append is tried again; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Starts the room's committer, which ends when nothing is left to commit.
pub(super) fn start(room: RoomLease) {
    let committer = Committer {
        seen: room.log().head(),
        entries: Vec::new(),
        waiting: Vec::new(),
        bytes: 0,
        most: usize::MAX,
        doubt: false,
        late: false,
        pause: FIRST_PAUSE,
        losses: 0,
        knocked: None,
        finished: false,
        room,
    };
    let engine = committer.room.log().engine.clone();
    // In a box: a quiet room starts one for each message, and a task is moved several times until it is at work.
    engine.spawn(Box::pin(committer.run()));
}

/// The workers of a runtime of several threads run the task that they woke last before the others.
fn runs_newest_first() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

struct Waiting {
    /// `None` once told.
    sender: Option<Sender>,
    deadline: Instant,
    bytes: usize,
}

impl Waiting {
    fn tell(mut self, result: Result<Receipt, Refusal>) {
        if let Some(sender) = self.sender.take() {
            sender.tell(result);
        }
    }
}

struct Committer {
    room: RoomLease,
    /// The batch, and beside each entry whom to tell.
    entries: Vec<NewEntry>,
    waiting: Vec<Waiting>,
    bytes: usize,
    /// How many entries are offered at once: fewer while one is looked for that the store refuses.
    most: usize,
    /// Up to where the log was looked through for entries of this batch.
    seen: u64,
    /// Whether an append may have stored something that isn't known of.
    doubt: bool,
    /// Whether an earlier try may yet store some of the batch: then the log is looked through before every try.
    late: bool,
    pause: Duration,
    /// Races lost to other writers in a row.
    losses: u32,
    /// When other writers were last asked for a turn.
    knocked: Option<Instant>,
    finished: bool,
}

impl Drop for Committer {
    fn drop(&mut self) {
        if !self.finished {
            // The store panicked, or the runtime is going down.
            self.room.log().break_up();
        }
    }
}

impl Committer {
    async fn run(mut self) {
        // Where a task that is spawned runs before those that were woken earlier, the others who are about to speak come first:
        // what they say is in the same batch.
        if runs_newest_first() {
            yield_now().await;
        }
        while self.refill() {
            match self.step().await {
                Ok(()) => self.pause = FIRST_PAUSE,
                // In boxes, as is what follows a lost race: they are rare, and every committer would have their size.
                Err(error) => Box::pin(self.failed(&error)).await,
            }
            if self.room.log().state.lock().broken {
                self.waiting.clear();
                break;
            }
            self.give_up_overdue();
        }
        if bug!(RestsLate) {
            self.room.log().state.lock().committing = false;
        }
        self.finished = true;
    }

    /// Tops the batch up from the queue. False if there is nothing to do: then another committer is started for what
    /// comes next.
    fn refill(&mut self) -> bool {
        let log = self.room.log();
        let limit = log.engine.limits.commit_batch;
        let mut taken = false;
        self.late &= !self.entries.is_empty();
        {
            let mut state = log.state.lock();
            while let Some(Submission {
                entry,
                bytes,
                deadline,
                sender,
            }) = state.take_next(self.entries.len(), self.bytes, limit)
            {
                self.entries.push(entry);
                self.waiting.push(Waiting {
                    sender: Some(sender),
                    deadline,
                    bytes,
                });
                self.bytes += bytes;
                taken = true;
            }
            // While it isn't known what was stored, members may be waiting to see it.
            let curious = self.doubt && !state.members.is_empty() && !log.engine.draining.is_cancelled();
            if self.entries.is_empty() && !curious && state.rest() {
                if self.doubt {
                    state.compared = None; // The next who comes looks.
                }
                return false;
            }
        }
        if taken && !bug!(SpaceUntold) {
            log.space.notify_one();
        }
        true
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        if let Some(turn) = self.turn_of_others() {
            Box::pin(self.give_way(turn)).await;
        }
        if self.doubt || self.late {
            Box::pin(self.read_missed()).await?;
            self.doubt = false;
        } else {
            // Whatever came into the log meanwhile, none of it is of this batch.
            self.seen = self.room.log().head();
        }
        if self.entries.is_empty() {
            return Ok(());
        }
        let log = self.room.log();
        let (expected, began) = (self.seen, Instant::now());
        let offered = &self.entries[..self.entries.len().min(self.most)];
        if bug!(DeliverBeforeCommit) {
            let early = (expected + 1..).zip(offered);
            let early = early.map(|(seq, entry)| entry_of(entry.clone(), log.id.clone(), seq, 1));
            log.enter(early.collect(), Origin::Here, |_| {}).await;
        }
        if bug!(AckBeforeCommit) {
            for ((seq, entry), waiting) in (expected + 1..).zip(offered).zip(&mut self.waiting) {
                let (id, duplicate) = (subject(entry), false);
                if let Some(sender) = waiting.sender.take() {
                    sender.tell(Ok(Receipt { id, seq, duplicate }));
                }
            }
        }
        let append = log.engine.store.append(&log.id, expected, offered);
        let append = tokio::time::timeout(log.engine.limits.commit, append);
        let appended = match meanwhile(log, &mut self.waiting, append).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(StoreError::new(
                    StoreErrorKind::OutcomeUnknown,
                    "the append took too long",
                ));
            }
        };
        let took = began.elapsed();
        if log.engine.bus.is_some() {
            log.state.lock().took = took;
        }
        let (head, outcomes) = (appended.head, appended.outcomes.len());
        if outcomes == 0 && head == expected {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "the store took none of the entries and gave no reason",
            ));
        }
        self.most = self.most.saturating_mul(2);
        self.settle(expected, appended, took).await;
        if head == self.seen {
            self.losses = 0;
        } else {
            // Another writer came between, or an earlier try has succeeded after all.
            self.doubt = true;
            if outcomes == 0 {
                Box::pin(self.lost()).await;
            }
        }
        Ok(())
    }

    /// Sends what was stored to the members, and tells the senders of each part of it after.
    async fn settle(&mut self, expected: u64, appended: Appended, took: Duration) {
        let count = appended.outcomes.len().min(self.entries.len());
        let mut head = expected;
        let mut stored = Vec::with_capacity(count);
        let mut answers = VecDeque::with_capacity(count);
        for ((outcome, entry), waiting) in appended
            .outcomes
            .into_iter()
            .zip(self.entries.drain(..count))
            .zip(self.waiting.drain(..count))
        {
            self.bytes -= waiting.bytes;
            let message = subject(&entry);
            let result = match outcome {
                Outcome::Stored { seq, target } => {
                    head += 1;
                    if seq != head {
                        tracing::error!(room = %self.room.log().id, seq, expected = head, "the store numbers wrongly");
                        self.room.log().break_up();
                        return;
                    }
                    stored.push(entry_of(
                        entry,
                        self.room.log().id.clone(),
                        seq,
                        target.unwrap_or_default(),
                    ));
                    Ok(Receipt {
                        id: message,
                        seq,
                        duplicate: false,
                    })
                }
                Outcome::Duplicate { id, seq } => Ok(Receipt {
                    id,
                    seq,
                    duplicate: id != entry.id,
                }),
                Outcome::NonceConflict => Err(nonce_conflict()),
                Outcome::NoTarget => Err(Refusal::new(ErrorCode::NotFound, "there is no such message")),
            };
            answers.push_back((head, waiting, result));
        }
        self.seen = head;
        if !stored.is_empty() {
            metrics::committed(stored.len(), took);
        }
        let tell_up_to = |sent| {
            while answers.front().is_some_and(|(seq, ..)| *seq <= sent)
                && let Some((_, waiting, result)) = answers.pop_front()
            {
                waiting.tell(result);
            }
        };
        self.room.log().enter(stored, Origin::Here, tell_up_to).await;
        for (_, waiting, result) in answers {
            waiting.tell(result);
        }
    }

    /// Reads what other writers stored, or an earlier try of our own.
    async fn read_missed(&mut self) -> Result<(), StoreError> {
        loop {
            let log = self.room.log();
            let limit = PageLimit::entries(log.engine.limits.commit_batch.messages);
            let page = meanwhile(log, &mut self.waiting, log.read(self.seen, limit)).await?;
            if page.head < self.seen {
                log.lost_its_end(self.seen, page.head);
                return Ok(());
            }
            if page.floor > self.seen {
                log.state.lock().jump(page.floor);
                self.seen = page.floor;
            }
            let done = page.entries.last().is_none_or(|entry| entry.seq() >= page.head);
            self.seen = page.entries.last().map_or(self.seen, Entry::seq);
            let ours: Vec<_> = page.entries.iter().filter_map(|entry| self.found(entry)).collect();
            let log = self.room.log();
            log.enter(page.entries, Origin::Elsewhere, |_| {}).await;
            if !ours.is_empty() {
                log.tell_of_head(self.seen);
            }
            for (waiting, receipt) in ours {
                waiting.tell(Ok(receipt));
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Takes the entry out of the batch if it is one of ours.
    fn found(&mut self, entry: &Entry) -> Option<(Waiting, Receipt)> {
        let at = self.entries.iter().position(|ours| ours.id == entry.id())?;
        let message = subject(&self.entries[at]);
        Some((
            self.remove(at),
            Receipt {
                id: message,
                seq: entry.seq(),
                duplicate: false,
            },
        ))
    }

    fn remove(&mut self, at: usize) -> Waiting {
        self.entries.remove(at);
        let waiting = self.waiting.remove(at);
        self.bytes -= waiting.bytes;
        waiting
    }

    /// Decides what a failure means for those who wait.
    async fn failed(&mut self, error: &StoreError) {
        let log = self.room.log().clone();
        tracing::warn!(room = %log.id, error = %Chain(error), waiting = self.waiting.len(), "the store failed");
        match error.kind() {
            StoreErrorKind::OutcomeUnknown => (self.doubt, self.late) = (true, true),
            StoreErrorKind::Unavailable => {}
            StoreErrorKind::Refused => {
                let offered = self.entries.len().min(self.most);
                if offered > 1 {
                    // It may be one of them that the store can't keep: the others are not to suffer for it.
                    self.most = offered / 2;
                    return;
                }
                if offered == 1 {
                    self.remove(0).tell(Err(unavailable()));
                }
                // Perhaps the whole room is gone, or is another one.
                let _ = meanwhile(&log, &mut self.waiting, log.refresh(Duration::ZERO)).await;
                if !self.entries.is_empty() {
                    return;
                }
            }
        }
        let pause = tokio::time::sleep(self.pause);
        meanwhile(&log, &mut self.waiting, pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Drops what has waited for too long; its senders are told. If some of it is stored all the same, it is found in
    /// the log.
    fn give_up_overdue(&mut self) {
        let now = Instant::now();
        for at in (0..self.waiting.len()).rev() {
            if self.waiting[at].deadline <= now {
                self.remove(at).tell(Err(unavailable()));
            }
        }
    }
}

/// Runs a future, and tells senders meanwhile that their time is over, those that wait in the queue as well.
async fn meanwhile<T>(log: &RoomLog, waiting: &mut [Waiting], future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        let now = Instant::now();
        let (overdue, next) = log.state.lock().overdue(now);
        if !overdue.is_empty() {
            log.space.notify_one();
        }
        for submission in overdue {
            submission.sender.tell(Err(unavailable()));
        }
        // What comes later is due later than this.
        let mut due = next.unwrap_or(now + log.engine.limits.commit);
        for waiting in &mut *waiting {
            if waiting.sender.is_none() {
                continue;
            }
            if waiting.deadline > now {
                due = due.min(waiting.deadline);
            } else if let Some(sender) = waiting.sender.take() {
                sender.tell(Err(unavailable()));
            }
        }
        tokio::select! {
            biased;
            value = &mut future => return value,
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// The entry as the log has it now.
fn entry_of(new: NewEntry, room: crate::RoomId, seq: u64, target: u64) -> Entry {
    let NewEntry { id, user, at, change } = new;
    match change {
        Change::Message {
            content,
            data,
            reply_to,
            nonce: _,
        } => {
            let mut message = Message::new(id, room, seq, user, at);
            message.content = content;
            message.data = data;
            message.reply_to = reply_to;
            Entry::Message(message)
        }
        Change::Edit { message, content } => {
            let mut edit = Edit::new(id, room, seq, (message, target), user, at);
            edit.content = Some(content);
            Entry::Edit(edit)
        }
        Change::Delete { message } => Entry::Delete(Deletion::new(id, room, seq, (message, target), user, at)),
    }
}
