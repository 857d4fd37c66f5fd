//! Where a reader of a room stands.

use std::fmt;
use std::str::FromStr;

use crate::id::quoted;
use crate::{Epoch, InvalidName, MAX_SEQ};

/// A place in a room's log: everything up to and including `seq` was seen. Written `EPOCH:SEQ`.
///
/// ```
/// # use roomcast_core::Cursor;
/// let cursor: Cursor = "e1:41".parse()?;
/// assert_eq!((cursor.epoch.as_str(), cursor.seq), ("e1", 41));
/// # Ok::<(), roomcast_core::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The log that `seq` belongs to.
    pub epoch: Epoch,
    /// The last entry that was seen; 0 if none was.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName(format!("{} is not a cursor (EPOCH:SEQ, as in e1:41)", quoted(text)));
        let (epoch, seq) = text.split_once(':').ok_or_else(wrong)?;
        // `u64::from_str` would take a sign.
        if seq.is_empty() || !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        match seq.parse() {
            Ok(seq) if seq <= MAX_SEQ => Ok(Self {
                epoch: Epoch::new(epoch)?,
                seq,
            }),
            _ => Err(InvalidName(format!("the seq of a cursor is at most {MAX_SEQ}"))),
        }
    }
}

/// Where a join begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// With the live stream alone.
    #[default]
    Live,
    /// With every entry after this cursor.
    Since(Cursor),
    /// With the last messages, that many (and the edits and deletions among them).
    Last(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        for text in ["e1:0", "e1:41", "a-b_C:9007199254740991"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            ":",
            "e1",
            "e1:",
            ":1",
            "e1:-1",
            "e1:+1",
            "e1:1:2",
            "e1: 1",
            "e 1:1",
            "e1:9007199254740992",
            "e1:99999999999999999999999",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
