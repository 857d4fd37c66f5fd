//! Somebody who says things, changes and deletes some of them, and repeats whatever isn't acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use roomcast_core::{Draft, ErrorCode, MessageId, Receipt, Refusal, Room, RoomAsUser, User};

/// What the senders of a load share.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) stop: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
}

/// How a message was left, as far as its sender was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Left {
    AsSaid,
    Edited,
    Deleted,
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) id: MessageId,
    pub(crate) seq: u64,
    pub(crate) content: String,
    pub(crate) left: Left,
}

/// What one sender did and was told.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Messages, edits and deletions that were asked for.
    pub(crate) asked: u64,
    /// How often one of them was asked for again, since it was answered with `unavailable`.
    pub(crate) again: u64,
    /// Acknowledged messages that were sent once more, and found.
    pub(crate) found: u64,
    /// Nonces that were used for something else, and refused for good.
    pub(crate) refused: u64,
    pub(crate) said: Vec<Said>,
}

/// What begins so is refused for good, and must be nowhere.
pub(crate) const REFUSED: &str = "refused";

/// Says things until it is told to stop, and returns once the last is answered.
pub(crate) async fn send(room: Room, user: User, signals: Arc<Signals>) -> Sent {
    let mut sender = Sender {
        own: room.as_user(user.clone()),
        room,
        user,
        sent: Sent::default(),
    };
    for number in 0.. {
        if signals.stop.load(Ordering::Relaxed) {
            break;
        }
        let said = sender.say(number).await;
        sender.sent.said.push(said);
        signals.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    sender.sent
}

struct Sender {
    room: Room,
    own: RoomAsUser,
    user: User,
    sent: Sent,
}

enum Ask {
    Say(Draft),
    Edit(MessageId, String),
    Delete(MessageId),
}

impl Sender {
    async fn say(&mut self, number: u64) -> Said {
        let content = format!("{} says {number}", self.user.id());
        let draft = |content: &str| {
            let mut draft = Draft::text(content);
            draft.nonce = Some(number.to_string().parse().unwrap());
            Ask::Say(draft)
        };
        let receipt = self.insist(draft(&content)).await.expect("a message is taken");
        let Receipt { id, seq, .. } = receipt;
        let mut left = Left::AsSaid;
        match number % 16 {
            3 => {
                let again = self.insist(draft(&content)).await.expect("a repeated message is found");
                assert_eq!((again.id, again.seq, again.duplicate), (id, seq, true), "{content}");
                self.sent.found += 1;
            }
            6 => {
                let other = format!("{REFUSED} {content}");
                let answer = self.insist(draft(&other)).await;
                assert_eq!(answer.map_err(|refusal| refusal.code), Err(ErrorCode::NonceConflict));
                self.sent.refused += 1;
            }
            9 => {
                let answer = self.insist(Ask::Edit(id, format!("{content}, or rather not"))).await;
                answer.expect("a message can be edited");
                left = Left::Edited;
            }
            12 => {
                match self.insist(Ask::Delete(id)).await {
                    Ok(_) => {}
                    // An earlier try was stored after all.
                    Err(refusal) => assert_eq!(refusal.code, ErrorCode::NotFound, "{refusal}"),
                }
                left = Left::Deleted;
            }
            _ => {}
        }
        Said { id, seq, content, left }
    }

    /// Asks until there is an answer that says what became of it.
    async fn insist(&mut self, ask: Ask) -> Result<Receipt, Refusal> {
        self.sent.asked += 1;
        loop {
            let answer = match &ask {
                Ask::Say(draft) => self.room.publish(&self.user, draft.clone()).await,
                Ask::Edit(message, content) => self.own.edit(*message, content).await,
                Ask::Delete(message) => self.own.delete(*message).await,
            };
            match answer {
                Err(refusal) if refusal.code == ErrorCode::Unavailable => {
                    self.sent.again += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
    }
}
