//! The entrance for axum handlers.

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use roomcast_core::{Hub, Refusal, RoomId};
use tokio::time::Instant;

use crate::handshake::{Opening, Rejection, room_of_text};
use crate::{Origins, Visitor};

/// An axum extractor for a request that opens a chat connection.
///
/// The handler says who the user is and which room it shall be, however its own routes and its own login tell; the extractor
/// reads `since` and `last` from the query and the subprotocol from the headers.
///
/// ```no_run
/// use axum::extract::{Path, State};
/// use axum::response::Response;
/// use axum::{Router, routing::get};
/// use roomcast_core::{Hub, User};
/// use roomcast_ws::ChatUpgrade;
/// // With the crate `roomcast` and its feature `axum`, these two lines are
/// // use roomcast::{Hub, User, ws::ChatUpgrade};
///
/// async fn chat(State(hub): State<Hub>, Path(room): Path<String>, chat: ChatUpgrade) -> Response {
///     let ann = User::named("ann").expect("a plain name"); // whoever your own login says
///     chat.room(room).serve(&hub, ann).await
/// }
///
/// fn routes(hub: Hub) -> Router {
///     Router::new().route("/rooms/{room}/live", get(chat)).with_state(hub)
/// }
/// ```
///
/// It needs HTTP/1.1. As a rejection it answers 400, 405 or 426 with a JSON body.
#[derive(Debug)]
#[must_use = "nothing happens until it is served"]
pub struct ChatUpgrade {
    opening: Opening,
    origins: Origins,
    room: Result<Option<RoomId>, Refusal>,
}

impl<S: Send + Sync> FromRequestParts<S> for ChatUpgrade {
    type Rejection = ChatUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self {
            opening: Opening::of_parts(parts).map_err(ChatUpgradeRejection)?,
            origins: Origins::default(),
            room: Ok(None),
        })
    }
}

impl ChatUpgrade {
    /// Joins this room at once. Without it, the client needs `chat.v1.json` and joins by itself. Text that is no
    /// [`RoomId`] makes [`serve`](Self::serve) answer 400.
    pub fn room(mut self, room: impl AsRef<str>) -> Self {
        self.room = room_of_text(room.as_ref()).map(Some);
        self
    }

    /// Which pages may connect; by default those of the same origin.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Lets the visitor in. The handler returns the answer as it is: the 101, or a refusal with a JSON body. It comes within
    /// [`Limits::handshake`](roomcast_core::Limits::handshake).
    ///
    /// After the 101 the hub serves the connection in a task of its own. If the future or the answer is dropped instead, the
    /// visitor is not let in.
    pub async fn serve(self, hub: &Hub, visitor: impl Into<Visitor>) -> Response {
        let deadline = Instant::now() + hub.limits().handshake;
        let room = match self.opening.check_origin(&self.origins, false).and(self.room) {
            Ok(room) => room,
            Err(refusal) => return http::Response::from(Rejection::from(refusal)).map(Body::from),
        };
        let response = self.opening.enter(hub, visitor.into(), room, deadline).await;
        response.map(Body::from)
    }
}

/// The request opens no chat connection. As a response it says what is missing.
#[derive(Debug)]
pub struct ChatUpgradeRejection(Rejection);

impl IntoResponse for ChatUpgradeRejection {
    fn into_response(self) -> Response {
        http::Response::from(self.0).map(Body::from)
    }
}
