//! A door for fuzzing, of builds with `--cfg fuzzing` alone: what is private and reads what clients send.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use roomcast_core::{Hub, Refusal, RoomId, Start};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::listener::{Door, speak_http};
use crate::{Authenticate, Origins, handshake};

/// The room of a request's path.
///
/// # Errors
///
/// [`Refusal`], as the client is told.
pub fn room_of_path(path: &str) -> Result<Option<RoomId>, Refusal> {
    handshake::room_of_path(path)
}

/// Where a request's query begins.
///
/// # Errors
///
/// [`Refusal`], as the client is told.
pub fn start(query: &str) -> Result<Start, Refusal> {
    handshake::start(query)
}

/// Whether a request's query wants presence.
///
/// # Errors
///
/// [`Refusal`], as the client is told.
pub fn presence(query: &str) -> Result<bool, Refusal> {
    handshake::presence(query)
}

/// Does with a stream what the [`Listener`](crate::Listener) does with a socket that it has accepted.
pub async fn accept<S>(hub: Hub, auth: impl Authenticate, origins: Origins, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let deadline = Instant::now() + hub.limits().handshake;
    let door = Arc::new(Door {
        hub,
        auth: Box::new(auth),
        origins,
        #[cfg(feature = "tls")]
        tls: None,
    });
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    speak_http(&door, stream, remote, deadline).await;
}
