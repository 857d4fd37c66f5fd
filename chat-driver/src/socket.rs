//! A WebSocket as a proper client has it, and the bytes of a connection for who reads them by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// How long a connection may take to be there.
pub const ENTER: Duration = Duration::from_secs(20);

/// A client's WebSocket.
pub type WebSocket = WebSocketStream<TcpStream>;

/// Upgrades a connection, to `chat.v1.json` or plain; gives the headers of the answer as well. The error says why not: `status N`
/// if that is what the server said. It sets no time limit.
pub async fn upgrade(
    stream: TcpStream,
    host: SocketAddr,
    path: &str,
    v1: bool,
) -> Result<(WebSocket, HeaderMap), String> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(4 << 10);
    let mut request = format!("ws://{host}{path}")
        .into_client_request()
        .map_err(|error| error.to_string())?;
    if v1 {
        let protocol = "chat.v1.json".parse().expect("it is one");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, answer)) => Ok((socket, answer.into_parts().0.headers)),
        Err(Error::Http(answer)) => Err(format!("status {}", answer.status().as_u16())),
        Err(error) => Err(error.to_string()),
    }
}

/// What comes from the server.
#[derive(Debug)]
pub struct Reading {
    half: OwnedReadHalf,
    /// What has come and wasn't taken yet.
    pub bytes: Vec<u8>,
}

impl Reading {
    /// Of a connection on which nothing has been read.
    pub fn new(half: OwnedReadHalf) -> Self {
        Self {
            half,
            bytes: Vec::new(),
        }
    }

    /// Reads on; gives the number of bytes, 0 at the end.
    pub async fn more(&mut self) -> io::Result<usize> {
        self.half.read_buf(&mut self.bytes).await
    }

    /// The head of an HTTP answer. What comes behind it is kept.
    pub async fn head(&mut self, limit: Duration) -> io::Result<String> {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            match timeout_at(until, self.more()).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// What came behind the head, to the end of the connection.
    pub async fn body(&mut self, limit: Duration) -> io::Result<String> {
        match timeout(limit, self.half.read_to_end(&mut self.bytes)).await {
            Ok(result) => result?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        Ok(String::from_utf8_lossy(&self.bytes).into_owned())
    }
}
