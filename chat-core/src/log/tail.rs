//! The newest part of a room's log, kept in memory, and the frames that carry it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bugs::bug;
use crate::{Entry, QueueLimit, weight, wire};

/// One entry as it goes over the wire, encoded once and shared by everybody who gets it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) seq: u64,
    pub(crate) bytes: Bytes,
    /// Whether plain connections get it: messages only, and no tombstones.
    pub(crate) plain: bool,
}

impl Frame {
    pub(crate) fn of(entry: &Entry) -> Self {
        let (bytes, plain) = match entry {
            Entry::Message(message) => (wire::message(message), !message.deleted),
            Entry::Edit(edit) if bug!(EditWithoutNumber) => {
                let mut edit = edit.clone();
                edit.seq -= 1;
                (wire::edit(&edit), false)
            }
            Entry::Edit(edit) => (wire::edit(edit), false),
            Entry::Delete(deletion) => (wire::deletion(deletion), false),
        };
        Self {
            seq: entry.seq(),
            bytes,
            plain,
        }
    }
}

/// Encodes entries, and divides them into batches within a limit, of at least one each.
pub(super) fn batches(entries: Vec<Entry>, limit: QueueLimit) -> impl Iterator<Item = Vec<(Entry, Frame)>> {
    let encoded = entries.into_iter().map(|entry| {
        let frame = Frame::of(&entry);
        (entry, frame)
    });
    let mut encoded = encoded.peekable();
    std::iter::from_fn(move || {
        let first = encoded.next()?;
        let mut bytes = first.1.bytes.len();
        let mut batch = vec![first];
        while let Some(next) = encoded.next_if(|(_, frame)| {
            bytes += frame.bytes.len();
            batch.len() < limit.messages && bytes <= limit.bytes
        }) {
            batch.push(next);
        }
        Some(batch)
    })
}

/// New entries of a room that go to all its members: at least one, without holes.
#[derive(Debug)]
pub(crate) struct Batch {
    frames: Vec<Frame>,
    bytes: usize,
}

