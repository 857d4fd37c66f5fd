//! The entrance for servers on hyper.

use std::future::Future;

use http::{Request, Response};
use roomcast_core::{Hub, RoomId};
use tokio::time::Instant;

use crate::handshake::{Opening, Rejection, room_of_path};
use crate::{Origins, Visitor};

/// Upgrades requests inside any server that is built on hyper.
///
/// The request needs HTTP/1.1 and hyper's right to upgrade in its extensions, which every hyper server puts there that
/// serves with upgrades.
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use roomcast_core::{Hub, User};
/// use roomcast_ws::Upgrader;
///
/// async fn handle<B>(chat: Upgrader, mut request: Request<B>) -> Result<Response<String>, Infallible> {
///     let ann = User::named("ann").expect("a plain name"); // whoever your own login says
///     Ok(chat.upgrade(&mut request, ann).await)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Upgrader {
    hub: Hub,
    origins: Origins,
}

impl Upgrader {
    /// An upgrader into this hub.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        Self {
            hub,
            origins: Origins::default(),
        }
    }

    /// Which pages may connect; by default those of the same origin.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Lets the visitor into the room that the path names: `/ws/{room_id}`, or `/ws` for none.
    ///
    /// The answer is to be sent as it is: the 101, or a refusal with a JSON body. It comes within
    /// [`Limits::handshake`](roomcast_core::Limits::handshake). After the 101 the hub serves the connection in a task of its
    /// own. If the future or the answer is dropped instead, the visitor is not let in.
    pub fn upgrade<B, V: Into<Visitor>>(
        &self,
        request: &mut Request<B>,
        visitor: V,
    ) -> impl Future<Output = Response<String>> + Send + use<B, V> {
        let room = room_of_path(request.uri().path());
        self.open(request, visitor.into(), room.map_err(Rejection::Refused))
    }

    /// The same for paths of your own: the room is given, or none for a client of `chat.v1.json` that joins later.
    pub fn upgrade_into<B, V: Into<Visitor>>(
        &self,
        request: &mut Request<B>,
        visitor: V,
        room: Option<RoomId>,
    ) -> impl Future<Output = Response<String>> + Send + use<B, V> {
        self.open(request, visitor.into(), Ok(room))
    }

    fn open<B>(
        &self,
        request: &mut Request<B>,
        visitor: Visitor,
        room: Result<Option<RoomId>, Rejection>,
    ) -> impl Future<Output = Response<String>> + Send + use<B> {
        let deadline = Instant::now() + self.hub.limits().handshake;
        let hub = self.hub.clone();
        let opening = room.and_then(|room| {
            let opening = Opening::of_request(request)?;
            opening.check_origin(&self.origins, false)?;
            Ok((opening, room))
        });
        async move {
            match opening {
                Ok((opening, room)) => opening.enter(&hub, visitor, room, deadline).await,
                Err(rejection) => rejection.into(),
            }
        }
    }
}
