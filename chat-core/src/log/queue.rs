//! Waiting for a place among what is to be committed.

use std::pin::pin;

use tokio::time::Instant;

use super::state::Offered;
use super::submission::{Submission, unavailable};
use super::{RoomLog, commit};
use crate::bugs::bug;
use crate::engine::RoomLease;

impl RoomLease {
    /// Queues a message for its commit; waits while there is no place. The sender is told in any case. If the future is
    /// dropped, the message is either queued or its sender told that it isn't known to be stored.
    pub(crate) async fn submit(&self, mut submission: Submission) {
        let log = self.log();
        let limit = log.engine.limits.commit_queue;
        let mut waiter: Option<Waiter<'_>> = None;
        loop {
            let mut space = pin!(log.space.notified());
            space.as_mut().enable();
            let offered = {
                let mut state = log.state.lock();
                let others = state.waiting > usize::from(waiter.is_some());
                // Who comes later waits behind those who wait already.
                let offered = if waiter.is_some() || !others || state.broken {
                    state.offer(submission, limit)
                } else {
                    Offered::Full(submission)
                };
                if waiter.is_none() && matches!(offered, Offered::Full(_)) {
                    state.waiting += 1;
                    waiter = Some(Waiter(log));
                }
                if others && matches!(offered, Offered::Queued | Offered::StartCommitter) {
                    log.space.notify_one(); // There may be a place for the next as well.
                }
                offered
            };
            match offered {
                Offered::Queued => return,
                Offered::StartCommitter => return commit::start(self.clone()),
                Offered::Broken(refused) => return refused.sender.tell(Err(unavailable())),
                Offered::Full(refused) => submission = refused,
            }
            let waited = tokio::time::timeout_at(submission.deadline, space).await;
            if waited.is_err() || submission.deadline <= Instant::now() {
                if !bug!(PlaceKept) {
                    log.space.notify_one(); // The place, if this was about one, is for the next.
                }
                return submission.sender.tell(Err(unavailable()));
            }
        }
    }
}

/// One who waits for a place in the queue.
struct Waiter<'a>(&'a RoomLog);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}
