//! From hyper's upgraded connection to the stream itself.

use bytes::Bytes;
use hyper::upgrade::Parts;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use roomcast_core::Admission;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tracing::debug;

use crate::{WebSocket, WsConfig};

/// Serves a connection to its end, without hyper's wrapper and buffer wherever the stream below is one that is known.
pub(crate) async fn serve(admission: Admission, upgraded: Upgraded, config: &WsConfig) {
    let upgraded = match open::<TcpStream>(upgraded) {
        Ok((stream, leftover)) => {
            no_delay(&stream);
            return run(admission, stream, leftover, config).await;
        }
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "tls")]
    let upgraded = match open::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded) {
        Ok((stream, leftover)) => {
            no_delay(stream.get_ref().0);
            return run(admission, stream, leftover, config).await;
        }
        Err(upgraded) => upgraded,
    };
    run(admission, TokioIo::new(upgraded), Bytes::new(), config).await;
}

async fn run<S>(admission: Admission, stream: S, leftover: Bytes, config: &WsConfig)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = WebSocket::from_upgraded(stream, leftover, config);
    admission.serve(socket).await;
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

/// Small frames mustn't wait for the acknowledgement of those before.
pub(crate) fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
}
