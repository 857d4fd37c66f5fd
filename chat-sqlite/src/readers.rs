//! The threads that read.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_core::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::schema;
use crate::shared::Shared;

/// A read, on a connection that can't write.
pub(crate) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The queue that all reading threads share. Whoever has the lock waits for the next read and lets go of it to do it.
pub(crate) type Queue = Arc<Mutex<mpsc::Receiver<Read>>>;

/// Runs until no sender is left and the queue is empty.
pub(crate) fn run(shared: &Shared, queue: &Queue, opened: oneshot::Sender<Result<(), StoreError>>) {
    let connection = match schema::open_reader(&shared.settings) {
        Ok(connection) => connection,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    loop {
        let next = queue.lock().blocking_recv();
        match next {
            Some(read) => read(&connection),
            None => return,
        }
    }
}
