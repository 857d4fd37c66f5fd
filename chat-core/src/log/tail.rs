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
mod tests {
    use super::*;
    use crate::{Deletion, Edit, Message, MessageId, RoomId, Timestamp, User};

    fn id(n: u64) -> MessageId {
        MessageId::from_u128(n.into())
    }

    fn message(seq: u64, content: &str) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        let mut message = Message::new(id(seq), room, seq, user, Timestamp::default());
        message.content = Some(content.into());
        Entry::Message(message)
    }

    fn edit(seq: u64, target: u64, content: &str) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        let mut edit = Edit::new(id(seq), room, seq, (id(target), target), user, Timestamp::default());
        edit.content = Some(content.into());
        Entry::Edit(edit)
    }

    fn delete(seq: u64, target: u64) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        Entry::Delete(Deletion::new(
            id(seq),
            room,
            seq,
            (id(target), target),
            user,
            Timestamp::default(),
        ))
    }

    fn tail(messages: usize, entries: Vec<Entry>) -> Tail {
        let mut tail = Tail::new(QueueLimit {
            messages,
            bytes: 1 << 20,
        });
        for entry in entries {
            let frame = Frame::of(&entry);
            tail.push(entry, frame);
        }
        tail
    }

    fn text(tail: &Tail) -> String {
        let frames = tail
            .frames(
                tail.first().unwrap(),
                QueueLimit {
                    messages: 99,
                    bytes: 1 << 20,
                },
            )
            .unwrap();
        frames
            .iter()
            .map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned())
            .collect()
    }

    const ALL: QueueLimit = QueueLimit {
        messages: 99,
        bytes: 1 << 20,
    };

    #[test]
    fn batches_keep_the_order_and_the_limit() {
        let entries: Vec<Entry> = (1..=7).map(|seq| message(seq, "x")).collect();
        let divided = |messages, bytes| -> Vec<Vec<u64>> {
            batches(entries.clone(), QueueLimit { messages, bytes })
                .map(|batch| batch.iter().map(|(entry, _)| entry.seq()).collect())
                .collect()
        };
        assert_eq!(divided(3, 1 << 20), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
        let two = 2 * Frame::of(&entries[0]).bytes.len();
        assert_eq!(divided(9, two), [vec![1, 2], vec![3, 4], vec![5, 6], vec![7]]);
        assert_eq!(divided(9, 1).len(), 7, "never less than one");
        assert_eq!(batches(Vec::new(), ALL).count(), 0);
    }

    #[test]
    fn holds_the_newest_within_its_limit() {
        let tail = tail(3, (1..=5).map(|seq| message(seq, "x")).collect());
        assert_eq!(tail.first(), Some(3));
        assert!(tail.frames(2, ALL).is_none());
        assert!(tail.frames(6, ALL).is_none());
        let seqs = |from, limit| {
            tail.frames(from, limit)
                .unwrap()
                .iter()
                .map(|f| f.seq)
                .collect::<Vec<_>>()
        };
        assert_eq!(seqs(3, ALL), [3, 4, 5]);
        assert_eq!(seqs(5, ALL), [5]);
        assert_eq!(
            seqs(
                3,
                QueueLimit {
                    messages: 2,
                    bytes: 1 << 20
                }
            ),
            [3, 4]
        );
        assert_eq!(
            seqs(3, QueueLimit { messages: 9, bytes: 1 }),
            [3],
            "never less than one"
        );
    }

    #[test]
    fn older_entries_go_in_front_as_far_as_they_fit() {
        let mut tail = tail(4, vec![message(5, "x")]);
        tail.prepend((1..=4).map(|seq| message(seq, "x")).collect(), true);
        assert_eq!(tail.first(), Some(2));
        assert_eq!(tail.frames(2, ALL).unwrap().len(), 4);
    }

    #[test]
    fn it_never_has_a_hole() {
        let mut tail = tail(9, vec![message(5, "x")]);
        tail.prepend(vec![message(2, "x"), message(3, "x")], false);
        assert_eq!(tail.first(), Some(5), "4 is missing between");
        tail.prepend(vec![message(2, "x"), message(4, "x")], false);
        assert_eq!(tail.first(), Some(4), "3 is missing before");
        let late = message(7, "x");
        let frame = Frame::of(&late);
        tail.push(late, frame);
        assert_eq!(tail.first(), Some(7), "6 is missing before");
    }

    #[test]
    fn it_knows_when_nothing_can_go_in_front() {
        let mut tail = tail(3, vec![message(5, "x")]);
        tail.prepend(vec![message(4, "x")], false);
        assert!(!tail.is_complete());
        tail.prepend(vec![message(2, "x"), message(3, "x")], false);
        assert!(tail.is_complete(), "2 had no place");
        tail.clear();
        assert!(!tail.is_complete());
        tail.prepend(vec![message(5, "x")], true);
        assert!(tail.is_complete(), "there is nothing older");
    }

    #[test]
    fn what_retention_removed_is_let_go() {
        let entries = vec![message(1, "gone"), message(2, "here"), edit(3, 1, "gone too")];
        let mut tail = tail(9, entries);
        tail.forget_up_to(1);
        assert_eq!(tail.first(), Some(2));
        assert!(!text(&tail).contains("gone"), "{}", text(&tail));
        assert!(tail.is_complete());
    }

    #[test]
    fn an_edit_changes_the_message_and_older_edits() {
        let tail = tail(9, vec![message(1, "first"), edit(2, 1, "second"), edit(3, 1, "third")]);
        assert!(!text(&tail).contains("first") && !text(&tail).contains("second"));
        assert_eq!(text(&tail).matches("third").count(), 3);
    }

    #[test]
    fn nothing_of_a_deleted_message_is_left() {
        let tail = tail(
            9,
            vec![
                message(1, "secret"),
                message(2, "other"),
                edit(3, 1, "secret too"),
                delete(4, 1),
            ],
        );
        assert!(!text(&tail).contains("secret"), "{}", text(&tail));
        assert!(text(&tail).contains("other"));
        assert!(
            !tail.frames(1, ALL).unwrap()[0].plain,
            "a tombstone is not for plain connections"
        );
    }

    /// A hub has message 1 in memory. On another hub it is edited, and then deleted or removed by retention. What the first
    /// hub then reads of the log ends with the edit, which has no content any more; the message had none either after
    /// that, and was sent as one that says nothing at all.
    #[test]
    fn an_edit_that_says_nothing_any_more_leaves_no_message_without_content() {
        let mut said_nothing = edit(3, 1, "");
        if let Entry::Edit(edit) = &mut said_nothing {
            edit.content = None;
        }
        let tail = tail(9, vec![message(1, "secret"), message(2, "other"), said_nothing]);
        assert_eq!(tail.first(), Some(3), "the rest is read from the store");
    }

    /// Message 1 is read from the store, deleted by entry 3, before entry 2 comes, which edits it.
    #[test]
    fn an_edit_doesn_t_dig_out_what_is_known_to_be_deleted() {
        let mut buried = message(1, "secret");
        if let Entry::Message(message) = &mut buried {
            message.bury();
        }
        let tail = tail(9, vec![buried, edit(2, 1, "secret too")]);
        assert_eq!(tail.first(), Some(2), "the rest is read from the store");
    }

    #[test]
    fn an_edit_whose_message_fell_off_is_still_brought_up_to_date() {
        let tail = tail(2, vec![message(1, "secret"), edit(2, 1, "secret too"), delete(3, 1)]);
        assert_eq!(tail.first(), Some(2));
        assert!(!text(&tail).contains("secret"));
    }

    /// Each takes a few hundred bytes on the wire, and sixty thousand in memory: the tail holds as many as fit its bound.
    #[test]
    fn memory_is_counted_and_given_back() {
        let mut tail = Tail::new(QueueLimit {
            messages: 1024,
            bytes: 1 << 20,
        });
        for seq in 1..=100 {
            let mut entry = message(seq, "x");
            if let Entry::Message(message) = &mut entry {
                let text = format!(r#"{{"a":[{}]}}"#, vec!["[0]"; 400].join(","));
                message.data = Some(serde_json::from_str(&text).unwrap());
            }
            let frame = Frame::of(&entry);
            tail.push(entry, frame);
        }
        assert!((8..20).contains(&tail.entries.len()), "{}", tail.entries.len());
        for seq in 101..=110 {
            let entry = delete(seq, seq - 10);
            let frame = Frame::of(&entry);
            tail.push(entry, frame);
        }
        let counted: usize = tail.entries.iter().map(|(entry, frame)| weight(entry, frame)).sum();
        assert_eq!(tail.bytes, counted);
        assert!(tail.bytes < 1 << 19, "{}", tail.bytes);
    }
}
