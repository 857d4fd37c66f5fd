//! The contract of a bus: how hubs that share a store tell each other what is new.

mod inbox;
mod kicks;
mod link;
mod local;
mod notice;
mod presence;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;

use crate::RoomId;

pub use inbox::Inbox;
pub(crate) use link::{Link, run};
pub use local::LocalBus;
pub use notice::Notice;
#[cfg(fuzzing)]
pub(crate) use notice::{Heard, News};

/// Carries [notices](Notice) between the hubs that share a store. **Everything on it is a hint**: a notice may be lost,
/// repeated, delayed and overtaken by others, and the hubs still deliver every entry once and in order, since the store is the
/// truth. What a bus loses costs time alone: until the next notice about the room, or until heads are compared
/// ([`Limits::head_check`](crate::Limits::head_check)).
///
/// Whoever can publish on it can show anything to the members of a room, and have any user's connections closed. A member that
/// was shown an entry which isn't in the log has its number in its cursor, and misses the one that gets that number later. So let
/// nobody but the hubs reach it.
///
/// One value serves one hub; on each node, give the hub one of its own with
/// [`HubBuilder::bus`](crate::HubBuilder::bus). Without any, a hub does no work for others.
/// [`LocalBus`] joins hubs of one process; `roomcast-nats` and `roomcast-mongo` those of many machines. The contract is written
/// down as a suite of tests in the crate `roomcast-testkit`.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Receives notices and hands them to the inbox until it is dropped. The hub calls it once, before anything else but
    /// [`publish`](Self::publish), and runs it in a task of its own; it drops the future when it begins to stop. A
    /// connection that is lost is made again in here, without end, with pauses; after that comes [`Inbox::missed`]. It
    /// returns only if it can't ever go on.
    async fn run(&self, inbox: Inbox);

    /// Notices about these rooms are wanted from now on. Returns once every notice that is published after arrives, as far
    /// as a bus can promise that: the hub then compares the rooms' heads with the store's. A bus that has lost its
    /// connection returns at once, and calls [`Inbox::missed`] when it has it again. Each room is watched at most once at a
    /// time. Not called at the same time as itself or [`unwatch`](Self::unwatch).
    async fn watch(&self, rooms: &[RoomId]);

    /// Notices about these rooms, all of which are watched, are not wanted any more. Doesn't wait.
    fn unwatch(&self, rooms: &[RoomId]);

    /// Tells the other hubs: those that watch the notice's room, or all of them if it has none. Doesn't wait: what can't be
    /// sent soon is dropped, within a bound. The hub that publishes needn't hear it itself. Called also before
    /// [`run`](Self::run) and after its end: a hub that stops still commits.
    fn publish(&self, notice: &Notice);

    /// Whether notices get through now, as far as this end knows.
    async fn health(&self) -> Result<(), BusError>;

    /// Sends what was published, as far as that can be done soon, and lets go of connections. Idempotent.
    async fn close(&self);
}

#[async_trait]
impl<B: Bus + ?Sized> Bus for Arc<B> {
    async fn run(&self, inbox: Inbox) {
        (**self).run(inbox).await;
    }

    async fn watch(&self, rooms: &[RoomId]) {
        (**self).watch(rooms).await;
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        (**self).unwatch(rooms);
    }

    fn publish(&self, notice: &Notice) {
        (**self).publish(notice);
    }

    async fn health(&self) -> Result<(), BusError> {
        (**self).health().await
    }

    async fn close(&self) {
        (**self).close().await;
    }
}

/// The bus doesn't get notices through.
#[derive(Debug, thiserror::Error)]
#[error("the bus is out of order")]
pub struct BusError {
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl BusError {
    /// Wraps the bus's own error.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}
