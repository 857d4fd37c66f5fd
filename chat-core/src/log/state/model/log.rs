//! The log as the store has it: a list of what was said.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::{Deletion, Edit, Entry, Message, MessageId, RoomId, Timestamp, User};

/// What somebody says. An index picks among the messages that there are.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Message,
    Edit(Index),
    Delete(Index),
}

pub(super) fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        3 => Just(Said::Message),
        2 => any::<Index>().prop_map(Said::Edit),
        2 => any::<Index>().prop_map(Said::Delete),
    ]
}

/// An entry of the log as it was stored: what a message or an edit said, and which message an edit or a deletion is about.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: MessageId,
    pub(super) content: Option<String>,
    pub(super) target: Option<u64>,
}

/// The log as the store has it.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Stored>,
    pub(super) floor: u64,
    ids: u128,
}

impl Log {
    pub(super) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn at(&self, seq: u64) -> &Stored {
        &self.entries[seq as usize - 1]
    }

    /// A message that can be edited, and isn't removed.
    pub(super) fn pick(&self, index: Index) -> Option<u64> {
        let gone = |seq: u64| {
            self.entries
                .iter()
                .any(|e| e.target == Some(seq) && e.content.is_none())
        };
        let there: Vec<_> = (self.floor + 1..=self.head())
            .filter(|seq| self.at(*seq).target.is_none() && !gone(*seq))
            .collect();
        (!there.is_empty()).then(|| *index.get(&there))
    }

    /// What is said becomes an entry, if it has anything to be about.
    pub(super) fn new_entry(&mut self, said: &Said) -> Option<Stored> {
        self.ids += 1;
        let (content, target) = match said {
            Said::Message => (Some(format!("said in {}", self.ids)), None),
            Said::Edit(index) => (Some(format!("edited in {}", self.ids)), Some(self.pick(*index)?)),
            Said::Delete(index) => (None, Some(self.pick(*index)?)),
        };
        let id = MessageId::from_u128(self.ids);
        Some(Stored { id, content, target })
    }

    /// The entry of this seq, as it is once the log has entries up to `head`.
    pub(super) fn as_of(&self, seq: u64, head: u64) -> Entry {
        let stored = self.at(seq);
        let (room, user, at) = (
            RoomId::new("r").unwrap(),
            User::named("ann").unwrap(),
            Timestamp::default(),
        );
        let message = stored.target.unwrap_or(seq);
        // What has become of the message that it is, or is about.
        let changes: Vec<_> = (message + 1..=head)
            .map(|seq| self.at(seq))
            .filter(|entry| entry.target == Some(message))
            .collect();
        let deleted = message <= self.floor || changes.iter().any(|entry| entry.content.is_none());
        let newest = changes.last().map_or(&self.at(message).content, |entry| &entry.content);
        let content = newest.clone().filter(|_| !deleted);
        match (stored.target, &stored.content) {
            (None, _) => {
                let mut entry = Message::new(stored.id, room, seq, user, at);
                entry.content = content;
                entry.edited_at = changes.last().map(|_| at);
                if deleted {
                    entry.bury();
                }
                Entry::Message(entry)
            }
            (Some(target), Some(_)) => {
                let mut entry = Edit::new(stored.id, room, seq, (self.at(target).id, target), user, at);
                entry.content = content;
                Entry::Edit(entry)
            }
            (Some(target), None) => Entry::Delete(Deletion::new(
                stored.id,
                room,
                seq,
                (self.at(target).id, target),
                user,
                at,
            )),
        }
    }

    pub(super) fn page(&self, after: u64, count: usize) -> Vec<Entry> {
        let seqs = after.max(self.floor) + 1..=self.head();
        seqs.take(count).map(|seq| self.as_of(seq, self.head())).collect()
    }
}
