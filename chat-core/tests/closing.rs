//! How a connection ends, whatever is under way.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::ponders::Ponders;
use common::trouble::Troubled;
use common::{Peer, Seen, hub_of, room, since, unlimited, user, v1};
use roomcast_core::{
    Bytes, CloseCode, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    Limits, MemoryStore, OpenPolicy, Policy,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

fn hub_with(policy: impl Policy) -> Hub {
    let mut limits = Limits::default();
    limits.rate = None;
    Hub::builder(MemoryStore::new(), policy).limits(limits).build().unwrap()
}

fn hub() -> Hub {
    hub_with(OpenPolicy)
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

const FOR_EVER: Duration = Duration::from_secs(86_400);

/// A policy that never answers: ann's send is being decided on. Then she is kicked; then somebody speaks. The kick must not
/// wait for the policy, nor the connection stay in the room.
#[tokio::test(start_paused = true)]
async fn a_kick_does_not_wait_for_a_policy() {
    let hub = hub_with(Ponders(FOR_EVER));
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    settle().await;
    assert_eq!(hub.kick(user("ann").id()), 1);
    settle().await;
    assert_eq!(hub.room(room("r")).members(), []);
    say(&hub, "secret").await;
    let err = ann.frame().await;
    assert_eq!((&err["id"], &err["code"]), (&json!(1), &json!("unavailable")));
    assert_eq!(ann.frame().await["code"], 4503);
    assert_eq!(ann.next().await, Seen::Close(4503, "kicked".into()));
}

/// The same when her login runs out meanwhile.
#[tokio::test(start_paused = true)]
async fn an_identity_expires_while_a_policy_is_asked() {
    let hub = hub_with(Ponders(FOR_EVER));
    let mut ann = Peer::connect(&hub, v1("ann", "r").expires_in(Duration::from_secs(3)));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    let began = Instant::now();
    assert_eq!(ann.frame_of("bye").await["code"], 4501);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A client takes one message just before the next is queued, so its queue is never empty. It is kicked: what the room
/// said before and what it says on must not keep the goodbye waiting.
#[tokio::test(start_paused = true)]
async fn a_slow_client_of_a_busy_room_is_closed() {
    let hub = hub();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), 1, true);
    ann.frame_of("hello").await;
    settle().await;
    let (publisher, window) = (hub.clone(), ann.window.clone());
    let busy = tokio::spawn(async move {
        for _ in 0..50 {
            say(&publisher, "said before").await;
        }
        loop {
            say(&publisher, "more").await;
            settle().await;
            window.add_permits(1);
            settle().await;
        }
    });
    sleep(Duration::from_secs(1)).await;
    let mut before = 0;
    assert_eq!(hub.kick(user("ann").id()), 1);
    let kicked = Instant::now();
    while ann.frame().await["t"] != "bye" {
        before += 1;
    }
    assert!(kicked.elapsed() < Duration::from_secs(5), "{:?}", kicked.elapsed());
    assert!(before <= 101, "{before} messages");
    busy.abort();
}

/// A client catches up from a store that takes its time. While a page is read it is kicked, and its user may be banned: that
/// page is not for it any more.
#[tokio::test(start_paused = true)]
async fn who_is_kicked_while_it_catches_up_gets_no_further_page() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 1;
    let hub = hub_of(store.clone(), limits);
    for _ in 0..10 {
        say(&hub, "said before").await;
    }
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    store.read_ms.store(1000, SeqCst);
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(since(epoch.as_str(), 0)));
    ann.frame_of("hello").await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(hub.kick(user("ann").id()), 1);
    assert_eq!(ann.frame().await["t"], "bye");
}

/// Ann is admitted; the operator bans and kicks her; then her handshake ends and she is served. Nobody asks the policy again,
/// so the kick has to reach her place.
#[tokio::test(start_paused = true)]
async fn a_kick_reaches_a_client_that_is_shaking_hands() {
    let hub = hub();
    let admission = hub.admit(v1("ann", "r")).await.unwrap();
    let other = hub.admit(v1("bob", "r")).await.unwrap();
    assert_eq!(hub.kick(user("ann").id()), 1);
    let (mut ann, mut bob) = (Peer::serve(admission), Peer::serve(other));
    settle().await;
    say(&hub, "secret").await;
    assert_eq!(ann.frame().await["t"], "hello");
    assert_eq!(ann.frame().await["code"], 4503);
    assert_eq!(ann.next().await, Seen::Close(4503, "kicked".into()));
    bob.frame_of("hello").await;
    assert_eq!(bob.frame().await["content"], "secret");
}

/// A hub that stops waits for the request that is being decided on, and for its commit.
#[tokio::test(start_paused = true)]
async fn what_is_being_decided_on_is_answered_before_a_stopping_hub_says_goodbye() {
    let hub = hub_with(Ponders(Duration::from_secs(2)));
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    settle().await;
    let stop = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(Duration::from_secs(30)).await }
    });
    assert_eq!(ann.frame().await["t"], "ack");
    assert_eq!(ann.frame().await["t"], "bye");
    ann.send_raw(Inbound::Closed);
    assert!(stop.await.unwrap().is_clean());
}

/// A policy that never answers holds up the requests of one connection only, and not for ever.
#[tokio::test(start_paused = true)]
async fn a_policy_that_does_not_answer_is_not_waited_for() {
    let hub = hub_with(Ponders(FOR_EVER));
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    let began = Instant::now();
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    ann.send(json!({"t":"ping","id":2}));
    let err = ann.frame().await;
    assert_eq!((&err["id"], &err["code"]), (&json!(1), &json!("unavailable")));
    assert_eq!(began.elapsed().as_secs(), hub.limits().policy.as_secs());
    assert_eq!(ann.frame().await["t"], "pong");
}

/// The last handle is dropped while a policy is asked that never answers: nobody is there any more to set a deadline.
#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_a_connection_whose_policy_hangs() {
    let hub = hub_with(Ponders(FOR_EVER));
    let mut ann = Peer::serve(hub.admit(v1("ann", "r")).await.unwrap());
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    settle().await;
    drop(hub);
    let ended = timeout(Duration::from_secs(15), ann.task).await;
    assert_eq!(ended.unwrap().unwrap().unwrap().code, Some(CloseCode::Draining));
}

/// A stopping hub waits for a policy when the operator kicks ann: she must not be told to come back.
#[tokio::test(start_paused = true)]
async fn who_is_told_to_come_back_may_yet_be_told_to_stay_away() {
    let hub = hub_with(Ponders(FOR_EVER));
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"x"}));
    settle().await;
    let stop = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(Duration::from_secs(30)).await }
    });
    settle().await;
    assert_eq!(hub.kick(user("ann").id()), 1);
    let bye = ann.frame_of("bye").await;
    assert_eq!((&bye["code"], &bye["reconnect"]), (&json!(4503), &json!(false)));
    ann.send_raw(Inbound::Closed);
    stop.await.unwrap();
}
