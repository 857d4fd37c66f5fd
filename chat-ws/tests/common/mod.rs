//! A client that is made of bytes, so that it can do what no library does.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};

pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// A client's frame: the first byte as given, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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
pub async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
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
pub async fn read_close(io: &mut (impl AsyncRead + Unpin)) -> (u16, String) {
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
pub async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (server, client) = tokio::join!(listener.accept(), client);
    let (server, client) = (server.unwrap().0, client.unwrap());
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    (server, client)
}

/// Fails the test instead of letting it hang.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it is done within 20 s")
}
