//! What the bus carries, and what may become of it on the way.

use std::fmt;

use roomcast_core::{Bytes, Entry, Notice, RoomId};
use serde_json::Value;

use crate::oracle::HubId;
use crate::rng::Rng;

#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// A hub's notice, for those who watch the room, or for all.
    Notice {
        from: HubId,
        room: Option<RoomId>,
        bytes: Bytes,
    },
    /// What the store was seen to write.
    Stored { room: RoomId, entries: Vec<Entry> },
    /// A head, true or not.
    Head { room: RoomId, head: u64 },
    /// What is no notice.
    Garbage(Vec<u8>),
    /// The bus is there again, and doesn't know what it lost.
    Missed,
}

impl Parcel {
    pub(super) fn of(from: HubId, notice: &Notice) -> Self {
        Self::Notice {
            from,
            room: notice.room().cloned(),
            bytes: notice.bytes().clone(),
        }
    }

    /// The room that must be watched to get it. A bus that sees the store asks the hubs when it is there.
    pub(super) fn watched(&self) -> Option<&RoomId> {
        match self {
            Self::Notice { room, .. } => room.as_ref(),
            _ => None,
        }
    }

    /// Which kick it tells of, and who is to be sent away.
    pub(super) fn kicks(&self) -> Option<(String, String)> {
        let Self::Notice { bytes, room: None, .. } = self else {
            return None;
        };
        let kick: Value = serde_json::from_slice(bytes).ok()?;
        let text = |key: &str| kick[key].as_str().map(str::to_owned);
        text("id").zip(text("user"))
    }

    /// What a fault makes of it: nothing that reads as well as a notice and says something else, since what carries notices has
    /// checksums, and the format has none.
    pub(super) fn mangled(&self, rng: &Rng) -> Self {
        match self {
            // Half of a list would read as a list.
            Self::Notice { bytes, .. } if self.tells().is_some() => {
                let mut bytes = bytes.to_vec();
                let at = rng.size(0, bytes.len() - 1);
                bytes[at] ^= 0x80;
                Self::Garbage(bytes)
            }
            Self::Notice { room, bytes, .. } => match (rng.below(6), room) {
                (0, Some(room)) => Self::Head {
                    room: room.clone(),
                    head: *rng.pick(&[0, 1, rng.below(200), 1 << 60, u64::MAX]),
                },
                (1, Some(_)) => Self::Garbage(bytes.repeat(2)),
                (2, Some(_)) => self.with_header(r#""epoch":"e"#, r#""epoch":"x"#),
                (3, Some(_)) => self.with_header(r#""room":"room1""#, r#""room":"room2""#),
                (4, _) => {
                    let mut bytes = bytes.to_vec();
                    // Text that isn't UTF-8 any more, wherever that is.
                    let at = rng.size(0, bytes.len() - 1);
                    bytes[at] ^= 0x80;
                    Self::Garbage(bytes)
                }
                // Cut short: where it ends with a whole line, what is left is true.
                _ => Self::Garbage(bytes[..rng.size(0, bytes.len() - 2)].to_vec()),
            },
            Self::Stored { room, entries } => {
                let (room, mut entries) = (room.clone(), entries.clone());
                match rng.below(3) {
                    0 => entries.truncate(rng.size(0, entries.len() - 1)),
                    1 => drop(entries.remove(rng.size(0, entries.len() - 1))),
                    _ => entries.reverse(),
                }
                Self::Stored { room, entries }
            }
            _ => Self::Garbage(noise(rng)),
        }
    }

    fn with_header(&self, from: &str, to: &str) -> Self {
        match self {
            Self::Notice { bytes, .. } => {
                let text = String::from_utf8_lossy(bytes);
                Self::Garbage(text.replacen(from, to, 1).into_bytes())
            }
            other => other.clone(),
        }
    }
}

/// Somebody else's bytes.
pub(super) fn noise(rng: &Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => Vec::new(),
        1 => b"PING\r\n".to_vec(),
        2 => br#"{"from":"0","t":"committed"}"#.to_vec(),
        _ => (0..rng.below(300)).map(|_| rng.next() as u8).collect(),
    }
}

impl fmt::Display for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice { from, bytes, .. } => write!(f, "by hub {from}: {}", String::from_utf8_lossy(bytes)),
            Self::Stored { room, entries } => {
                let seqs: Vec<_> = entries.iter().map(Entry::seq).collect();
                write!(f, "by the store: {room} {seqs:?}")
            }
            Self::Head { room, head } => write!(f, "{room} has head {head}"),
            Self::Garbage(bytes) => write!(f, "nonsense {:?}", String::from_utf8_lossy(bytes)),
            Self::Missed => write!(f, "that it may have missed something"),
        }
    }
}
