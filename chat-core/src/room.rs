//! A room as the embedding server sees it.

use crate::bugs::bug;
use crate::engine::{RoomLease, stopping};
use crate::log::{Receipt, Sender, store_failed, unavailable};
use crate::{
    Draft, ErrorCode, HistoryPage, HistoryRange, Hub, MessageId, Presence, Refusal, RoomHead, RoomId, User, presence,
};

/// A room, as the embedding server sees it. Cheap to make and to clone; it keeps nothing in use.
#[derive(Debug, Clone)]
pub struct Room {
    hub: Hub,
    id: RoomId,
}

impl Room {
    pub(crate) fn new(hub: Hub, id: RoomId) -> Self {
        Self { hub, id }
    }

    /// The room's id.
    #[must_use]
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Where the room's log stands; `None` if there is no such room.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Unavailable`] if the store doesn't answer.
    pub async fn head(&self) -> Result<Option<RoomHead>, Refusal> {
        let engine = self.hub.engine();
        engine
            .read(engine.store.room(&self.id))
            .await
            .map_err(|error| store_failed(&self.id, &error))
    }

    /// How many connections are in the room, on this node.
    #[must_use]
    pub fn online(&self) -> usize {
        self.hub
            .engine()
            .room_in_use(&self.id)
            .map_or(0, |log| log.member_count())
    }

    /// Who is in the room, on this node: each user once, in the order of their ids.
    #[must_use]
    pub fn members(&self) -> Vec<User> {
        let mut users = Vec::new();
        if let Some(log) = self.hub.engine().room_in_use(&self.id) {
            log.for_each_member(|session| users.push(session.user.clone()));
        }
        users.sort_by(|a, b| a.id().cmp(b.id()));
        users.dedup_by(|a, b| a.id() == b.id());
        users
    }

    /// Who is in the room, on all nodes, as far as is known here. Without a [bus](crate::HubBuilder::bus) that is this node, and
    /// nothing is waited for. With one, others are asked: the first answer about a room takes about a third of a second, or a
    /// second where the bus is slow; later ones come at once, for three times
    /// [`Limits::presence_heartbeat`](crate::Limits::presence_heartbeat) after each. A node that had nobody in the room when it was
    /// last asked, since it has just started for example, doesn't know that anybody wants to know: its users are missing until the
    /// others ask again, which takes one heartbeat at most, unless one of them asks who is there as well. Cancel safe.
    pub async fn presence(&self) -> Presence {
        presence::of(self.hub.engine(), &self.id).await
    }

    /// Says something in the server's own name, or in that of a user whom it trusts: no policy is asked and
    /// no rate counted. Returns once it is durable. The room begins if there is none.
    ///
    /// If the future is dropped, the message may be stored or not; a nonce in the draft makes it safe to try again.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadRequest`] or [`ErrorCode::TooLarge`] for a draft that isn't one, [`ErrorCode::NotFound`] if
    /// `reply_to` names nothing, [`ErrorCode::NonceConflict`], and [`ErrorCode::Unavailable`] if the store doesn't answer or the
    /// hub is stopping.
    ///
    /// ```
    /// # use roomcast_core::{Draft, Hub, MemoryStore, OpenPolicy, RoomId, User};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
    /// let lobby = hub.room(RoomId::new("lobby")?);
    /// let receipt = lobby.publish(&User::named("bot")?, Draft::text("good morning")).await?;
    /// assert_eq!(receipt.seq, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish(&self, user: &User, draft: Draft) -> Result<Receipt, Refusal> {
        self.hub.engine().check_draft(&draft)?;
        self.submit(async |lease, sender| self.hub.engine().send(lease, user, draft, true, sender).await)
            .await
    }

    /// Does things as this user, as the policy allows: for HTTP handlers and the like.
    #[must_use]
    pub fn as_user(&self, user: User) -> RoomAsUser {
        RoomAsUser {
            room: self.clone(),
            user,
        }
    }

    async fn submit(&self, submit: impl AsyncFnOnce(&RoomLease, Sender)) -> Result<Receipt, Refusal> {
        let engine = self.hub.engine();
        if engine.draining.is_cancelled() {
            return Err(stopping());
        }
        engine.check_room_id(&self.id)?;
        let lease = engine.open(&self.id).await?;
        let (sender, receipt) = Sender::caller();
        submit(&lease, sender).await;
        receipt.await.unwrap_or_else(|_| Err(unavailable()))
    }
}

