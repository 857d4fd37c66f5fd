//! A client that is made of bytes, so that it can do what no library does.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A client's frame: the first byte as given, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65536 => {
            out.push(0xfe);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(b, m)| b ^ m));
    out
}

/// A server's frame: the first byte and the payload.
pub(crate) async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let first = io.read_u8().await?;
    let length = match io.read_u8().await? {
        126 => u64::from(io.read_u16().await?),
        127 => io.read_u64().await?,
        length => {
            assert!(length < 126, "a server doesn't mask");
            u64::from(length)
        }
    };
    let mut payload = vec![0; length as usize];
    io.read_exact(&mut payload).await?;
    Ok((first, payload))
}

/// Reads up to a close frame: its code and its reason.
pub(crate) async fn read_close(io: &mut (impl AsyncRead + Unpin)) -> (u16, String) {
    loop {
        let (first, payload) = read_frame(io).await.expect("a close frame comes before the end");
        if first == CLOSE {
            let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
            let reason = payload.get(2..).unwrap_or_default().to_vec();
            return (code, String::from_utf8(reason).unwrap());
        }
    }
}

/// Both ends of a TCP connection: the server's and the client's.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (server, client) = tokio::join!(listener.accept(), client);
    let (server, client) = (server.unwrap().0, client.unwrap());
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    (server, client)
}

/// Fails the test instead of letting it hang.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it is done within 20 s")
}

/// A client's request to open a WebSocket, with these lines behind those that every handshake needs.
pub(crate) fn request(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// The head of an HTTP answer and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The status and the code in the body.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        let code = self.body.split('"').nth(3).unwrap_or_default();
        assert!(self.body.starts_with(r#"{"error":""#), "{self:?}");
        assert!(self.body.contains(r#","message":""#), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        (self.status, code)
    }
}

/// Sends a request and reads the answer: the 101's head alone, everything else with its body.
pub(crate) async fn ask(io: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Answer {
    io.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.expect("an answer comes"));
    }
    let head = String::from_utf8(head).unwrap();
    let mut answer = Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body: String::new(),
    };
    let length = answer
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    io.read_exact(&mut body).await.unwrap();
    answer.body = String::from_utf8(body).unwrap();
    answer
}
