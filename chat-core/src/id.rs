//! Names of things: rooms, users, messages, epochs, nonces.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The largest `seq` that a log may reach, 2^53 - 1: the largest integer that every JSON reader keeps exact.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// A name that doesn't follow its rule. The text says what was wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub(crate) String);

/// The beginning of what somebody sent, in quotation marks: who is told that it is wrong needs no more to know it again. What
/// is said of it stands behind, so it mustn't be long as it is written: at most 64 characters, and less if there are apostrophes in it.
pub(crate) fn quoted(text: &str) -> String {
    let mut written = 0;
    let mut places = text.char_indices();
    let end = places.find(|(_, c)| {
        written += c.escape_debug().len();
        written > 64
    });
    match end {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Checks the length in characters (not bytes) and each character of a name.
fn check(what: &str, max: usize, text: &str, allowed: impl Fn(char) -> bool) -> Result<(), InvalidName> {
    let count = text.chars().count();
    if count == 0 || count > max {
        return Err(InvalidName(format!(
            "{what} has {count} characters; allowed are 1 to {max}"
        )));
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(InvalidName(format!(
            "{what} holds the character {c:?}, which is not allowed"
        ))),
        None => Ok(()),
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The greatest length, in characters.
            pub const MAX_CHARS: usize = $max;

            /// Checks the rule and makes the name.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] says which rule the text breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                check($what, $max, text, $allowed)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;
            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(de::Error::custom)
            }
        }
    };
}

text_name! {
    /// The name of a room: 1 to 128 characters, none of them a control character, white space or one of `/ \ ? # %`.
    ///
    /// This is what every store can keep and every URL can carry. A hub allows less: by default only what
    /// [`RoomId::is_plain_char`] says, settable as [`Limits::room_id_char`](crate::Limits::room_id_char).
    ///
    /// ```
    /// # use roomcast_core::RoomId;
    /// assert_eq!(RoomId::new("lobby")?.as_str(), "lobby");
    /// assert!(RoomId::new("a/b").is_err());
    /// # Ok::<(), roomcast_core::InvalidName>(())
    /// ```
    RoomId, "the room id", 128, |c| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\' | '?' | '#' | '%')
}

impl RoomId {
    /// The default set of a hub: ASCII letters, digits and `- _ . : @ ~`.
    #[must_use]
    pub fn is_plain_char(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '~')
    }
}

text_name! {
    /// The name by which a user is known to the system: 1 to 128 characters, none of them a control character.
    UserId, "the user id", 128, |c| !c.is_control()
}

text_name! {
    /// What makes a send repeatable: 1 to 64 characters that the sender chose, unique for the user and the room.
    ///
    /// A second send with the same nonce and the same content is the same message.
    Nonce, "the nonce", 64, |_| true
}

text_name! {
    /// Which log a `seq` belongs to: 1 to 32 ASCII letters, digits, `-` or `_`.
    ///
    /// A room that is lost and begun again gets another epoch, so that an old cursor is recognised.
    Epoch, "the epoch", 32, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The name of a message, or of another entry of a log: a UUID, by default of version 7 (so that ids sort by time).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

impl MessageId {
    /// The id with these 128 bits.
    #[must_use]
    pub fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The id's 128 bits.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for MessageId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidName(format!("{} is not a message id (a UUID)", quoted(text))))
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Who sends: an id that is unique in the system and a name that people read.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct User {
    id: UserId,
    name: UserName,
}

text_name! {
    /// A user's name as people read it: 1 to 128 characters, none of them a control character.
    UserName, "the user name", 128, |c| !c.is_control()
}

impl User {
    /// A user from its parts.
    #[must_use]
    pub fn new(id: UserId, name: UserName) -> Self {
        Self { id, name }
    }

    /// A user whose name is its id, as in small servers.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the text isn't allowed as a [`UserId`].
    ///
    /// ```
    /// # use roomcast_core::User;
    /// let ann = User::named("ann")?;
    /// assert_eq!((ann.id().as_str(), ann.name()), ("ann", "ann"));
    /// # Ok::<(), roomcast_core::InvalidName>(())
    /// ```
    pub fn named(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let id = UserId::new(name)?;
        Ok(Self {
            name: UserName(id.0.clone()),
            id,
        })
    }

    /// The id, unique in the system.
    #[must_use]
    pub fn id(&self) -> &UserId {
        &self.id
    }

    /// The name that people read.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Where new names come from: [`HubBuilder::ids`](crate::HubBuilder::ids).
///
/// Two calls never give the same name, on any node, before or after a restart.
pub trait IdSource: Send + Sync + 'static {
    /// A new id for an entry that is made now.
    fn message_id(&self) -> MessageId;

    /// A new epoch, for a room that begins.
    fn epoch(&self) -> Epoch;
}

/// The default [`IdSource`]: UUIDs of version 7 from the system's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn message_id(&self) -> MessageId {
        MessageId(Uuid::now_v7())
    }

    fn epoch(&self) -> Epoch {
        // The last 62 bits of a version 7 UUID are random: enough for the few epochs that one room ever has.
        let bits = Uuid::now_v7().as_u128() as u64 & ((1 << 62) - 1);
        Epoch(format!("{bits:x}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_in_characters() {
        assert!(RoomId::new("é".repeat(128)).is_ok());
        let error = RoomId::new("é".repeat(129)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the room id has 129 characters; allowed are 1 to 128"
        );
        assert!(Nonce::new("").is_err());
    }

    #[test]
    fn a_forbidden_character_is_named() {
        assert_eq!(
            RoomId::new("a b").unwrap_err().to_string(),
            "the room id holds the character ' ', which is not allowed"
        );
        assert!(UserId::new("a\0").is_err());
        assert!(Epoch::new("e:1").is_err());
    }

    #[test]
    fn of_a_long_text_only_the_beginning_is_repeated() {
        let long = "é".repeat(10_000);
        let cut = format!("\"{}\"…", "é".repeat(64));
        for (error, what) in [
            (long.parse::<MessageId>().unwrap_err(), "is not a message id (a UUID)"),
            (
                long.parse::<crate::Cursor>().unwrap_err(),
                "is not a cursor (EPOCH:SEQ, as in e1:41)",
            ),
            (
                long.parse::<crate::Timestamp>().unwrap_err(),
                "is not a time in RFC 3339",
            ),
        ] {
            assert_eq!(error.to_string(), format!("{cut} {what}"));
        }
        // Escapes count as they are written.
        assert_eq!(quoted(&"\u{7f}".repeat(65)), format!("\"{}\"…", r"\u{7f}".repeat(10)));
    }

    #[test]
    fn ids_are_distinct_and_round_trip() {
        let (a, b) = (RandomIds.message_id(), RandomIds.message_id());
        assert_ne!(a, b);
        assert!(a < b, "version 7 ids of one process rise");
        assert_eq!(a.to_string().parse::<MessageId>().unwrap(), a);
        assert_eq!(MessageId::from_u128(a.as_u128()), a);
        assert_ne!(RandomIds.epoch(), RandomIds.epoch());
    }
}
