//! A socket that many may wait at.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Listens on the first of these addresses that it can, as tokio's `TcpListener::bind` does, but lets up to 4,096 connections wait
/// to be accepted, if the system allows that many (`net.core.somaxconn` on Linux). Tokio lets 128 wait. The system gives no answer
/// to those beyond, who try again after a second; and when a chat server comes back, so do all of its clients.
///
/// # Errors
///
/// The system's, if the address is taken for example.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let socket = roomcast_ws::listen("127.0.0.1:0").await?;
/// assert!(socket.local_addr()?.port() > 0);
/// # Ok(())
/// # }
/// ```
pub async fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the address is none of this host");
    for address in lookup_host(address).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Elsewhere it would let others take the address away.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
