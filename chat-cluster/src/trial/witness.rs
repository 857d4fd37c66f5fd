//! Whether everybody sees what is said: a message is posted in each room, until it is acknowledged, and then waited for.

use std::sync::Arc;
use std::time::Duration;

use chat_driver::frame::message_id;
use chat_driver::http::post;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::book::{Book, Check};

/// How often it is tried again, and looked at.
const AGAIN: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(5);

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(15);

/// Waits until everybody has seen a message that is posted now, in every room.
pub(crate) async fn all_see(book: &Arc<Book>) {
    join_all((0..book.rooms.len()).map(|room| async move {
        let seq = say(book, room).await;
        while book.behind(room, seq) > 0 {
            sleep(LOOK).await;
        }
    }))
    .await;
}

/// Waits until everybody sees at once what is said: within so long after the acknowledgement. Without that bound, when they see it
/// at all.
pub(crate) async fn steady(book: &Arc<Book>, within: Option<Duration>) {
    loop {
        let heads = join_all((0..book.rooms.len()).map(|room| say(book, room))).await;
        let acked = Instant::now();
        loop {
            if heads.iter().enumerate().all(|(room, seq)| book.behind(room, *seq) == 0) {
                return;
            }
            if within.is_some_and(|within| acked.elapsed() > within) {
                break;
            }
            sleep(LOOK).await;
        }
    }
}

/// Who hasn't seen the end of its room.
pub(crate) fn behind(book: &Book) -> String {
    let behind = (0..book.rooms.len()).map(|room| {
        let head = book.seen(room).len().saturating_sub(1) as u64;
        format!("{} of {} to {head}", book.behind(room, head), book.rooms[room])
    });
    behind.collect::<Vec<_>>().join(", ")
}

/// Posts a message until it is acknowledged. Gives its seq.
async fn say(book: &Arc<Book>, room: usize) -> u64 {
    // One for each room, so that none asks more often than it may.
    let user: Arc<str> = format!("witness-{room}").into();
    let number = book.say(room, &user);
    let body = json!({ "content": format!("{number} witness"), "nonce": format!("n{number}") });
    let path = format!("/api/rooms/{}/messages?user={user}", book.rooms[room]);
    loop {
        book.sent(number, None);
        let answer = timeout(REQUEST, post(book.balancer, &path, &body)).await;
        match answer {
            Ok(Ok(answer)) if answer.status == 201 => {
                let ack = answer.json().unwrap_or_default();
                let message = ack["msg"].as_str().and_then(message_id);
                if let (Some(seq), Some(message)) = (ack["seq"].as_u64(), message) {
                    book.acked(number, seq, message, ack["dup"].as_bool().unwrap_or_default());
                    return seq;
                }
            }
            Ok(Ok(answer)) if answer.status < 500 => book.wrong(
                Check::Answers,
                format_args!("a message over HTTP: {} {}", answer.status, answer.body),
            ),
            _ => {}
        }
        sleep(AGAIN).await;
    }
}
