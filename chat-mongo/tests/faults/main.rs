//! A server that fails in every way that servers do, while a room is at work on it: senders repeat what isn't acknowledged,
//! members come back with their cursors. In the end every acknowledged message is in the log exactly once, the
//! numbers are contiguous, all members saw the same, and what was refused is nowhere.

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod disk;
mod failover;
mod load;
mod member;
mod pause;
mod pipe;
mod sender;
mod two_hubs;

use std::time::Duration;

use roomcast_mongo::MongoStore;
use tokio::sync::{Mutex, MutexGuard};

/// One load at a time: on a small machine several of them would only measure each other.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// How long the store gives one operation.
const OPERATION: Duration = Duration::from_secs(2);
/// A hub that is so patient tries again by itself.
const PATIENT: Duration = Duration::from_secs(10);
/// A hub that isn't drops an append that takes longer, and leaves it to the sender to try again.
const HASTY: Duration = Duration::from_millis(500);

async fn store(uri: String) -> MongoStore {
    let store = MongoStore::builder(uri).operation_timeout(OPERATION);
    store.connect().await.unwrap()
}
