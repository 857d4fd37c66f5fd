//! Ways to the server: a WebSocket as a proper client has it, and a socket on which anything can be sent.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use chat_driver::frame::Frame;
pub(crate) use chat_driver::socket::WebSocket;
use chat_driver::socket::{ENTER, Reading, upgrade};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use crate::book::{Book, Open};

/// A receive buffer that is full soon, of who is to fall behind.
const SMALL: u32 = 4 << 10;

/// Opens a WebSocket, as `chat.v1.json` or plain. The error says why not.
pub(crate) async fn enter(book: &Arc<Book>, path: &str, v1: bool, small: bool) -> Result<(WebSocket, Open), String> {
    let entering = async {
        let stream = connect(book, small).await.map_err(|error| error.to_string())?;
        let open = book.open();
        let (socket, _) = upgrade(stream, book.address, path, v1).await?;
        Ok((socket, open))
    };
    timeout(ENTER, entering)
        .await
        .unwrap_or_else(|_| Err(format!("nothing for {} s", ENTER.as_secs())))
}

async fn connect(book: &Book, small: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if small {
        socket.set_recv_buffer_size(SMALL)?;
    }
    let stream = socket.connect(book.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A socket on which anything can be sent.
pub(crate) struct Raw {
    pub(crate) write: OwnedWriteHalf,
    pub(crate) read: Reading,
    _open: Open,
}

/// How a connection ended, and what came before.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) frames: Vec<Frame>,
    /// The close frame's code.
    pub(crate) code: Option<u16>,
    /// Pings of the server.
    pub(crate) pings: usize,
    /// It didn't end in time.
    pub(crate) still_open: bool,
    pub(crate) took: Duration,
}

impl Ended {
    /// The code that the last `bye` named.
    pub(crate) fn bye(&self) -> Option<u64> {
        self.frames.iter().rev().find(|frame| frame.t == "bye")?.code.as_u64()
    }
}

impl Raw {
    pub(crate) async fn connect(book: &Arc<Book>) -> io::Result<Self> {
        Self::with(book, false).await
    }

    async fn with(book: &Arc<Book>, small: bool) -> io::Result<Self> {
        let (half, write) = connect(book, small).await?.into_split();
        Ok(Self {
            write,
            read: Reading::new(half),
            _open: book.open(),
        })
    }

    /// A connection that has shaken hands.
    pub(crate) async fn enter(book: &Arc<Book>, path: &str, v1: bool, small: bool) -> io::Result<Self> {
        let mut raw = Self::with(book, small).await?;
        let protocol = if v1 {
            "Sec-WebSocket-Protocol: chat.v1.json\r\n"
        } else {
            ""
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n",
            book.address
        );
        raw.write.write_all(request.as_bytes()).await?;
        let head = raw.read.head(ENTER).await?;
        if head.starts_with("HTTP/1.1 101 ") {
            Ok(raw)
        } else {
            Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()))
        }
    }
}

/// The next frame: its opcode and payload. `None` at the end, however it came.
async fn next_frame(reading: &mut Reading) -> Option<(u8, Vec<u8>)> {
    loop {
        if let Some((used, frame)) = parse(&reading.bytes) {
            reading.bytes.drain(..used);
            return Some(frame);
        }
        match reading.more().await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Reads until the server ends the connection, and answers nothing.
pub(crate) async fn until_end(reading: &mut Reading, limit: Duration) -> Ended {
    let (begun, mut ended) = (Instant::now(), Ended::default());
    let until = begun + limit;
    loop {
        match timeout_at(until, next_frame(reading)).await {
            Err(_) => {
                ended.still_open = true;
                break;
            }
            Ok(None) => break,
            Ok(Some((0x8, payload))) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                ended.code = Some(code.unwrap_or(1005));
                break;
            }
            Ok(Some((0x9, _))) => ended.pings += 1,
            Ok(Some((0x1, payload))) => {
                ended
                    .frames
                    .extend(Frame::parse(&String::from_utf8_lossy(&payload)).ok());
            }
            Ok(Some(_)) => {}
        }
    }
    ended.took = begun.elapsed();
    ended
}

/// The frame at the front and its length, once it is whole. A server's frames aren't masked.
fn parse(bytes: &[u8]) -> Option<(usize, (u8, Vec<u8>))> {
    let mut cursor = Cursor::new(bytes);
    let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
    let start = usize::try_from(cursor.position()).ok()?;
    let payload = bytes[start..].get(..usize::try_from(length).ok()?)?;
    Some((start + payload.len(), (header.opcode.into(), payload.to_vec())))
}

/// A client's frame, masked with a mask that changes nothing. `first` is the first byte: the opcode and its bits.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    let header = FrameHeader {
        mask: Some([0; 4]),
        ..FrameHeader::default()
    };
    header
        .format(payload.len() as u64, &mut bytes)
        .expect("a vector takes everything");
    bytes[0] = first;
    bytes.extend(payload);
    bytes
}

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const PING: u8 = 0x89;

/// Waits, unless the run settles first; then false.
pub(crate) async fn wait(book: &Book, span: Duration) -> bool {
    timeout(span, book.settling()).await.is_err()
}
