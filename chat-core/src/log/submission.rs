//! A message on its way into the log, and whom to tell what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::outbox::Closing;
use crate::session::Session;
use crate::wire::{self, RequestId};
use crate::{Change, CloseCode, ErrorCode, MessageId, NewEntry, Protocol, Refusal, RoomId, metrics, weight};

/// What the sender of a message is told once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The message; of an edit or a deletion, the message that it is about.
    pub id: MessageId,
    /// The place of the entry in the room's log.
    pub seq: u64,
    /// Whether it had been stored before, under the same nonce.
    pub duplicate: bool,
}

/// An entry that waits for its commit.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) entry: NewEntry,
    /// About what it takes in memory.
    pub(crate) bytes: usize,
    /// When its sender is told that it wasn't stored.
    pub(crate) deadline: Instant,
    pub(crate) sender: Sender,
}

impl Submission {
    /// About what a submission of this change takes in memory.
    pub(crate) fn weight(change: &Change) -> usize {
        size_of::<Self>() + weight::change(change)
    }
}

/// Whom to tell. Told exactly once, whatever happens: if it is dropped, that it is unknown what became of the message.
#[derive(Debug)]
pub(crate) struct Sender(Option<To>);

#[derive(Debug)]
enum To {
    Session {
        session: Arc<Session>,
        request: Option<RequestId>,
        room: RoomId,
    },
    Caller(oneshot::Sender<Result<Receipt, Refusal>>),
}

impl Sender {
    /// A connection's request. It counts as under way from now.
    pub(crate) fn session(session: Arc<Session>, request: Option<RequestId>, room: RoomId) -> Self {
        session.outbox.begin();
        Self(Some(To::Session { session, request, room }))
    }

    /// The embedding server's own call.
    pub(crate) fn caller() -> (Self, oneshot::Receiver<Result<Receipt, Refusal>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(To::Caller(sender))), receiver)
    }

    /// Tells what became of it.
    pub(crate) fn tell(mut self, result: Result<Receipt, Refusal>) {
        self.tell_once(result);
    }

    fn tell_once(&mut self, result: Result<Receipt, Refusal>) {
        if let (Some(_), Err(refusal)) = (&self.0, &result) {
            metrics::refused(refusal.code);
        }
        match self.0.take() {
            None => {}
            Some(To::Caller(sender)) => {
                // The caller may have stopped waiting; the message is stored all the same.
                let _ = sender.send(result);
            }
            Some(To::Session { session, request, room }) => {
                let answer = match (session.protocol, &result) {
                    (Protocol::V1, Ok(receipt)) => Some(wire::ack(
                        request.as_ref(),
                        &room,
                        receipt.id,
                        receipt.seq,
                        receipt.duplicate,
                    )),
                    (Protocol::V1, Err(refusal)) => Some(wire::err(request.as_ref(), refusal)),
                    (Protocol::Plain, Ok(_)) => None,
                    (Protocol::Plain, Err(refusal)) => {
                        session.outbox.close(Closing::of(refusal));
                        None
                    }
                };
                session.outbox.finish(answer);
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.tell_once(Err(unavailable()));
    }
}

/// Nothing is known to be stored: the sender may send it again, with its nonce if it had one.
pub(crate) fn unavailable() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the store does not answer; send it again, with the same nonce if it had one",
    )
    .retry_after(Duration::from_secs(1))
}

/// Something could not be read, and nothing was to be stored.
pub(crate) fn unreadable() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the store does not answer; try again").retry_after(Duration::from_secs(1))
}

/// The nonce stands for another message.
pub(crate) fn nonce_conflict() -> Refusal {
    Refusal::new(ErrorCode::NonceConflict, "the nonce was used for another message")
}

/// The message that the sender is told about.
pub(crate) fn subject(entry: &NewEntry) -> MessageId {
    match &entry.change {
        Change::Message { .. } => entry.id,
        Change::Edit { message, .. } | Change::Delete { message } => *message,
    }
}

impl Closing {
    /// How a plain connection, which has no error frames, is told of a refusal.
    pub(crate) fn of(refusal: &Refusal) -> Self {
        let code = match refusal.code {
            ErrorCode::Unavailable => CloseCode::Unavailable,
            ErrorCode::RateLimited | ErrorCode::TooManyRooms => CloseCode::RateLimited,
            ErrorCode::Forbidden | ErrorCode::BadOrigin | ErrorCode::UnknownRoom => CloseCode::Forbidden,
            ErrorCode::Unauthenticated => CloseCode::Unauthenticated,
            ErrorCode::TooLarge => CloseCode::TooLarge,
            ErrorCode::BadRequest | ErrorCode::NotFound | ErrorCode::NotJoined | ErrorCode::NonceConflict => {
                CloseCode::BadRequest
            }
        };
        Self {
            code,
            after: refusal.retry_after,
            finish: true,
        }
    }
}
