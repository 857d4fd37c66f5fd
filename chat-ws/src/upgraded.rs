//! From hyper's upgraded connection to the stream itself.

use bytes::Bytes;
use hyper::upgrade::Parts;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use roomcast_core::{Admission, Hub};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tracing::debug;

use crate::{WebSocket, WsConfig};

/// Has the hub serve the connection, without hyper's wrapper and buffer wherever the stream below is one that is known.
pub(crate) fn serve(hub: &Hub, admission: Admission, upgraded: Upgraded) {
    let upgraded = match open::<TcpStream>(upgraded) {
        Ok((stream, leftover)) => {
            prepare(&stream);
            return run(hub, admission, stream, leftover);
        }
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "tls")]
    let upgraded = match open::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded) {
        Ok((stream, leftover)) => {
            prepare(stream.get_ref().0);
            return run(hub, admission, stream, leftover);
        }
        Err(upgraded) => upgraded,
    };
    run(hub, admission, TokioIo::new(upgraded), Bytes::new());
}

/// A task of its own, whose size is that of serving this kind of stream: as a part of the one that waited for the upgrade,
/// each connection would take the room of all kinds for as long as it lasts.
fn run<S>(hub: &Hub, admission: Admission, stream: S, leftover: Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = WebSocket::from_upgraded(stream, leftover, &WsConfig::of(hub.limits()));
    // As it is: in a block of its own it would have room for what it is made of a second time.
    hub.spawn(admission.serve(socket));
}

/// The stream, if it is of this type, and what was read of it behind the request.
fn open<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    // hyper-util's automatic server, which axum's `serve` uses, has a wrapper of its own.
    let upgraded = match auto::upgrade::downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    upgraded
        .downcast::<TokioIo<S>>()
        .map(|Parts { io, read_buf, .. }| (io.into_inner(), read_buf))
}

/// So much may wait in the system for a client that is behind, apart from what is on its way.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 << 10;

/// Makes a stream ready for small frames, and for a client that is behind.
pub(crate) fn prepare(stream: &TcpStream) {
    // A frame mustn't wait for the acknowledgement of those before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
    // By itself, Linux keeps megabytes, and says that there is room again only when a third of that has gone: a slow client
    // would be taken for dead by then. So it says so whenever half of this has gone.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        debug!(%error, "TCP_NOTSENT_LOWAT could not be set");
    }
}
