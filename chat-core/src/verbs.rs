//! What a user does in a room, checked against limits and policy: the same for connections and for HTTP.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::bugs::bug;
use crate::client::JoinOptions;
use crate::engine::{Engine, RoomLease};
use crate::log::{Receipt, Sender, Submission, nonce_conflict, store_failed, unavailable};
use crate::{
    Change, Denied, Draft, ErrorCode, Fingerprint, HistoryPage, HistoryRange, Message, MessageId, NewEntry, Nonce,
    Refusal, RoomId, Start, User,
};

impl Engine {
    /// Whether a room of this name may be joined or spoken in.
    pub(crate) fn check_room_id(&self, id: &RoomId) -> Result<(), Refusal> {
        match id.as_str().chars().find(|c| !(self.limits.room_id_char)(*c)) {
            Some(c) => Err(bad(format!(
                "the room id holds the character {c:?}, which is not allowed here"
            ))),
            None if matches!(id.as_str(), "." | "..") => Err(bad("a room id can't be . or ..")),
            None => Ok(()),
        }
    }

    /// Whether a join may begin so.
    pub(crate) fn check_start(&self, start: &Start) -> Result<(), Refusal> {
        let most = self.limits.history_page_max;
        match start {
            Start::Last(count) if *count > most => Err(bad(format!("last is {count}; allowed are at most {most}"))),
            _ => Ok(()),
        }
    }

    /// Whether the user may be in the room.
    pub(crate) async fn may_join(&self, user: &User, room: &RoomId) -> Result<(), Refusal> {
        self.ask(self.policy.join(user, room)).await
    }

    /// Whether the user, who may join, may see what the join asks for.
    pub(crate) async fn may_begin(&self, user: &User, room: &RoomId, options: &JoinOptions) -> Result<(), Refusal> {
        if options.start != Start::Live && !bug!(HistoryUnasked) {
            self.may_read(user, room).await?;
        }
        if options.presence {
            self.may_see(user, room).await?;
        }
        Ok(())
    }

    /// Whether the user, who may join, may see who is there.
    pub(crate) async fn may_see(&self, user: &User, room: &RoomId) -> Result<(), Refusal> {
        self.ask(self.policy.presence(user, room)).await
    }

    /// Whether the user, who may join, may see what was said before.
    pub(crate) async fn may_read(&self, user: &User, room: &RoomId) -> Result<(), Refusal> {
        self.ask(self.policy.history(user, room)).await
    }