impl Batch {
    pub(crate) fn new(frames: Vec<Frame>) -> Self {
        let bytes = frames.iter().map(|frame| frame.bytes.len()).sum();
        Self { frames, bytes }
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The newest entries of a log, without holes up to its head, each as it now is.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<(Entry, Frame)>,
    bytes: usize,
    limit: QueueLimit,
    /// Whether older entries can't be put in front: there is no place for them, or there are none.
    complete: bool,
}

impl Tail {
    pub(crate) fn new(limit: QueueLimit) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limit,
            complete: false,
        }
    }

    /// The oldest seq that is held.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(_, frame)| frame.seq)
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(|(entry, _)| entry)
    }

    /// Whether it holds as much as it can of what is before its first entry.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many entries it holds and what they weigh, counted anew, and what it has counted.
    #[cfg(feature = "probe")]
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        let bytes = self.entries.iter().map(|(entry, frame)| weight(entry, frame)).sum();
        (self.entries.len(), bytes, self.bytes)
    }

    pub(crate) fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.complete = false;
    }

    /// Adds the log's next entry, and brings the message that it is about up to date.
    pub(crate) fn push(&mut self, entry: Entry, frame: Frame) {
        if self.entries.back().is_some_and(|(_, last)| last.seq + 1 != frame.seq) {
            // Whatever the reason: a tail with a hole would be replayed as if it had none.
            self.clear();
        }
        if let Entry::Edit(edit) = &entry
            && (edit.content.is_none() || self.is_buried(edit.target))
        {
            // Its message was deleted since, or removed by retention. Which of the two isn't known here, so what is held of
            // it can't be brought up to date. Or it was read as a tombstone already, and only now comes the edit before that.
            self.clear();
        }
        self.update_target(&entry);
        self.bytes += weight(&entry, &frame);
        self.entries.push_back((entry, frame));
        while self.entries.len() > self.limit.messages || self.bytes > self.limit.bytes {
            self.complete = true;
            if self.pop_front().is_none() {
                break;
            }
        }
    }

    /// Puts older entries before what is held, the newest of them first, as many as the limit allows. They go up to
    /// the first that is held, or to the head if none is. With `all`, there are no older ones in the log.
    pub(crate) fn prepend(&mut self, older: Vec<Entry>, all: bool) {
        self.complete |= all;
        for entry in older.into_iter().rev() {
            let frame = Frame::of(&entry);
            if self.first().is_some_and(|first| frame.seq + 1 != first) {
                break;
            }
            let bytes = weight(&entry, &frame);
            if self.entries.len() >= self.limit.messages || self.bytes + bytes > self.limit.bytes {
                self.complete = true;
                break;
            }
            self.bytes += bytes;
            self.entries.push_front((entry, frame));
        }
    }

    /// Lets go of what retention has removed from the log.
    pub(crate) fn forget_up_to(&mut self, floor: u64) {
        while self.first().is_some_and(|first| first <= floor) {
            self.complete = true;
            self.pop_front();
        }
        for (entry, frame) in &mut self.entries {
            // What a removed message says is in none of its edits any more.
            let before = weight(entry, frame);
            if let Entry::Edit(edit) = entry
                && edit.target <= floor
                && edit.content.take().is_some()
            {
                *frame = Frame::of(entry);
                self.bytes = self.bytes + weight(entry, frame) - before;
            }
        }
    }

    /// Whether the message of this seq is held, as a tombstone.
    fn is_buried(&self, seq: u64) -> bool {
        let index = self.first().and_then(|first| seq.checked_sub(first));
        let entry = index.and_then(|index| self.entries.get(usize::try_from(index).ok()?));
        matches!(entry, Some((Entry::Message(message), _)) if message.deleted)
    }

    fn pop_front(&mut self) -> Option<(Entry, Frame)> {
        let (entry, frame) = self.entries.pop_front()?;
        self.bytes -= weight(&entry, &frame);
        Some((entry, frame))
    }

    /// The frames from `from` on, as many as the limit allows but at least one; `None` if `from` isn't held.
    pub(crate) fn frames(&self, from: u64, limit: QueueLimit) -> Option<Vec<Frame>> {
        let first = self.first()?;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let frames: Vec<Frame> = self
            .entries
            .range(skip.min(self.entries.len())..)
            .map(|(_, frame)| frame)
            .take(limit.messages)
            .take_while(|frame| {
                let fits = bytes == 0 || bytes + frame.bytes.len() <= limit.bytes;
                bytes += frame.bytes.len();
                fits
            })
            .cloned()
            .collect();
        (!frames.is_empty()).then_some(frames)
    }

    /// A replay shows each message as it now is, and an edit with what the message now says.
    fn update_target(&mut self, change: &Entry) {
        let Some(target) = change.target() else { return };
        if bug!(TailKeepsDeleted) {
            return;
        }
        let Some(first) = self.first() else { return };
        // Edits of a message come after it, so nothing before the message is about it; but the message itself may
        // have fallen off the tail while edits of it are still held.
        let skip = usize::try_from(target.saturating_sub(first))
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        for (entry, frame) in self.entries.range_mut(skip..) {
            if entry.seq() != target && entry.target() != Some(target) {
                continue;
            }
            let before = weight(entry, frame);
            match (&mut *entry, change) {
                (Entry::Message(message), Entry::Edit(edit)) if message.seq == target => {
                    message.content.clone_from(&edit.content);
                    message.edited_at = Some(edit.at);
                }
                (Entry::Message(message), Entry::Delete(_)) if message.seq == target => message.bury(),
                (Entry::Edit(older), Entry::Edit(edit)) if older.target == target => {
                    older.content.clone_from(&edit.content);
                }
                (Entry::Edit(older), Entry::Delete(_)) if older.target == target => older.content = None,
                _ => continue,
            }
            self.bytes -= before;
            *frame = Frame::of(entry);
            self.bytes += weight(entry, frame);
        }
    }
}

/// About what an entry takes in memory, with the frame that carries it.
fn weight(entry: &Entry, frame: &Frame) -> usize {
    weight::entry(entry) + size_of::<Frame>() + frame.bytes.len()
}

#[cfg(test)]
mod tests;
