//! Who connects, and what for.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{RoomId, Start, User};

/// How a connection talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Messages alone: one room, `{"content":"hi"}` in, messages out.
    #[default]
    Plain,
    /// `chat.v1.json`: acks, resume, history, edits, many rooms.
    V1,
}

impl Protocol {
    /// The WebSocket subprotocol that selects [`Protocol::V1`].
    pub const V1_NAME: &'static str = "chat.v1.json";
}

/// What a join asks for besides the room.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct JoinOptions {
    pub(crate) start: Start,
    /// Whether the client is told who is in the room.
    pub(crate) presence: bool,
}

/// A client as it comes in: the user of the request, the room that it asks for, and where it comes from. The
/// transport or the embedding server makes it; [`Hub::admit`](crate::Hub::admit) lets it in.
///
/// ```
/// # use roomcast_core::{Client, RoomId, Start, User};
/// let client = Client::plain(User::named("ann")?, RoomId::new("lobby")?);
/// let resumed = client.start(Start::Since("e1:41".parse()?));
/// # Ok::<(), roomcast_core::InvalidName>(())
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) user: User,
    pub(crate) protocol: Protocol,
    pub(crate) room: Option<RoomId>,
    pub(crate) options: JoinOptions,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) expires_in: Option<Duration>,
}

impl Client {
    /// A client that talks plainly in one room.
    #[must_use]
    pub fn plain(user: User, room: RoomId) -> Self {
        Self {
            user,
            protocol: Protocol::Plain,
            room: Some(room),
            options: JoinOptions::default(),
            remote: None,
            expires_in: None,
        }
    }

    /// A client that talks `chat.v1.json`, in no room yet.
    #[must_use]
    pub fn v1(user: User) -> Self {
        Self {
            user,
            protocol: Protocol::V1,
            room: None,
            options: JoinOptions::default(),
            remote: None,
            expires_in: None,
        }
    }

    /// Joins this room at once.
    #[must_use]
    pub fn room(mut self, room: RoomId) -> Self {
        self.room = Some(room);
        self
    }

    /// Where the first room begins.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.options.start = start;
        self
    }

    /// Whether it is told who is in the first room, and who comes and goes; for `chat.v1.json` alone.
    #[must_use]
    pub fn presence(mut self, wanted: bool) -> Self {
        self.options.presence = wanted;
        self
    }

    /// Where the client comes from, for the logs.
    #[must_use]
    pub fn remote(mut self, address: SocketAddr) -> Self {
        self.remote = Some(address);
        self
    }

    /// For how long the user's identity holds, from being served; then the connection is closed with
    /// [`CloseCode::Unauthenticated`](crate::CloseCode::Unauthenticated).
    #[must_use]
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires_in = Some(span);
        self
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// How it talks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}
