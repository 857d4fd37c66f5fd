//! An own transport: plain lines over TCP, so that `nc` can chat.
//!
//! ```text
//! cargo run -p roomcast-examples --example lines_over_tcp
//! nc 127.0.0.1 8080                                  # in two more terminals
//! ```
//!
//! The first line is your name, and every other line is a message to the room `lobby`. Ctrl-C stops the server.

use std::io;
use std::time::Duration;

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Hub, Inbound,
    MemoryStore, OpenPolicy, RoomId, Start, User,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// The longest line, in bytes.
const LINE: usize = 4096;

struct Lines(BufReader<OwnedReadHalf>, OwnedWriteHalf);
struct LineReader(BufReader<OwnedReadHalf>);
struct LineWriter(OwnedWriteHalf);

impl Connection for Lines {
    type Reader = LineReader;
    type Writer = LineWriter;

    fn split(self) -> (LineReader, LineWriter) {
        (LineReader(self.0), LineWriter(self.1))
    }
}

/// A line, `Inbound::TooLarge` or `Inbound::Closed`. Memory is bounded whatever the client sends.
async fn line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Result<String, Inbound>> {
    let mut line = Vec::new();
    reader.take(LINE as u64 + 1).read_until(b'\n', &mut line).await?;
    Ok(match line.last() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim().to_owned()),
        _ if line.len() > LINE => Err(Inbound::TooLarge),
        _ => Err(Inbound::Closed),
    })
}

impl ConnectionReader for LineReader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        loop {
            match line(&mut self.0).await.map_err(ConnectionError::new)? {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Ok(Inbound::Text(json!({ "content": text }).to_string().into())),
                Err(end) => return Ok(end),
            }
        }
    }
}

/// How a frame looks on a terminal; nothing for those that mean nothing to people.
fn print(frame: &[u8]) -> Option<String> {
    let frame: Value = serde_json::from_slice(frame).ok()?;
    let text = format!("{}: {}", frame["user"]["name"].as_str()?, frame["content"].as_str()?);
    // Control characters could do anything to the reader's terminal.
    Some(text.replace(char::is_control, " ") + "\n")
}

impl ConnectionWriter for LineWriter {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        let text: String = frames.iter().filter_map(|frame| print(frame)).collect();
        self.0.write_all(text.as_bytes()).await.map_err(ConnectionError::new)
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        let text = format!("* goodbye: {}\n", close.reason);
        self.0.write_all(text.as_bytes()).await.map_err(ConnectionError::new)?;
        self.0.shutdown().await.map_err(ConnectionError::new)
    }
}

/// Asks for the name, and serves the client to its end.
async fn chat(hub: Hub, stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let name = tokio::select! {
        name = timeout(hub.limits().handshake, line(&mut reader)) => name??.unwrap_or_default(),
        () = hub.draining() => return Ok(()),
    };
    let (user, lobby) = match (User::named(name), RoomId::new("lobby")) {
        (Ok(user), Ok(lobby)) => (user, lobby),
        (Err(error), _) | (_, Err(error)) => return writer.write_all(format!("! {error}\n").as_bytes()).await,
    };
    match hub.admit(Client::plain(user, lobby).start(Start::Last(10))).await {
        Ok(admission) => {
            admission.serve(Lines(reader, writer)).await;
        }
        Err(refusal) => writer.write_all(format!("! {}\n", refusal.message).as_bytes()).await?,
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build()?;
    let socket = TcpListener::bind(roomcast_examples::address()).await?;
    println!("listening on {}", socket.local_addr()?);
    let accepting = async {
        loop {
            // A server for the open net would also bound how many clients may be at their first line.
            match socket.accept().await {
                Ok((stream, _)) => {
                    let chat = chat(hub.clone(), stream);
                    hub.spawn(async {
                        if let Err(error) = chat.await {
                            eprintln!("a client went away: {error}");
                        }
                    });
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
