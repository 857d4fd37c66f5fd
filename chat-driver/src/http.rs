//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::socket::Reading;

/// How long an answer may take.
pub const ANSWER: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// What came behind it.
    pub body: String,
}

impl Answer {
    /// The body, which has to be JSON.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.body).map_err(|error| format!("{error} in {}", self.body))
    }

    /// Whether there is such a header.
    pub fn has(&self, header: &str) -> bool {
        let mut lines = self.head.lines();
        lines.any(|line| {
            line.split_once(':')
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case(header))
        })
    }

    /// Fails unless it has this status.
    pub fn expect(self, status: u16) -> Result<Self, String> {
        if self.status == status {
            Ok(self)
        } else {
            Err(format!("status {} instead of {status}: {}", self.status, self.body))
        }
    }
}

/// A request as it is sent. `headers` are whole lines.
pub fn request(host: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// The header of a body in JSON.
pub const JSON: &str = "Content-Type: application/json\r\n";

/// Sends a request as it is, and reads the answer to the end of the connection.
pub async fn exchange(read: &mut Reading, write: &mut OwnedWriteHalf, request: &[u8]) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    write.write_all(request).await.map_err(text)?;
    let head = read.head(ANSWER).await.map_err(text)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no status in {head:?}"))?;
    let body = if status == 101 {
        String::new()
    } else {
        read.body(ANSWER).await.map_err(text)?
    };
    Ok(Answer { status, head, body })
}

/// Asks a server for a page.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    ask(address, request(address, "GET", path, "", "")).await
}

/// Sends a server something.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> Result<Answer, String> {
    ask(address, request(address, "POST", path, JSON, &body.to_string())).await
}

async fn ask(address: SocketAddr, request: String) -> Result<Answer, String> {
    let stream = tokio::time::timeout(ANSWER, TcpStream::connect(address)).await;
    let stream = stream.map_err(|_| format!("{address} takes no connection"))?;
    let (half, mut write) = stream.map_err(|error| error.to_string())?.into_split();
    exchange(&mut Reading::new(half), &mut write, request.as_bytes()).await
}
