//! One HTTP request on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::book::Book;
use crate::socket::Raw;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head as it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.body).map_err(|error| format!("{error} in {}", self.body))
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        let mut lines = self.head.lines();
        lines.any(|line| {
            line.split_once(':')
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case(header))
        })
    }

    /// Fails unless it has this status.
    pub(crate) fn expect(self, status: u16) -> Result<Self, String> {
        if self.status == status {
            Ok(self)
        } else {
            Err(format!("status {} instead of {status}: {}", self.status, self.body))
        }
    }
}

pub(crate) async fn get(book: &Arc<Book>, path: &str) -> Result<Answer, String> {
    request(book, "GET", path, "", "").await
}

pub(crate) async fn post(book: &Arc<Book>, path: &str, body: &Value) -> Result<Answer, String> {
    request(
        book,
        "POST",
        path,
        "Content-Type: application/json\r\n",
        &body.to_string(),
    )
    .await
}

/// `headers` are whole lines.
pub(crate) async fn request(
    book: &Arc<Book>,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Answer, String> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        book.address,
        body.len()
    );
    send(book, request.as_bytes())
        .await
        .map_err(|error| format!("{method} {path}: {error}"))
}

/// Sends a request as it is.
pub(crate) async fn send(book: &Arc<Book>, request: &[u8]) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut raw = Raw::connect(book).await.map_err(text)?;
    raw.write.write_all(request).await.map_err(text)?;
    let head = raw.read.head(ANSWER).await.map_err(text)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no status in {head:?}"))?;
    let body = if status == 101 {
        String::new()
    } else {
        raw.read.body(ANSWER).await.map_err(text)?
    };
    book.count("HTTP requests");
    Ok(Answer { status, head, body })
}
