//! A bus whose notices the script carries.

use std::sync::Arc;
use std::sync::Mutex;

use roomcast_core::{Bus, BusError, Bytes, Inbox, Notice, RoomId, async_trait};
use tokio::sync::OnceCell;

/// So many notices are kept to be carried.
const KEPT: usize = 64;

#[derive(Default)]
pub struct Wire {
    pub inbox: OnceCell<Inbox>,
    pub told: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Bus for Wire {
    async fn run(&self, inbox: Inbox) {
        assert!(self.inbox.set(inbox).is_ok(), "a bus is run once");
        std::future::pending().await
    }

    async fn watch(&self, _: &[RoomId]) {}

    fn unwatch(&self, _: &[RoomId]) {}

    fn publish(&self, notice: &Notice) {
        let mut told = self.told.lock().expect("no panic");
        if told.len() < KEPT {
            told.push(notice.bytes().clone());
        }
    }

    async fn health(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) {}
}

/// For a hub's builder.
pub fn wire() -> Arc<Wire> {
    Arc::default()
}