    /// Waits for an answer of the policy, but not for ever.
    async fn ask(&self, answer: impl Future<Output = Result<(), Denied>>) -> Result<(), Refusal> {
        match tokio::time::timeout(self.limits.policy, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                tracing::warn!("the policy took too long to answer");
                let refusal = Refusal::new(
                    ErrorCode::Unavailable,
                    "it can't be decided now whether this is allowed",
                );
                Err(refusal.retry_after(Duration::from_secs(1)))
            }
        }
    }

    /// The user sends a message, whose draft was checked: asks the policy, unless it is the server's own, and queues it.
    pub(crate) async fn send(&self, room: &RoomLease, user: &User, mut draft: Draft, own: bool, sender: Sender) {
        // Of what was asked for, before the policy changes it.
        let nonce = draft.nonce.clone().map(|nonce| (nonce, draft.fingerprint()));
        let allowed = async {
            if !own {
                self.ask(self.policy.send(user, &room.log().id, &mut draft)).await?;
                self.check_draft(&draft)?;
            }
            if let Some(id) = draft.reply_to
                && self.message(room, id).await?.is_none()
            {
                return Err(Refusal::new(
                    ErrorCode::NotFound,
                    "reply_to names no message of this room",
                ));
            }
            Ok(())
        };
        if let Err(refusal) = allowed.await {
            return sender.tell(self.sent_before(room, user, nonce, refusal).await);
        }
        let message = Change::Message {
            content: draft.content,
            data: draft.data,
            reply_to: draft.reply_to,
            nonce,
        };
        self.submit(room, user, Ok(message), sender).await;
    }

    /// The answer to a message that is refused. What was stored is acknowledged again, even if it couldn't be sent now: because
    /// the message that it answers is gone meanwhile, say, or the user was faster than the policy likes.
    async fn sent_before(
        &self,
        room: &RoomLease,
        user: &User,
        nonce: Option<(Nonce, Fingerprint)>,
        refusal: Refusal,
    ) -> Result<Receipt, Refusal> {
        let Some((nonce, fingerprint)) = nonce else {
            return Err(refusal);
        };
        let log = room.log();
        match log.sent(user.id(), &nonce).await {
            Ok(Some(sent)) if sent.fingerprint == fingerprint => Ok(Receipt {
                id: sent.id,
                seq: sent.seq,
                duplicate: true,
            }),
            Ok(Some(_)) => Err(nonce_conflict()),
            Ok(None) => Err(refusal),
            Err(error) => {
                store_failed(&log.id, &error);
                Err(unavailable())
            }
        }
    }

    /// The user changes a message. The content was checked.
    pub(crate) async fn edit(
        &self,
        room: &RoomLease,
        user: &User,
        message: MessageId,
        mut content: String,
        sender: Sender,
    ) {
        let ready = async {
            let current = self.live_message(room, message).await?;
            self.ask(self.policy.edit(user, &current, &mut content)).await?;
            self.check_content(&content)?;
            Ok(Change::Edit { message, content })
        };
        self.submit(room, user, ready.await, sender).await;
    }

    /// The user deletes a message.
    pub(crate) async fn delete(&self, room: &RoomLease, user: &User, message: MessageId, sender: Sender) {
        let ready = async {
            let current = self.live_message(room, message).await?;
            self.ask(self.policy.delete(user, &current)).await?;
            Ok(Change::Delete { message })
        };
        self.submit(room, user, ready.await, sender).await;
    }

    /// A page of messages, without asking anybody.
    pub(crate) async fn history(
        &self,
        room: &RoomId,
        range: HistoryRange,
        limit: Option<usize>,
    ) -> Result<HistoryPage, Refusal> {
        let limit = self.page(limit)?;
        self.read(self.store.history(room, range, limit))
            .await
            .map_err(|error| store_failed(room, &error))
    }

    /// How many messages a page has.
    pub(crate) fn page(&self, limit: Option<usize>) -> Result<usize, Refusal> {
        let most = self.limits.history_page_max;
        match limit {
            None => Ok(self.limits.history_page),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(limit) => Err(bad(format!("limit is {limit}; allowed are 1 to {most}"))),
        }
    }

    async fn submit(&self, room: &RoomLease, user: &User, change: Result<Change, Refusal>, sender: Sender) {
        let change = match change {
            Ok(change) => change,
            Err(refusal) => return sender.tell(Err(refusal)),
        };
        let bytes = Submission::weight(&change);
        let entry = NewEntry {
            id: self.ids.message_id(),
            user: user.clone(),
            at: self.clock.now(),
            change,
        };
        let deadline = Instant::now() + self.limits.commit;
        room.submit(Submission {
            entry,
            bytes,
            deadline,
            sender,
        })
        .await;
    }

    /// The message, if it is there and not deleted.
    async fn live_message(&self, room: &RoomLease, id: MessageId) -> Result<Message, Refusal> {
        match self.message(room, id).await? {
            Some(message) if !message.deleted => Ok(message),
            _ => Err(Refusal::new(ErrorCode::NotFound, "there is no such message")),
        }
    }

    async fn message(&self, room: &RoomLease, id: MessageId) -> Result<Option<Message>, Refusal> {
        room.log()
            .message(id)
            .await
            .map_err(|error| store_failed(&room.log().id, &error))
    }

    /// Whether this is a message, and not too large.
    pub(crate) fn check_draft(&self, draft: &Draft) -> Result<(), Refusal> {
        if draft.content.as_ref().is_some_and(String::is_empty) {
            return Err(bad("content is empty"));
        }
        if draft.content.is_none() && draft.data.is_none() {
            return Err(bad("a message needs content, or data, or both"));
        }
        if draft
            .data
            .as_ref()
            .is_some_and(|data| !are_within(data.values(), DATA_LEVELS - 1))
        {
            return Err(bad(format!("data may be nested {DATA_LEVELS} levels deep at most")));
        }
        let data = draft.data.as_ref().map_or(0, data_bytes);
        self.check_size(draft.content.as_ref().map_or(0, String::len) + data)
    }

    /// Whether this may be a message's content.
    pub(crate) fn check_content(&self, content: &str) -> Result<(), Refusal> {
        if content.is_empty() {
            return Err(bad("content is empty"));
        }
        self.check_size(content.len())
    }

    fn check_size(&self, bytes: usize) -> Result<(), Refusal> {
        let most = self.limits.message_bytes;
        if bytes > most {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("the message takes {bytes} bytes; allowed are {most}"),
            ));
        }
        Ok(())
    }
}

/// How deep `data` may be nested. serde_json reads 127 levels, and so do other readers that care for their stack: a page of
/// history has three around the data. A store that keeps JSON couldn't give back what is much deeper.
const DATA_LEVELS: usize = 124;

/// Whether none of the values has more levels than that.
fn are_within<'a>(values: impl IntoIterator<Item = &'a Value>, levels: usize) -> bool {
    values.into_iter().all(|value| match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => false,
        (Value::Array(values), Some(levels)) => are_within(values, levels),
        (Value::Object(object), Some(levels)) => are_within(object.values(), levels),
        _ => true,
    })
}

/// Where a request's range lies, unless both ends are given.
pub(crate) fn range(before: Option<u64>, after: Option<u64>) -> Result<HistoryRange, Refusal> {
    match (before, after) {
        (None, None) => Ok(HistoryRange::Newest),
        (Some(before), None) => Ok(HistoryRange::Before(before)),
        (None, Some(after)) => Ok(HistoryRange::After(after)),
        (Some(_), Some(_)) => Err(bad("at most one of before and after may be given")),
    }
}

pub(crate) fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// The size of the object as JSON, counted without writing it down.
fn data_bytes(data: &crate::JsonObject) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither the counter nor an object with text keys can fail.
    let _ = serde_json::to_writer(&mut count, data);
    count.0
}
