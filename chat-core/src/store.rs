//! The contract of a store: where rooms' logs are kept.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Entry, Epoch, Fingerprint, JsonObject, Message, MessageId, Nonce, RoomId, Timestamp, User, UserId};

/// Where rooms' logs are kept. **The store is the truth about order; everything else is a hint.**
///
/// A room is an append-only log of [entries](Entry), numbered densely from 1 by `seq`. Several hubs, in one process or
/// on many machines, may use one store at the same time.
///
/// # What every method keeps to
///
/// - *Durability*: what is reported as stored survives a crash of the process, and of the machine as far as the
///   store's settings promise.
/// - *Reads follow writes*: a read that begins after an append was reported sees what it stored.
/// - *Dropped futures*: any future may be dropped at any `.await`. A dropped read has no effect. A dropped write either
///   happens as a whole, as far as one call to the trait is concerned, or a prefix of it does; the caller
///   finds out which by reading.
/// - *Deleted is gone*: once a deletion is stored, no method gives out what the message had said, in any version.
///   What was edited is given out with its newest content only, wherever the log speaks of it.
///
/// The contract is written down as a suite of tests in the crate `roomcast-testkit`; run it on your own store.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Where the room's log stands; `None` if the room doesn't exist.
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError>;

    /// Where the room's log stands; begins an empty log with this epoch if the room doesn't exist.
    ///
    /// Idempotent: if two writers call it at the same time, both get the one epoch that was stored. The epoch is durable
    /// when this returns, since clients keep it in their cursors.
    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError>;

    /// The rooms in rising order of their ids (compared as bytes), after `after` (which need not exist), at most `limit`.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError>;

    /// Compare-and-append: adds the entries to the room's log in order, if its head still is `expected_head`.
    ///
    /// For each entry in turn:
    /// - A nonce that the log has from this user is not stored again: [`Outcome::Duplicate`] with the first one's
    ///   id and seq, or [`Outcome::NonceConflict`] if the fingerprint differs. That goes for two entries of one call too.
    ///   A nonce is remembered as long as its message is kept (a tombstone counts).
    /// - An edit or deletion of a message that isn't in the log, was deleted, or is an entry of another kind, is not
    ///   stored: [`Outcome::NoTarget`]. An earlier entry of the same call counts.
    /// - Anything else gets the next number: [`Outcome::Stored`]. What isn't stored takes no number.
    ///
    /// If another writer came between, at the start or midway, the call stops there: it reports the outcomes of the
    /// entries before (perhaps none) and the head as it now is. Fewer outcomes than entries is thus no error: the
    /// caller reads what it missed and offers the rest again.
    ///
    /// Each entry comes with an id that no other entry has. After [`StoreErrorKind::OutcomeUnknown`], or a dropped future,
    /// the caller looks for that id in the log.
    ///
    /// # Errors
    ///
    /// An error means that no entry of this call is stored, unless its kind is [`StoreErrorKind::OutcomeUnknown`].
    /// The room must exist ([`create_room`](Self::create_room)); otherwise the kind is [`StoreErrorKind::Refused`].
    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError>;

    /// The log after `after`, in rising order and without holes, as much as `limit` allows; a message as it now
    /// is, with edits and deletions at their own numbers.
    ///
    /// The first entry's seq is `max(after, floor) + 1`. The page is empty only if `after` is at or past the head, or if
    /// the room doesn't exist (then `floor` and `head` are 0). No value of `after` or `limit` is an error.
    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError>;

    /// Messages (and tombstones) in rising order, without the edits and deletions themselves; at most `limit`. A store may
    /// stop earlier at about [`PageLimit::DEFAULT_BYTES`], but never before the first message. A limit of 0 gives no
    /// message, and `more` says whether there are any.
    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError>;

    /// One message as it now is, or its tombstone; `None` if the log has no message of this id (any longer).
    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Which message the user sent in this room with this nonce; `None` if the log has none such (any longer). A tombstone
    /// counts. The hub asks when a message is refused: if it was stored before, its sender gets the first acknowledgement.
    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError>;

    /// Whether the store could serve now; cheap enough to be asked every second.
    async fn health(&self) -> Result<(), StoreError>;

    /// Finishes what was begun and lets go of files and connections. Calls after it are
    /// [`Refused`](StoreErrorKind::Refused). Idempotent.
    async fn close(&self) -> Result<(), StoreError>;

    /// Full-text search, if the store has it.
    fn search(&self) -> Option<&dyn MessageSearch> {
        None
    }
}

/// A store that can search messages by their words.
#[async_trait]
pub trait MessageSearch: Send + Sync {
    /// The newest messages of the room that hold all the words of `query`, those with a seq below `before` if
    /// given, at most `limit`, in falling order of seq. Words are runs of letters and digits; case doesn't matter. `query`
    /// is plain text: no character of it is an operator, and one without any word finds nothing. Only `content` is
    /// searched. Deleted messages are never found, edited ones by their newest content only.
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError>;
}

