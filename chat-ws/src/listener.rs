//! The ready server: a TCP listener that serves the chat and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roomcast_core::{Hub, RoomId};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::handshake::{Opening, Rejection, room_of_path, too_late};
use crate::upgraded::prepare;
use crate::{Authenticate, Origins, Visitor};

/// Handshakes that may be under way at once, unless said otherwise.
const HANDSHAKES: usize = 4096;

/// What is left to write an answer after the handshake's time is over, and to end handshakes when the hub drains.
const GRACE: Duration = Duration::from_secs(1);

/// The smallest that hyper takes. The request's head has to fit in.
const HEAD_BYTES: usize = 8 << 10;

/// A TCP listener that serves `/ws/{room_id}` and `/ws`, and answers 404 to everything else.
///
/// ```no_run
/// use http::request::Parts;
/// use roomcast_core::{ErrorCode, Hub, Refusal, User};
/// use roomcast_ws::Listener;
///
/// async fn run(hub: Hub) -> std::io::Result<()> {
///     // Everybody is who they say they are: `/ws/lobby?user=ann`.
///     let auth = |request: &Parts| {
///         let name = request.uri.query().and_then(|query| query.strip_prefix("user=")).map(str::to_owned);
///         async move {
///             User::named(name.unwrap_or_default())
///                 .map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string()))
///         }
///     };
///     let listener = Listener::bind("127.0.0.1:8080", hub, auth).await?;
///     println!("ws://{}/ws/lobby?user=ann", listener.local_addr()?);
///     listener.serve().await;
///     Ok(())
/// }
/// ```
///
/// # Limits
///
/// - From being accepted to being admitted, a client has [`Limits::handshake`](roomcast_core::Limits::handshake) for TLS, the
///   request, the authentication and the policy together. Then it is answered 503 if the server was the slow one, and cut off
///   if it was the client. A connection carries one request.
/// - The request's head may have 8 KiB.
/// - At most [`handshakes`](Self::handshakes) are under way at once; further clients wait in the kernel's queue.
/// - If the process has no file descriptor left, the listener waits and tries again, at most once in 10 ms.
pub struct Listener {
    socket: TcpListener,
    door: Door,
    handshakes: usize,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What each connection needs.
pub(crate) struct Door {
    pub(crate) hub: Hub,
    pub(crate) auth: Box<dyn Authenticate>,
    pub(crate) origins: Origins,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::Tls>,
}

impl Door {
    fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

impl Listener {
    /// Binds an address as [`listen`](crate::listen) does. Port 0 lets the system choose one: see
    /// [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// The system's, if the address is taken for example.
    pub async fn bind(address: impl ToSocketAddrs, hub: Hub, auth: impl Authenticate) -> io::Result<Self> {
        Ok(Self::from_tcp(crate::listen(address).await?, hub, auth))
    }

    /// The same on a socket that is listening already.
    #[must_use]
    pub fn from_tcp(socket: TcpListener, hub: Hub, auth: impl Authenticate) -> Self {
        Self {
            socket,
            door: Door {
                hub,
                auth: Box::new(auth),
                origins: Origins::default(),
                #[cfg(feature = "tls")]
                tls: None,
            },
            handshakes: HANDSHAKES,
        }
    }

    /// Which pages may connect; by default those of the same origin.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.door.origins = origins;
        self
    }

    /// Speaks TLS, and nothing else.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.door.tls = Some(tls);
        self
    }

