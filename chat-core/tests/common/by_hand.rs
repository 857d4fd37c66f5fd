//! A bus whose notices the test carries.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use roomcast_core::{Bus, BusError, Inbox, Notice, RoomId, async_trait};
use tokio::sync::{Notify, OnceCell};
use tokio::time::sleep;

/// A bus whose notices the test carries.
#[derive(Default)]
pub struct ByHand {
    inbox: OnceCell<Inbox>,
    started: Notify,
    pub watched: Mutex<Vec<RoomId>>,
    /// How long it takes to watch a room.
    pub slowness: Mutex<Duration>,
    sent: Mutex<VecDeque<Notice>>,
}

impl ByHand {
    pub fn sent(&self) -> Vec<Notice> {
        self.sent.lock().drain(..).collect()
    }

    pub async fn inbox(&self) -> &Inbox {
        while self.inbox.get().is_none() {
            self.started.notified().await;
        }
        self.inbox.get().unwrap()
    }

    pub async fn deliver(&self, notice: &Notice) {
        self.inbox().await.deliver(notice.bytes()).await;
    }
}

#[async_trait]
impl Bus for ByHand {
    async fn run(&self, inbox: Inbox) {
        self.inbox.set(inbox).unwrap();
        self.started.notify_waiters();
        std::future::pending().await
    }

    async fn watch(&self, rooms: &[RoomId]) {
        let slowness = *self.slowness.lock();
        sleep(slowness).await;
        self.watched.lock().extend_from_slice(rooms);
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        self.watched.lock().retain(|room| !rooms.contains(room));
    }

    fn publish(&self, notice: &Notice) {
        self.sent.lock().push_back(notice.clone());
    }

    async fn health(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) {}
}
