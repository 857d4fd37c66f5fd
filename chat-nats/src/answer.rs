//! Whether a server answers, and has taken what was sent to it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Request, RequestErrorKind};
use tokio::time::timeout;

use crate::subject::Subjects;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server has taken everything that was sent before.
    Exact,
    /// It lives.
    Alive,
    None,
}

/// Asks the server for an answer. (A flush of async-nats waits for the socket alone.) A request to which nobody listens is
/// answered by the server itself. If somebody listens to everything, as people do to see what goes on, nobody answers it;
/// then bytes that come after a ping have to do. Cancel safe.
pub(crate) async fn answer(client: &Client, subjects: &Subjects, limit: Duration) -> Answer {
    let bytes = || client.statistics().in_bytes.load(Ordering::Relaxed);
    let began = bytes();
    let ask = || Request::new().inbox(client.new_inbox()).timeout(Some(limit / 2));
    for last in [false, true] {
        match client.send_request(subjects.nobody(), ask()).await {
            Ok(_) => return Answer::Exact,
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => return Answer::Exact,
                RequestErrorKind::TimedOut if last => {}
                RequestErrorKind::TimedOut => ping(client, limit / 2).await,
                _ => return Answer::None,
            },
        }
    }
    if bytes() > began { Answer::Alive } else { Answer::None }
}

/// Makes async-nats ping the server, as it does when a subscription is drained.
async fn ping(client: &Client, limit: Duration) {
    let drain = async {
        if let Ok(mut nothing) = client.subscribe(client.new_inbox()).await {
            // If it can't be sent, no answer comes either.
            let _ = nothing.drain().await;
        }
    };
    let _ = timeout(limit, drain).await;
}
