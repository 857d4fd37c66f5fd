//! Who may do what.

use std::borrow::Cow;

use async_trait::async_trait;

use crate::{Draft, Message, RoomId, User};

/// Who may do what. Asked for every verb, before anything happens; no verb has a default.
///
/// It may look at what is to be stored, and change it. The hub calls it with no lock held, in the order in which a
/// connection sends its requests, and waits for the answer before it takes the next request of that connection; it may
/// thus be slow for one connection without slowing another. The future is dropped if the connection ends, and after
/// [`Limits::policy`](crate::Limits::policy); then the request is refused as `unavailable`.
///
/// A policy that panics takes the connection with it: the client finds it broken, without a `bye` or a close code, and a request
/// that opens one gets no answer.
///
/// What the hub checks by itself before it asks: limits, that the room is joined, that the message exists.
///
/// Its methods are async and it is used as a trait object, so implementations carry the attribute
/// [`#[async_trait]`](macro@crate::async_trait), which this crate re-exports:
///
/// ```
/// use roomcast_core::{Denied, Draft, Hub, MemoryStore, Message, OpenPolicy, Policy, RoomId, User, async_trait};
///
/// /// Rooms that begin with `staff-` are for the staff; elsewhere guests may read, but not speak.
/// struct House;
///
/// #[async_trait]
/// impl Policy for House {
///     async fn join(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
///         if room.as_str().starts_with("staff-") && !user.id().as_str().ends_with("@example.org") {
///             return Err(Denied::forbidden("this room is for the staff"));
///         }
///         Ok(())
///     }
///
///     async fn send(&self, user: &User, _: &RoomId, draft: &mut Draft) -> Result<(), Denied> {
///         if user.id().as_str().starts_with("guest-") {
///             return Err(Denied::forbidden("sign in to speak"));
///         }
///         if let Some(content) = &mut draft.content {
///             *content = content.replace("darn", "****"); // stored and shown so
///         }
///         Ok(())
///     }
///
///     // What isn't special here is left to the policy for open places.
///     async fn edit(&self, user: &User, message: &Message, content: &mut String) -> Result<(), Denied> {
///         OpenPolicy.edit(user, message, content).await
///     }
///
///     async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied> {
///         OpenPolicy.delete(user, message).await
///     }
///
///     async fn history(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
///         self.join(user, room).await
///     }
///
///     async fn presence(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
///         self.join(user, room).await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder(MemoryStore::new(), House).build()?;
/// let staff = hub.room(RoomId::new("staff-room")?);
/// let ann = staff.as_user(User::named("ann@example.org")?);
/// assert!(ann.send(Draft::text("darn")).await.is_ok());
/// assert!(staff.as_user(User::named("eve")?).send(Draft::text("hi")).await.is_err());
/// # Ok(())
/// # }
/// ```
///
/// With the crate `roomcast` alone, the same names are in `roomcast`.
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// May the user be in this room, seeing what is said there from now on? A room that the store doesn't have is begun there by
    /// whoever joins it, for good: where users may not make rooms, answer [`Denied::unknown_room`] for names that aren't yours.
    async fn join(&self, user: &User, room: &RoomId) -> Result<(), Denied>;

    /// May the user send this? The draft may be changed; the nonce is not.
    async fn send(&self, user: &User, room: &RoomId, draft: &mut Draft) -> Result<(), Denied>;

    /// May the user change this message's content into that? The new content may be changed in turn.
    async fn edit(&self, user: &User, message: &Message, content: &mut String) -> Result<(), Denied>;

    /// May the user delete this message?
    async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied>;

    /// May the user see what was said before in this room? Asked for history pages, for search, and for joins with a
    /// cursor or with the last messages, after [`join`](Self::join) was allowed.
    async fn history(&self, user: &User, room: &RoomId) -> Result<(), Denied>;

    /// May the user see who is in this room, and who comes and goes? Asked for joins that want to know, and for
    /// [`RoomAsUser::presence`](crate::RoomAsUser::presence), after [`join`](Self::join) was allowed.
    async fn presence(&self, user: &User, room: &RoomId) -> Result<(), Denied>;
}

/// The answer no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    pub(crate) kind: DeniedKind,
    pub(crate) reason: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeniedKind {
    Forbidden,
    UnknownRoom,
    Unavailable,
}

impl Denied {
    /// The user may not. The reason is shown to the user.
    #[must_use]
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: DeniedKind::Forbidden,
            reason: reason.into(),
        }
    }

    /// There is no such room, where rooms must exist before they are joined.
    #[must_use]
    pub fn unknown_room() -> Self {
        Self {
            kind: DeniedKind::UnknownRoom,
            reason: "there is no such room".into(),
        }
    }

    /// It can't be decided now, because something that the policy needs doesn't answer.
    #[must_use]
    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: DeniedKind::Unavailable,
            reason: reason.into(),
        }
    }
}

/// A policy for open places: everybody may join every room, read its history, see who is there and speak; only the author may edit
/// or delete.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenPolicy;

#[async_trait]
impl Policy for OpenPolicy {
    async fn join(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }

    async fn send(&self, _: &User, _: &RoomId, _: &mut Draft) -> Result<(), Denied> {
        Ok(())
    }

    async fn edit(&self, user: &User, message: &Message, _: &mut String) -> Result<(), Denied> {
        author(user, message)
    }

    async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied> {
        author(user, message)
    }

    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }

    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
}

fn author(user: &User, message: &Message) -> Result<(), Denied> {
    if user.id() == message.user.id() {
        Ok(())
    } else {
        Err(Denied::forbidden("only the author may change or delete a message"))
    }
}
