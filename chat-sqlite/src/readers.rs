//! The threads that read.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use roomcast_core::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::refused;
use crate::schema;
use crate::shared::Shared;

/// A read, on a connection that can't write.
pub(crate) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// What some reading threads share. Whoever has the lock waits for the next read and lets go of it to do it.
pub(crate) type Queue = Arc<Mutex<Reads>>;

/// Queues of which the first that isn't empty is served.
pub(crate) struct Reads(Vec<mpsc::Receiver<Read>>);

impl Reads {
    pub(crate) fn queue(in_order: impl Into<Vec<mpsc::Receiver<Read>>>) -> Queue {
        Arc::new(Mutex::new(Self(in_order.into())))
    }

    /// `None` once no sender is left and all queues are empty.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        let mut next = Poll::Ready(None);
        for queue in &mut self.0 {
            match queue.poll_recv(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(read) => return Poll::Ready(read),
                Poll::Pending => next = Poll::Pending,
            }
        }
        next
    }
}

/// Runs until no sender is left and the queues are empty.
pub(crate) fn run(shared: &Shared, queue: &Queue, opened: oneshot::Sender<Result<(), StoreError>>) {
    // Only for waiting.
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(opened.send(Err(refused("no runtime for a reader").with_source(error)))),
    };
    let connection = match schema::open_reader(&shared.settings) {
        Ok(connection) => connection,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    loop {
        let next = {
            let mut reads = queue.lock();
            runtime.block_on(poll_fn(|cx| reads.poll_next(cx)))
        };
        match next {
            Some(read) => read(&connection),
            None => return,
        }
    }
}
