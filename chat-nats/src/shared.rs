//! What the bus and its connection share.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::Client;
use parking_lot::Mutex;
use roomcast_core::Inbox;
use tokio_util::sync::CancellationToken;

use crate::queue::Outgoing;
use crate::subject::Subjects;

/// How often the same is said in the log at most.
const SAYING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) subjects: Subjects,
    pub(crate) outgoing: Outgoing,
    pub(crate) state: Mutex<State>,
    /// Where notices are handed over, while the hub's future runs.
    pub(crate) inbox: Mutex<Option<Inbox>>,
    /// Cancelled once a connection was made, or wasn't.
    pub(crate) tried: CancellationToken,
    /// Cancelled when the bus is closed or dropped.
    pub(crate) closing: CancellationToken,
    /// Cancelled when the connection's task has ended.
    pub(crate) ended: CancellationToken,
    /// What the server has complained of on this connection.
    pub(crate) complaint: Mutex<Option<String>>,
    complains: Seldom,
    dropped: AtomicU64,
    drops: Seldom,
}

#[derive(Debug)]
pub(crate) enum State {
    Up(Client),
    /// And why.
    Down(String),
}

impl Shared {
    pub(crate) fn new(subjects: Subjects) -> Self {
        Self {
            subjects,
            outgoing: Outgoing::new(),
            state: Mutex::new(State::Down("there is no connection yet".to_owned())),
            inbox: Mutex::new(None),
            tried: CancellationToken::new(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            complaint: Mutex::new(None),
            complains: Seldom::default(),
            dropped: AtomicU64::new(0),
            drops: Seldom::default(),
        }
    }

    pub(crate) fn is_up(&self, client: &Client) {
        *self.state.lock() = State::Up(client.clone());
        self.tried.cancel();
    }

    pub(crate) fn is_down(&self, reason: String) {
        // The same reason again is no news.
        let known = matches!(&*self.state.lock(), State::Down(known) if *known == reason);
        if known {
            tracing::debug!(reason, "the bus has no connection");
        } else {
            tracing::warn!(reason, "the bus has no connection: other hubs' entries are seen late");
        }
        *self.state.lock() = State::Down(reason);
        self.tried.cancel();
    }

    fn inbox(&self) -> Option<Inbox> {
        self.inbox.lock().clone()
    }

    pub(crate) async fn deliver(&self, bytes: &[u8]) {
        if let Some(inbox) = self.inbox() {
            inbox.deliver(bytes).await;
        }
    }

    pub(crate) fn missed(&self) {
        if let Some(inbox) = self.inbox() {
            inbox.missed();
        }
    }

    /// So many notices were dropped because there was no place for them.
    pub(crate) fn dropped(&self, count: usize) {
        let total = self.dropped.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        if count > 0 && self.drops.is_due() {
            tracing::warn!(
                total,
                "notices were dropped: NATS doesn't take them as fast as they come"
            );
        }
    }

    /// A notice was dropped because the server takes none of that size.
    pub(crate) fn too_large(&self, bytes: usize, max_payload: usize) {
        let total = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if self.drops.is_due() {
            tracing::warn!(
                bytes,
                max_payload,
                total,
                "a notice was dropped: it is larger than the server's max_payload"
            );
        }
    }

    /// The server refuses something: a subject that the user has no permission for, most often, and then many times.
    pub(crate) fn complained(&self, error: &impl fmt::Display) {
        if self.complains.is_due() {
            tracing::warn!(%error, "NATS complains");
        }
        *self.complaint.lock() = Some(error.to_string());
    }
}

/// Lets through what is said in the log now and then.
#[derive(Debug, Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    fn is_due(&self) -> bool {
        let mut said = self.0.lock();
        let is_due = said.is_none_or(|at| at.elapsed() > SAYING);
        if is_due {
            *said = Some(Instant::now());
        }
        is_due
    }
}

/// An error with its causes, each once: async-nats repeats the cause in its own text.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}
