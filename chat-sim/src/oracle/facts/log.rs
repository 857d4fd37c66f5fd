//! A room's log as it is true.

use serde_json::Value;

use super::Moment;

/// A room's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) epoch: String,
    pub(crate) floor: u64,
    records: Vec<Record>,
    /// When it last changed.
    pub(crate) changed: Moment,
}

impl Log {
    pub(crate) fn head(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn record(&self, seq: u64) -> Option<&Record> {
        self.records.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether the message was like this at some moment that `recent` holds for the end of.
    pub(crate) fn was(&self, seq: u64, text: &Text, recent: impl Fn(Moment) -> bool) -> bool {
        let Some(Change::Message { versions, .. }) = self.record(seq).map(|record| &record.change) else {
            return false;
        };
        versions
            .iter()
            .enumerate()
            .any(|(n, (_, was))| was == text && versions.get(n + 1).is_none_or(|(until, _)| recent(*until)))
    }

    /// Whether the message of this id is deleted or removed, or never was.
    pub(crate) fn is_gone(&self, id: &str) -> bool {
        let seq = self.records.iter().position(|record| record.id == id);
        seq.is_none_or(|index| {
            let seq = index as u64 + 1;
            seq <= self.floor || self.was(seq, &Text::Deleted, |_| true)
        })
    }

    /// Whether a plain client is shown this entry.
    pub(crate) fn is_shown_plainly(&self, seq: u64) -> bool {
        seq > self.floor
            && matches!(self.record(seq).map(|record| &record.change),
                Some(Change::Message { versions, .. }) if versions.last().is_some_and(|(_, text)| *text != Text::Deleted))
    }

    /// Takes in what was stored.
    pub(super) fn add(&mut self, now: Moment, mut record: Record) {
        self.changed = now;
        let version = match &mut record.change {
            Change::Message { said, versions, .. } => {
                versions.push((now, Text::Is(said.content.clone())));
                None
            }
            Change::Edit { target, content, .. } => Some((*target, Text::Is(Some(content.clone())))),
            Change::Delete { target, .. } => Some((*target, Text::Deleted)),
        };
        self.records.push(record);
        if let Some((target, said)) = version
            && let Some(Record {
                change: Change::Message { versions, .. },
                ..
            }) = self.records.get_mut(target as usize - 1)
        {
            versions.push((now, said));
        }
    }
}

/// An entry, also when retention has removed it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) change: Change,
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Message {
        nonce: Option<String>,
        /// As it was stored first.
        said: Said,
        /// What it says from when on, if it isn't deleted.
        versions: Vec<(Moment, Text)>,
    },
    Edit {
        target: u64,
        msg: String,
        content: String,
    },
    Delete {
        target: u64,
        msg: String,
    },
}

/// What somebody says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) content: Option<String>,
    pub(crate) data: Option<Value>,
    pub(crate) reply_to: Option<String>,
}

/// The text of a message as it is at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// It says this, or has `data` alone.
    Is(Option<String>),
    Deleted,
}