/// The words of a text as [`MessageSearch`] has them: its longest runs of letters and digits, in lower case.
///
/// ```
/// # use roomcast_core::search_words;
/// assert!(search_words("don't, FOO_bar 42").eq(["don", "t", "foo", "bar", "42"]));
/// ```
pub fn search_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Where a room's log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHead {
    /// Which log it is.
    pub epoch: Epoch,
    /// The seq of the newest entry; 0 if there is none yet.
    pub head: u64,
    /// The highest seq that retention has removed; 0 if none. The log holds `floor + 1 ..= head`.
    pub floor: u64,
}

/// A room in a list of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// The room.
    pub id: RoomId,
    /// Where its log stands.
    pub head: RoomHead,
}

/// An entry that is to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// The entry's id, never used before.
    pub id: MessageId,
    /// Who says it.
    pub user: User,
    /// When the hub accepted it.
    pub at: Timestamp,
    /// What it says.
    pub change: Change,
}

/// What a new entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new message.
    Message {
        /// The text.
        content: Option<String>,
        /// What the application adds.
        data: Option<JsonObject>,
        /// The message of the same room that this one answers; the store doesn't check it.
        reply_to: Option<MessageId>,
        /// Makes the send repeatable, within the room and the user's id.
        nonce: Option<(Nonce, Fingerprint)>,
    },
    /// The message's content becomes this.
    Edit {
        /// Which message.
        message: MessageId,
        /// The new content.
        content: String,
    },
    /// The message becomes a tombstone.
    Delete {
        /// Which message.
        message: MessageId,
    },
}

/// What came of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// What came of the first entries, in order; fewer than were given if another writer came between.
    pub outcomes: Vec<Outcome>,
    /// The room's head after the call.
    pub head: u64,
}

/// What came of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Stored {
        /// At this place.
        seq: u64,
        /// The place of the message that it edits or deletes.
        target: Option<u64>,
    },
    /// The same was stored before under this nonce.
    Duplicate {
        /// The first one's id.
        id: MessageId,
        /// The first one's place.
        seq: u64,
    },
    /// Something else was stored before under this nonce.
    NonceConflict,
    /// There is no message to edit or delete.
    NoTarget,
}

/// A message that was sent with a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub id: MessageId,
    /// Its place.
    pub seq: u64,
    /// What it was told from others by.
    pub fingerprint: Fingerprint,
}

/// How much a page may hold: reading stops at whichever bound is met first, but never before one entry (even if a bound
/// is 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Entries.
    pub entries: usize,
    /// Bytes of content and data, about.
    pub bytes: usize,
}

impl PageLimit {
    /// 1 MiB, the default bound in bytes.
    pub const DEFAULT_BYTES: usize = 1 << 20;

    /// At most that many entries, and 1 MiB.
    #[must_use]
    pub fn entries(entries: usize) -> Self {
        Self {
            entries,
            bytes: Self::DEFAULT_BYTES,
        }
    }
}

/// A piece of a log. All of it is from one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPage {
    /// The entries, in rising order and without holes.
    pub entries: Vec<Entry>,
    /// The highest seq that retention has removed.
    pub floor: u64,
    /// The seq of the newest entry of the log.
    pub head: u64,
}

/// Which messages a history page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Newest,
    /// The newest of those with a smaller seq.
    Before(u64),
    /// The oldest of those with a larger seq.
    After(u64),
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are further ones in the direction of reading.
    pub more: bool,
}

/// Why a store failed. The kind says what the caller can do.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct StoreError {
    kind: StoreErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It had no effect and may well succeed when tried again soon: busy, locked, not reachable.
    Unavailable,
    /// A write may have had its effect or not, or may have it yet: time-out, connection lost. Read before writing again.
    OutcomeUnknown,
    /// It had no effect, and trying again won't help until somebody acts: disk full, damaged file, no permission.
    Refused,
}

impl StoreError {
    /// An error of this kind, with a sentence that says what failed, for people.
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

#[async_trait]
impl<S: MessageStore + ?Sized> MessageStore for Arc<S> {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        (**self).room(room).await
    }
    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        (**self).create_room(room, epoch).await
    }
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        (**self).rooms(after, limit).await
    }
    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        (**self).append(room, expected_head, entries).await
    }
    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        (**self).log(room, after, limit).await
    }
    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        (**self).history(room, range, limit).await
    }
    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        (**self).message(room, id).await
    }
    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        (**self).sent(room, user, nonce).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        (**self).health().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
    fn search(&self) -> Option<&dyn MessageSearch> {
        (**self).search()
    }
}