/// A room as one user may use it: every call asks the [`Policy`](crate::Policy). No rate is counted; that is up to the caller.
#[derive(Debug, Clone)]
pub struct RoomAsUser {
    room: Room,
    user: User,
}

impl RoomAsUser {
    /// Sends a message; see [`Room::publish`].
    ///
    /// # Errors
    ///
    /// Those of [`Room::publish`], and what the policy says to joining and sending.
    pub async fn send(&self, draft: Draft) -> Result<Receipt, Refusal> {
        let engine = self.room.hub.engine();
        engine.check_room_id(&self.room.id)?;
        engine.check_draft(&draft)?;
        engine.may_join(&self.user, &self.room.id).await?;
        self.room
            .submit(async |lease, sender| engine.send(lease, &self.user, draft, false, sender).await)
            .await
    }

    /// Changes a message's content.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NotFound`] if there is no such message, what the policy says, and [`ErrorCode::Unavailable`].
    pub async fn edit(&self, message: MessageId, content: impl Into<String>) -> Result<Receipt, Refusal> {
        let engine = self.existing().await?;
        let content = content.into();
        engine.check_content(&content)?;
        self.room
            .submit(async |lease, sender| engine.edit(lease, &self.user, message, content, sender).await)
            .await
    }

    /// Deletes a message.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NotFound`] if there is no such message, what the policy says, and [`ErrorCode::Unavailable`].
    pub async fn delete(&self, message: MessageId) -> Result<Receipt, Refusal> {
        let engine = self.existing().await?;
        self.room
            .submit(async |lease, sender| engine.delete(lease, &self.user, message, sender).await)
            .await
    }

    /// A page of messages in rising order; without a limit, of [`Limits::history_page`](crate::Limits::history_page).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnknownRoom`], [`ErrorCode::BadRequest`] for a limit that is 0 or above
    /// [`Limits::history_page_max`](crate::Limits::history_page_max), what the policy says, and [`ErrorCode::Unavailable`].
    pub async fn history(&self, range: HistoryRange, limit: Option<usize>) -> Result<HistoryPage, Refusal> {
        let engine = self.existing().await?;
        engine.may_read(&self.user, &self.room.id).await?;
        engine.history(&self.room.id, range, limit).await
    }

    /// The newest messages that hold all these words, newest first; see
    /// [`MessageSearch::search`](crate::MessageSearch::search).
    ///
    /// # Errors
    ///
    /// Those of [`history`](Self::history); [`ErrorCode::BadRequest`] if the query has no word or the store can't search.
    pub async fn search(&self, query: &str, before: Option<u64>, limit: Option<usize>) -> Result<HistoryPage, Refusal> {
        let engine = self.existing().await?;
        let limit = engine.page(limit)?;
        if query.len() > 1024 || !query.chars().any(char::is_alphanumeric) {
            return Err(crate::verbs::bad(
                "a search needs at least one word, and at most 1,024 bytes",
            ));
        }
        if !bug!(SearchUnasked) {
            engine.may_read(&self.user, &self.room.id).await?;
        }
        let Some(search) = engine.store.search() else {
            return Err(crate::verbs::bad("the store of this server can't search"));
        };
        let found = engine.read(search.search(&self.room.id, query, before, limit)).await;
        found.map_err(|error| store_failed(&self.room.id, &error))
    }

    /// Who is in the room; see [`Room::presence`].
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnknownRoom`], what the policy says, and [`ErrorCode::Unavailable`].
    pub async fn presence(&self) -> Result<Presence, Refusal> {
        let engine = self.existing().await?;
        engine.may_see(&self.user, &self.room.id).await?;
        Ok(self.room.presence().await)
    }

    /// The engine, if the room exists and the user may be in it.
    async fn existing(&self) -> Result<&crate::engine::Engine, Refusal> {
        let engine = self.room.hub.engine();
        engine.check_room_id(&self.room.id)?;
        engine.may_join(&self.user, &self.room.id).await?;
        match self.room.head().await? {
            Some(_) => Ok(engine),
            None => Err(Refusal::new(ErrorCode::UnknownRoom, "there is no such room")),
        }
    }
}
