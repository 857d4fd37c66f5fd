//! One HTTP request on a connection of its own.

use std::sync::Arc;

use chat_driver::http::{self, Answer, JSON};
use serde_json::Value;

use crate::book::Book;
use crate::socket::Raw;

pub(crate) async fn get(book: &Arc<Book>, path: &str) -> Result<Answer, String> {
    request(book, "GET", path, "", "").await
}

pub(crate) async fn post(book: &Arc<Book>, path: &str, body: &Value) -> Result<Answer, String> {
    request(book, "POST", path, JSON, &body.to_string()).await
}

/// `headers` are whole lines.
pub(crate) async fn request(
    book: &Arc<Book>,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Answer, String> {
    let request = http::request(book.address, method, path, headers, body);
    send(book, request.as_bytes())
        .await
        .map_err(|error| format!("{method} {path}: {error}"))
}

/// Sends a request as it is.
pub(crate) async fn send(book: &Arc<Book>, request: &[u8]) -> Result<Answer, String> {
    let mut raw = Raw::connect(book).await.map_err(|error| error.to_string())?;
    let answer = http::exchange(&mut raw.read, &mut raw.write, request).await?;
    book.count("HTTP requests");
    Ok(answer)
}
