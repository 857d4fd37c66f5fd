//! How a connection ends, whatever is under way.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{room, user, v1};
use roomcast_core::{
    Bytes, CloseCode, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    MemoryStore, OpenPolicy,
};
use tokio::time::sleep;

fn hub() -> Hub {
    Hub::builder(MemoryStore::new(), OpenPolicy).build().unwrap()
}

async fn say(hub: &Hub, text: &str) {
    hub.publish(&room("r"), &user("bot"), Draft::text(text)).await.unwrap();
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// A client that takes so many frames and then half of one, and notes what is called after.
struct Stuck {
    takes: usize,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    given_up: AtomicBool,
    sends_after: AtomicUsize,
    closes: AtomicUsize,
}

impl Connection for Stuck {
    type Reader = Silence;
    type Writer = Self;

    fn split(self) -> (Silence, Self) {
        (Silence, self)
    }
}

struct Silence;

impl ConnectionReader for Silence {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        std::future::pending().await
    }
}

impl ConnectionWriter for Stuck {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        if self.calls.given_up.load(SeqCst) {
            self.calls.sends_after.fetch_add(1, SeqCst);
        }
        if frames.len() > self.takes {
            struct GivenUp<'a>(&'a AtomicBool);
            impl Drop for GivenUp<'_> {
                fn drop(&mut self) {
                    self.0.store(true, SeqCst);
                }
            }
            let _half_a_frame_is_out = GivenUp(&self.calls.given_up);
            std::future::pending::<()>().await;
        }
        self.takes -= frames.len();
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(true)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        self.calls.closes.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// A message is being written when the client stops to read, and the time of one write is over: half a frame is out, and a
/// `bye` would be read as its other half.
#[tokio::test(start_paused = true)]
async fn after_a_write_that_was_given_up_only_close_is_called() {
    let hub = hub();
    let calls = Arc::new(Calls::default());
    let stuck = Stuck {
        takes: 1,
        calls: calls.clone(),
    };
    let task = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(v1("ann", "r"), stuck).await }
    });
    settle().await;
    say(&hub, "x").await;
    assert_eq!(task.await.unwrap().unwrap().code, Some(CloseCode::Timeout));
    assert!(calls.given_up.load(SeqCst));
    assert_eq!((calls.sends_after.load(SeqCst), calls.closes.load(SeqCst)), (0, 1));
}
