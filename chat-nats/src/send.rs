//! What the hub tells, on its way to the server.

use std::time::Duration;

use async_nats::Client;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::answer::{Answer, answer};
use crate::link::{CLOSING, CONNECTING, End};
use crate::queue::{Notices, SENT};
use crate::shared::Shared;

/// How often it is made sure that the server has what was sent.
const MAKING_SURE: Duration = Duration::from_secs(1);

/// What was sent, and may be lost yet.
pub(crate) struct Sent {
    /// Before the server was last asked whether it has all.
    asked: Notices,
    after: Notices,
}

impl Sent {
    pub(crate) fn new() -> Self {
        Self {
            asked: Notices::new(SENT),
            after: Notices::new(SENT),
        }
    }

    /// In the order in which it was told.
    pub(crate) fn all(mut self) -> Notices {
        while let Some(notice) = self.after.pop() {
            self.asked.push(notice);
        }
        self.asked
    }
}

/// Sends what the hub tells, until the bus is closed and nothing waits.
pub(crate) async fn send(client: &Client, shared: &Shared, sent: &Mutex<Sent>) -> End {
    loop {
        let notice = tokio::select! {
            biased;
            notice = shared.outgoing.next() => notice,
            () = shared.closing.cancelled() => {
                answer(client, &shared.subjects, CLOSING / 2).await;
                return End::Closed;
            }
        };
        let bytes = notice.bytes().clone();
        let most = client.max_payload();
        if bytes.len() > most {
            shared.too_large(bytes.len(), most);
            continue;
        }
        let subject = shared.subjects.of(notice.room());
        sent.lock().after.push(notice);
        if client.publish(subject, bytes).await.is_err() {
            return End::Lost;
        }
    }
}

/// Forgets what was sent once the server has it, for ever.
pub(crate) async fn make_sure(client: &Client, shared: &Shared, sent: &Mutex<Sent>) -> End {
    loop {
        sleep(MAKING_SURE).await;
        {
            let mut sent = sent.lock();
            let Sent { asked, after } = &mut *sent;
            while let Some(notice) = after.pop() {
                asked.push(notice);
            }
            if asked.is_empty() {
                continue;
            }
        }
        if answer(client, &shared.subjects, CONNECTING).await != Answer::None {
            sent.lock().asked = Notices::new(SENT);
        }
    }
}
