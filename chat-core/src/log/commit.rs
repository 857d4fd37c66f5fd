//! Group commit: one append is in flight per room, and what arrives meanwhile is the next batch.
//!
//! Commit, then broadcast, then acknowledge. When an append's outcome is unknown, the log is read before anything is
//! written again: each entry has an id that no other has, and the store takes a batch only at the head that was
//! read, so a late success of the first try makes the second one fail, and is found.

use std::time::Duration;

use tokio::time::Instant;

use super::submission::{Receipt, Sender, Submission, subject, unavailable};
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
    let tasks = room.log().engine.tasks.clone();
    let committer = Committer {
        room,
        entries: Vec::new(),
        waiting: Vec::new(),
        bytes: 0,
        doubt: false,
        pause: FIRST_PAUSE,
        finished: false,
    };
    tasks.spawn(committer.run());
}

struct Waiting {
    sender: Sender,
    deadline: Instant,
    bytes: usize,
}

struct Committer {
    room: RoomLease,
    /// The batch, and beside each entry whom to tell.
    entries: Vec<NewEntry>,
    waiting: Vec<Waiting>,
    bytes: usize,
    /// Whether an append may have stored something that isn't known of.
    doubt: bool,
    pause: Duration,
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
        while self.refill() {
            match self.step().await {
                Ok(()) => self.pause = FIRST_PAUSE,
                Err(error) => self.failed(&error).await,
            }
            if self.room.log().state.lock().broken {
                self.waiting.clear();
                break;
            }
        }
        self.finished = true;
    }

    /// Tops the batch up from the queue. False if there is nothing to do: then another committer is started for what
    /// comes next.
    fn refill(&mut self) -> bool {
        let log = self.room.log();
        let limit = log.engine.limits.commit_batch;
        let mut taken = false;
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
                    sender,
                    deadline,
                    bytes,
                });
                self.bytes += bytes;
                taken = true;
            }
            if self.entries.is_empty() && state.rest() {
                return false;
            }
        }
        if taken {
            log.space.notify_waiters();
        }
        true
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        if self.doubt {
            self.read_missed().await?;
            self.doubt = false;
            if self.entries.is_empty() {
                return Ok(());
            }
        }
        let log = self.room.log();
        let expected = log.head();
        let began = Instant::now();
        let append = log.engine.store.append(&log.id, expected, &self.entries);
        let appended = match tokio::time::timeout(log.engine.limits.commit, append).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(StoreError::new(
                    StoreErrorKind::OutcomeUnknown,
                    "the append took too long",
                ));
            }
        };
        let took = began.elapsed();
        let head = appended.head;
        self.settle(expected, appended, took);
        if head != self.room.log().head() {
            // Another writer came between, or an earlier try has succeeded after all.
            self.doubt = true;
        }
        Ok(())
    }

    /// Sends what was stored to the members, and then tells the senders.
    fn settle(&mut self, expected: u64, appended: Appended, took: Duration) {
        let count = appended.outcomes.len().min(self.entries.len());
        let mut head = expected;
        let mut stored = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(count);
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
                Outcome::NonceConflict => Err(Refusal::new(
                    ErrorCode::NonceConflict,
                    "the nonce was used for another message",
                )),
                Outcome::NoTarget => Err(Refusal::new(ErrorCode::NotFound, "there is no such message")),
            };
            answers.push((waiting.sender, result));
        }
        metrics::committed(stored.len(), took);
        self.enter(stored);
        for (sender, result) in answers {
            sender.tell(result);
        }
    }

    /// Reads what other writers stored, or an earlier try of our own.
    async fn read_missed(&mut self) -> Result<(), StoreError> {
        loop {
            let log = self.room.log();
            let head = log.head();
            let page = log
                .read(head, PageLimit::entries(log.engine.limits.commit_batch.messages))
                .await?;
            if page.head < head {
                tracing::error!(room = %log.id, head, stored = page.head, "the store has lost part of the log");
                log.break_up();
                return Ok(());
            }
            if page.floor > head {
                log.state.lock().jump(page.floor);
            }
            let done = page.entries.last().is_none_or(|entry| entry.seq() >= page.head);
            let ours: Vec<_> = page.entries.iter().filter_map(|entry| self.found(entry)).collect();
            self.enter(page.entries);
            for (sender, receipt) in ours {
                sender.tell(Ok(receipt));
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Takes the entry out of the batch if it is one of ours.
    fn found(&mut self, entry: &Entry) -> Option<(Sender, Receipt)> {
        let at = self.entries.iter().position(|ours| ours.id == entry.id())?;
        let message = subject(&self.entries.remove(at));
        let waiting = self.waiting.remove(at);
        self.bytes -= waiting.bytes;
        Some((
            waiting.sender,
            Receipt {
                id: message,
                seq: entry.seq(),
                duplicate: false,
            },
        ))
    }

    fn enter(&self, entries: Vec<Entry>) {
        let lagging = self.room.log().state.lock().enter(entries);
        metrics::lagging(lagging);
    }

    /// Decides what a failure means for those who wait.
    async fn failed(&mut self, error: &StoreError) {
        let room = &self.room.log().id;
        tracing::warn!(%room, error = %Chain(error), waiting = self.waiting.len(), "the store failed");
        let hopeless = match error.kind() {
            StoreErrorKind::OutcomeUnknown => {
                self.doubt = true;
                false
            }
            StoreErrorKind::Unavailable => false,
            StoreErrorKind::Refused => true,
        };
        let now = Instant::now();
        for at in (0..self.waiting.len()).rev() {
            if hopeless || self.waiting[at].deadline <= now {
                self.entries.remove(at);
                let waiting = self.waiting.remove(at);
                self.bytes -= waiting.bytes;
                waiting.sender.tell(Err(unavailable()));
            }
        }
        if !self.entries.is_empty() {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
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
