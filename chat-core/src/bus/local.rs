//! A bus between hubs of one process.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::mpsc;

use super::{Bus, BusError, Inbox, Notice};
use crate::RoomId;

/// So many notices may wait for one hub; what comes then is lost, and made up for by comparing heads.
const WAITING: usize = 1024;

/// A [`Bus`] between hubs of one process that share a store: for tests, and where one program has several hubs.
/// Each hub takes an end of its own.
///
/// The first of the hubs that is [shut down](crate::Hub::shutdown) closes the store that they share.
///
/// ```
/// # use std::sync::Arc;
/// # use roomcast_core::{Hub, LocalBus, MemoryStore, OpenPolicy};
/// let store = Arc::new(MemoryStore::new());
/// let bus = LocalBus::new();
/// let one = Hub::builder(store.clone(), OpenPolicy).bus(bus.end()).build()?;
/// let two = Hub::builder(store, OpenPolicy).bus(bus.end()).build()?;
/// # Ok::<(), roomcast_core::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LocalBus(Arc<Mutex<Slab<Arc<Mailbox>>>>);

#[derive(Debug)]
struct Mailbox {
    rooms: Mutex<HashSet<RoomId>>,
    sender: mpsc::Sender<Bytes>,
    overflowed: AtomicBool,
}

impl LocalBus {
    /// A bus with no hub on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An end for one more hub.
    #[must_use]
    pub fn end(&self) -> impl Bus {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mailbox = Arc::new(Mailbox {
            rooms: Mutex::default(),
            sender,
            overflowed: AtomicBool::new(false),
        });
        let key = self.0.lock().insert(mailbox.clone());
        End {
            bus: self.clone(),
            key,
            mailbox,
            receiver: tokio::sync::Mutex::new(receiver),
        }
    }
}

struct End {
    bus: LocalBus,
    key: usize,
    mailbox: Arc<Mailbox>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.bus.0.lock().try_remove(self.key);
    }
}

#[async_trait]
impl Bus for End {
    async fn run(&self, inbox: Inbox) {
        let mut receiver = self.receiver.lock().await;
        while let Some(notice) = receiver.recv().await {
            if self.mailbox.overflowed.swap(false, Ordering::Relaxed) {
                inbox.missed();
            }
            inbox.deliver(&notice).await;
        }
    }

    async fn watch(&self, rooms: &[RoomId]) {
        self.mailbox.rooms.lock().extend(rooms.iter().cloned());
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        let mut watched = self.mailbox.rooms.lock();
        for room in rooms {
            watched.remove(room);
        }
    }

    fn publish(&self, notice: &Notice) {
        for (key, mailbox) in &*self.bus.0.lock() {
            let wanted = || notice.room().is_none_or(|room| mailbox.rooms.lock().contains(room));
            if key != self.key && wanted() && mailbox.sender.try_send(notice.bytes().clone()).is_err() {
                mailbox.overflowed.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn health(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) {}
}