    /// How many handshakes may be under way at once; 4,096, and at least 1.
    #[must_use]
    pub fn handshakes(mut self, count: usize) -> Self {
        self.handshakes = count.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts connections until the hub is draining. The hub serves each in a task of its own, which its shutdown waits for.
    ///
    /// If the future is dropped, no more are accepted; those that were go on.
    pub async fn serve(self) {
        let Self {
            socket,
            door,
            handshakes,
        } = self;
        let door = Arc::new(door);
        let permits = Arc::new(Semaphore::new(handshakes));
        let draining = door.hub.draining();
        let accepting = async {
            loop {
                // A place first: a client that finds none isn't accepted, and costs nothing here.
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                let (stream, remote) = accept(&socket).await;
                let task = handshake(Arc::clone(&door), stream, remote, permit);
                door.hub.spawn(task);
            }
        };
        tokio::select! {
            () = draining => debug!("the hub is draining: no more connections are accepted"),
            () = accepting => {}
        }
    }
}

/// Accepts a connection, however long it takes.
async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = Duration::from_millis(10);
    let mut failing = false;
    loop {
        match socket.accept().await {
            Ok(accepted) => {
                if failing {
                    warn!("connections are accepted again");
                }
                return accepted;
            }
            Err(error) if concerns_one(&error) => debug!(%error, "a client went away before it was accepted"),
            Err(error) => {
                // Out of file descriptors or memory. The socket stays readable, so trying again at once would spin. An outage
                // is told of when it begins and when it is over.
                if !failing {
                    warn!(%error, "no connection can be accepted");
                }
                failing = true;
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// The error is of the one connection that would have been accepted, and the next may do well.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Takes a connection from being accepted to being upgraded or refused. Behind that, hyper has handed the stream over.
async fn handshake(door: Arc<Door>, stream: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
    let _permit = permit;
    let deadline = Instant::now() + door.hub.limits().handshake;
    let drained = async {
        door.hub.draining().await;
        sleep(GRACE).await;
    };
    prepare(&stream);
    let work = async {
        #[cfg(feature = "tls")]
        if let Some(tls) = &door.tls {
            return match timeout_at(deadline, tls.accept(stream)).await {
                Ok(Ok(stream)) => speak_http(&door, stream, remote, deadline).await,
                Ok(Err(error)) => debug!(%remote, %error, "the TLS handshake failed"),
                Err(_) => debug!(%remote, "the TLS handshake took too long"),
            };
        }
        speak_http(&door, stream, remote, deadline).await;
    };
    tokio::select! {
        done = timeout_at(deadline + GRACE, work) => {
            if done.is_err() {
                debug!(%remote, "the handshake took too long");
            }
        }
        () = drained => debug!(%remote, "a handshake is given up: the hub is draining"),
    }
}

/// Reads one request and answers it.
pub(crate) async fn speak_http<S>(door: &Arc<Door>, stream: S, remote: SocketAddr, deadline: Instant)
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let door = Arc::clone(door);
        async move {
            let mut response = answer(&door, request, remote, deadline).await;
            // One request a connection. Said here, because hyper's own setting says it in the 101 as well, which some clients
            // then don't take for an upgrade.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        debug!(%remote, %error, "a connection ended before it was upgraded");
    }
}

async fn answer(door: &Door, request: Request<Incoming>, remote: SocketAddr, deadline: Instant) -> Response<String> {
    let (mut parts, _body) = request.into_parts();
    parts.extensions.insert(remote);
    let (opening, room, visitor) = match ask(door, &mut parts, deadline).await {
        Ok(asked) => asked,
        Err(rejection) => return rejection.into(),
    };
    let remote = visitor.remote.unwrap_or(remote);
    opening.enter(&door.hub, visitor.remote(remote), room, deadline).await
}

/// Checks the request, and then asks who sent it.
async fn ask(
    door: &Door,
    parts: &mut Parts,
    deadline: Instant,
) -> Result<(Opening, Option<RoomId>, Visitor), Rejection> {
    let room = room_of_path(parts.uri.path())?;
    let opening = Opening::of_parts(parts)?;
    opening.check_origin(&door.origins, door.speaks_tls())?;
    let visitor = timeout_at(deadline, door.auth.authenticate(parts))
        .await
        .map_err(|_| too_late())??;
    Ok((opening, room, visitor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_makes_the_listener_wait() {
        let emfile = 24;
        assert!(!concerns_one(&io::Error::from_raw_os_error(emfile)));
        assert!(concerns_one(&io::ErrorKind::ConnectionAborted.into()));
    }
}
