//! What members see: order, resuming, catching up, acknowledgements, shutdown.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::trouble::Troubled;
use common::{OPEN, Peer, Seen, room, user, v1};
use roomcast_core::{
    Appended, Client, Denied, Draft, Epoch, ErrorCode, HistoryPage, HistoryRange, Hub, Limits, LogPage, MemoryStore,
    Message, MessageId, MessageStore, NewEntry, Nonce, OpenPolicy, PageLimit, Policy, QueueLimit, RoomHead, RoomId,
    RoomInfo, Sent, Start, StoreError, StoreErrorKind, User, UserId,
};
use serde_json::json;

fn hub(limits: Limits) -> Hub {
    Hub::builder(MemoryStore::new(), OpenPolicy)
        .limits(limits)
        .build()
        .unwrap()
}

fn unlimited() -> Limits {
    let mut limits = Limits::default();
    limits.rate = None;
    limits
}

/// Reads messages until `last`, and checks that their numbers rise by one from `first`.
async fn expect_run(peer: &mut Peer, first: u64, last: u64) {
    let mut next = first;
    while next <= last {
        let frame = peer.frame().await;
        if frame.get("t").is_none() {
            assert_eq!(frame["seq"], next, "{frame}");
            next += 1;
        }
    }
}

async fn publish(hub: &Hub, room_id: &str, count: usize) {
    for n in 0..count {
        hub.publish(&room(room_id), &user("bot"), Draft::text(format!("message {n}")))
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn all_members_see_the_same_and_the_sender_gets_an_ack() {
    let hub = hub(Limits::default());
    let (mut ann, mut bob) = (Peer::connect(&hub, v1("ann", "r")), Peer::connect(&hub, v1("bob", "r")));
    let mut plain = Peer::connect(&hub, Client::plain(user("cid"), room("r")));
    assert_eq!(ann.frame().await["t"], "hello");
    assert_eq!(bob.frame().await["rooms"][0]["resume"], "fresh");
    tokio::time::sleep(Duration::from_millis(10)).await;
    ann.send(json!({"t":"send","id":7,"content":"hi"}));
    let seen = bob.frame().await;
    assert_eq!(
        (&seen["seq"], &seen["content"], &seen["user"]["id"]),
        (&json!(1), &json!("hi"), &json!("ann"))
    );
    assert_eq!(plain.frame().await, seen);
    let (a, b) = (ann.frame().await, ann.frame().await);
    let (ack, message) = if a["t"] == "ack" { (a, b) } else { (b, a) };
    assert_eq!(message, seen);
    assert_eq!(
        ack,
        json!({"t":"ack","id":7,"room_id":"r","msg":seen["id"],"seq":1,"dup":false})
    );
}

#[tokio::test(start_paused = true)]
async fn edits_and_deletions_take_numbers_and_plain_clients_do_not_see_them() {
    let hub = hub(Limits::default());
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    let mut plain = Peer::connect(&hub, Client::plain(user("cid"), room("r")));
    ann.frame_of("hello").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    ann.send(json!({"t":"send","id":1,"content":"first"}));
    let id = ann.frame_of("ack").await["msg"].clone();
    ann.send(json!({"t":"edit","id":2,"msg":id,"content":"second"}));
    let edit = ann.frame_of("edit").await;
    assert_eq!(
        (&edit["seq"], &edit["target"], &edit["content"]),
        (&json!(2), &json!(1), &json!("second"))
    );
    ann.send(json!({"t":"delete","id":3,"msg":id}));
    assert_eq!(ann.frame_of("delete").await["seq"], 3);
    ann.send(json!({"t":"edit","id":4,"msg":id,"content":"third"}));
    assert_eq!(ann.frame_of("err").await["code"], "not_found");
    ann.send(json!({"t":"send","id":5,"content":"last"}));
    assert_eq!(plain.frame().await["content"], "first");
    assert_eq!(plain.frame().await["seq"], 4);

    // A replay tells what is left.
    let mut bob = Peer::connect(&hub, v1("bob", "r").start(Start::Last(10)));
    bob.frame_of("hello").await;
    let tombstone = bob.frame().await;
    assert_eq!((&tombstone["deleted"], tombstone.get("content")), (&json!(true), None));
    assert_eq!(
        bob.frame().await.get("content"),
        None,
        "the edit of a deleted message says nothing"
    );
    assert_eq!(bob.frame().await["t"], "delete");
    assert_eq!(bob.frame().await["content"], "last");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_resumes_and_joins_the_live_stream_without_a_window() {
    let hub = hub(unlimited());
    let mut first = Peer::connect(&hub, v1("ann", "r"));
    let epoch = first.frame().await["rooms"][0]["epoch"].as_str().unwrap().to_owned();
    // A client that has seen nothing yet resumes as well, and so does one from beyond what is kept in memory.
    let writer = tokio::spawn({
        let hub = hub.clone();
        async move { publish(&hub, "r", 3000).await }
    });
    let mut peers = Vec::new();
    for n in 0..30_u64 {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let head = hub.room(room("r")).head().await.unwrap().unwrap().head;
        let seq = if n % 3 == 0 { 0 } else { head.saturating_sub(n * 50) };
        let start = Start::Since(format!("{epoch}:{seq}").parse().unwrap());
        peers.push((seq, Peer::connect(&hub, v1("bob", "r").start(start))));
    }
    writer.await.unwrap();
    for (seq, peer) in &mut peers {
        assert_eq!(peer.frame().await["rooms"][0]["resume"], "ok");
        expect_run(peer, *seq + 1, 3000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_log_is_told_so() {
    let hub = hub(Limits::default());
    publish(&hub, "r", 3).await;
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    for cursor in ["other:1".to_owned(), format!("{epoch}:4")] {
        let mut peer = Peer::connect(&hub, v1("ann", "r").start(Start::Since(cursor.parse().unwrap())));
        assert_eq!(peer.frame().await["rooms"][0]["resume"], "gap");
        assert_eq!(peer.frame().await, json!({"t":"gap","room_id":"r","reason":"epoch"}));
        peer.send_raw(roomcast_core::Inbound::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_retention_took_is_named() {
    let hub = Hub::builder(MemoryStore::with_retention(10), OpenPolicy)
        .limits(unlimited())
        .build()
        .unwrap();
    publish(&hub, "r", 50).await;
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    let mut peer = Peer::connect(
        &hub,
        v1("ann", "r").start(Start::Since(format!("{epoch}:3").parse().unwrap())),
    );
    assert_eq!(peer.frame().await["rooms"][0]["resume"], "gap");
    assert_eq!(
        peer.frame().await,
        json!({"t":"gap","room_id":"r","from":4,"to":40,"reason":"retention"})
    );
    expect_run(&mut peer, 41, 50).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_catches_up_in_place_and_slows_nobody() {
    let mut limits = unlimited();
    limits.send_queue = QueueLimit {
        messages: 8,
        bytes: 1 << 20,
    };
    limits.tail = QueueLimit {
        messages: 64,
        bytes: 1 << 20,
    };
    limits.write = Duration::from_secs(60);
    limits.catch_up = Duration::from_secs(600);
    let hub = hub(limits);
    let mut fast = Peer::connect(&hub, v1("fast", "r"));
    let mut slow = Peer::connect_with(&hub, v1("slow", "r"), 1, true);
    fast.frame_of("hello").await;
    slow.frame_of("hello").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    // Far more than the slow one's queue and the tail hold.
    publish(&hub, "r", 500).await;
    expect_run(&mut fast, 1, 500).await;
    slow.window.add_permits(300);
    expect_run(&mut slow, 1, 300).await;
    publish(&hub, "r", 100).await;
    slow.window.add_permits(OPEN);
    expect_run(&mut slow, 301, 600).await;
    publish(&hub, "r", 1).await;
    expect_run(&mut slow, 601, 601).await;
    expect_run(&mut fast, 501, 601).await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_keep_up_is_told_to_come_back() {
    let mut limits = unlimited();
    limits.send_queue = QueueLimit {
        messages: 8,
        bytes: 1 << 20,
    };
    limits.catch_up = Duration::from_secs(30);
    let hub = hub(limits);
    let mut slow = Peer::connect_with(&hub, v1("slow", "r"), 1, true);
    slow.frame_of("hello").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let writer = tokio::spawn({
        let hub = hub.clone();
        async move {
            for _ in 0..600 {
                publish(&hub, "r", 10).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let trickle = slow.window.clone();
    let reader = tokio::spawn(async move {
        loop {
            // Some progress in every write, but half as fast as the room.
            trickle.add_permits(5);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(slow.closed().await, 4001);
    reader.abort();
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_is_closed_for_making_no_progress() {
    let hub = hub(unlimited());
    let mut dead = Peer::connect_with(&hub, v1("dead", "r"), 1, true);
    dead.frame_of("hello").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = tokio::time::Instant::now();
    publish(&hub, "r", 1).await;
    let ended = dead.task.await.unwrap().unwrap();
    assert_eq!(ended.code, Some(roomcast_core::CloseCode::Timeout));
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert_eq!(hub.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_makes_a_send_repeatable() {
    let hub = hub(Limits::default());
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.send(json!({"t":"send","id":1,"nonce":"n","content":"hi"}));
    let first = ann.frame_of("ack").await;
    let mut again = Peer::connect(&hub, v1("ann", "r"));
    again.send(json!({"t":"send","id":2,"nonce":"n","content":"hi"}));
    let second = again.frame_of("ack").await;
    assert_eq!(
        (&second["msg"], &second["seq"], &second["dup"]),
        (&first["msg"], &first["seq"], &json!(true))
    );
    again.send(json!({"t":"send","id":3,"nonce":"n","content":"ho"}));
    assert_eq!(again.frame_of("err").await["code"], "nonce_conflict");
    assert_eq!(hub.room(room("r")).head().await.unwrap().unwrap().head, 1);
}

/// Ann's answer is stored, and its ack lost; then retention takes the question, or the policy finds that she speaks too fast.
/// She sends the answer again: it is stored already, so there is nothing to refuse.
#[tokio::test(start_paused = true)]
async fn a_repeated_nonce_gets_the_first_ack_though_it_could_not_be_sent_now() {
    let (store, policy) = (Arc::new(MemoryStore::with_retention(2)), OncePerUser::default());
    let start = || {
        let hub = Hub::builder(store.clone(), policy.clone()).limits(unlimited());
        hub.build().unwrap()
    };
    let hub = start();
    let question = hub
        .publish(&room("r"), &user("bot"), Draft::text("question"))
        .await
        .unwrap();
    let mut answer = Draft::text("answer");
    answer.reply_to = Some(question.id);
    answer.nonce = Some("n".parse().unwrap());
    let as_ann = hub.room(room("r")).as_user(user("ann"));
    let first = as_ann.send(answer.clone()).await.unwrap();
    publish(&hub, "r", 1).await;
    // The same hub, and another one.
    for hub in [hub, start()] {
        let as_ann = hub.room(room("r")).as_user(user("ann"));
        let again = as_ann.send(answer.clone()).await.unwrap();
        assert_eq!((again.id, again.seq, again.duplicate), (first.id, first.seq, true));
        // Other messages are refused as they should be.
        let mut other = answer.clone();
        other.nonce = Some("m".parse().unwrap());
        assert_eq!(as_ann.send(other).await.unwrap_err().code, ErrorCode::Forbidden);
        let mut other = answer.clone();
        other.content = Some("another answer".into());
        assert_eq!(as_ann.send(other).await.unwrap_err().code, ErrorCode::NonceConflict);
    }
}

/// A policy that lets each user speak once.
#[derive(Default, Clone)]
struct OncePerUser(Arc<std::sync::Mutex<Vec<User>>>);

#[async_trait]
impl Policy for OncePerUser {
    async fn join(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
    async fn send(&self, user: &User, _: &RoomId, _: &mut Draft) -> Result<(), Denied> {
        let mut spoken = self.0.lock().unwrap();
        if spoken.contains(user) {
            return Err(Denied::forbidden("slower"));
        }
        spoken.push(user.clone());
        Ok(())
    }
    async fn edit(&self, _: &User, _: &Message, _: &mut String) -> Result<(), Denied> {
        Ok(())
    }
    async fn delete(&self, _: &User, _: &Message) -> Result<(), Denied> {
        Ok(())
    }
    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_commits_what_was_accepted_and_says_when_to_come_back() {
    let store = Arc::new(MemoryStore::new());
    let hub = Hub::builder(SlowStore(store.clone()), OpenPolicy)
        .limits(unlimited())
        .build()
        .unwrap();
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    for n in 0..20 {
        ann.send(json!({"t":"send","id":n,"content":"x"}));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let stop = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(Duration::from_secs(30)).await }
    });
    let mut acks = 0;
    let bye = loop {
        let frame = ann.frame().await;
        match frame["t"].as_str() {
            Some("ack") => acks += 1,
            Some("bye") => break frame,
            _ => {}
        }
    };
    assert_eq!(acks, 20);
    assert_eq!((&bye["code"], &bye["reconnect"]), (&json!(4000), &json!(true)));
    assert!((500..=10_500).contains(&bye["after_ms"].as_u64().unwrap()));
    assert_eq!(ann.next().await, Seen::Close(4000, "draining".into()));
    ann.send_raw(roomcast_core::Inbound::Closed);
    let report = stop.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(hub.admit(v1("ann", "r")).await.is_err());
}

/// A store that takes its time to append.
struct SlowStore(Arc<MemoryStore>);

/// A store whose appends succeed but are reported as unknown, or fail before they begin, in turn.
struct DoubtfulStore(MemoryStore, AtomicUsize);

macro_rules! delegate {
    ($name:ident, |$self:ident, $room:ident, $head:ident, $entries:ident| $append:block) => {
        #[async_trait]
        impl MessageStore for $name {
            async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
                self.0.room(room).await
            }
            async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
                self.0.create_room(room, epoch).await
            }
            async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
                self.0.rooms(after, limit).await
            }
            async fn append(&$self, $room: &RoomId, $head: u64, $entries: &[NewEntry]) -> Result<Appended, StoreError> $append
            async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
                self.0.log(room, after, limit).await
            }
            async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
                self.0.history(room, range, limit).await
            }
            async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
                self.0.message(room, id).await
            }
            async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
                self.0.sent(room, user, nonce).await
            }
            async fn health(&self) -> Result<(), StoreError> {
                self.0.health().await
            }
            async fn close(&self) -> Result<(), StoreError> {
                self.0.close().await
            }
        }
    };
}

delegate!(SlowStore, |self, room, head, entries| {
    tokio::time::sleep(Duration::from_millis(500)).await;
    self.0.append(room, head, entries).await
});

delegate!(DoubtfulStore, |self, room, head, entries| {
    match self.1.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => {
            self.0.append(room, head, entries).await?;
            Err(StoreError::new(
                StoreErrorKind::OutcomeUnknown,
                "the line broke after the commit",
            ))
        }
        1 => Err(StoreError::new(
            StoreErrorKind::OutcomeUnknown,
            "the line broke before the commit",
        )),
        2 => Err(StoreError::new(StoreErrorKind::Unavailable, "busy")),
        _ => self.0.append(room, head, entries).await,
    }
});

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_found_out_so_nothing_is_stored_twice() {
    let store = DoubtfulStore(MemoryStore::new(), AtomicUsize::new(0));
    let hub = Hub::builder(store, OpenPolicy).limits(unlimited()).build().unwrap();
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    for n in 0..100 {
        // No nonce: the hub itself must know its entries again.
        ann.send(json!({"t":"send","id":n,"content":format!("message {n}")}));
        if n % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let (mut acks, mut messages) = (Vec::new(), Vec::new());
    while acks.len() < 100 || messages.len() < 100 {
        let frame = ann.frame().await;
        match frame["t"].as_str() {
            Some("ack") => acks.push(frame["id"].as_u64().unwrap()),
            None => messages.push((
                frame["seq"].as_u64().unwrap(),
                frame["content"].as_str().unwrap().to_owned(),
            )),
            other => panic!("{other:?}: {frame}"),
        }
    }
    assert_eq!(acks, (0..100).collect::<Vec<_>>());
    let expected: Vec<_> = (0..100).map(|n| (n + 1, format!("message {n}"))).collect();
    assert_eq!(messages, expected);
    assert_eq!(hub.room(room("r")).head().await.unwrap().unwrap().head, 100);
}

#[tokio::test(start_paused = true)]
async fn two_hubs_write_one_room_through_one_store() {
    let store = Arc::new(MemoryStore::new());
    let [one, two] = [0, 1].map(|_| {
        Hub::builder(store.clone(), OpenPolicy)
            .limits(unlimited())
            .build()
            .unwrap()
    });
    let mut peers = [Peer::connect(&one, v1("ann", "r")), Peer::connect(&two, v1("bob", "r"))];
    for peer in &mut peers {
        peer.frame_of("hello").await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut writers = Vec::new();
    for hub in [&one, &two, &one, &two] {
        let hub = hub.clone();
        writers.push(tokio::spawn(async move {
            for _ in 0..50 {
                publish(&hub, "r", 1).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // Without a bus, a node hears of the other's last entries when it writes again.
    publish(&one, "r", 1).await;
    publish(&two, "r", 1).await;
    publish(&one, "r", 1).await;
    expect_run(&mut peers[0], 1, 203).await;
    expect_run(&mut peers[1], 1, 202).await;
}

/// A member resumes from before what is in memory, while the store fails for a moment. It is neither closed nor kept from
/// anything else, and then sees what it asked for.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_moment_delays_a_resume() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 4;
    let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits).build().unwrap();
    publish(&hub, "r", 100).await;
    publish(&hub, "other", 1).await;
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    let start = Start::Since(format!("{epoch}:50").parse().unwrap());
    store.reads_fail.store(true, Ordering::SeqCst);
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(start.clone()));
    let mut plain = Peer::connect(&hub, Client::plain(user("cid"), room("r")).start(start));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"join","room_id":"other"}));
    ann.frame_of("joined").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    ann.send(json!({"t":"ping","id":1}));
    assert_eq!(ann.frame().await["t"], "pong");
    publish(&hub, "other", 1).await;
    assert_eq!(ann.frame().await["room_id"], "other");
    store.reads_fail.store(false, Ordering::SeqCst);
    expect_run(&mut ann, 51, 100).await;
    expect_run(&mut plain, 51, 100).await;
    publish(&hub, "r", 1).await;
    expect_run(&mut ann, 101, 101).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_on_failing_ends_a_resume() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 4;
    let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits).build().unwrap();
    publish(&hub, "r", 100).await;
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    let start = Start::Since(format!("{epoch}:50").parse().unwrap());
    store.reads_fail.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let mut ann = Peer::connect_with(&hub, v1("ann", "r").start(start), OPEN, false);
    assert_eq!(ann.closed().await, 4003);
    assert!((30..=33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Those who are ready to speak at the same time share a commit, also where a runtime has one task run before others that were ready
/// earlier.
#[test]
fn who_is_ready_to_speak_shares_a_commit() {
    use tokio::runtime::Builder;
    for mut runtime in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let commits = runtime.block_on(async {
            let store = Troubled::new(MemoryStore::new());
            let hub = Hub::builder(store.clone(), OpenPolicy).limits(unlimited());
            let hub = hub.build().unwrap();
            let mut ann = Peer::connect(&hub, v1("ann", "r"));
            assert_eq!(ann.frame().await["t"], "hello");
            publish(&hub, "r", 1).await;
            let before = store.appends.load(Ordering::SeqCst);
            // A task, so that all are made ready by the runtime's own thread.
            let speakers = tokio::spawn(async move {
                let speakers: Vec<_> = (0..32)
                    .map(|_| {
                        let hub = hub.clone();
                        tokio::spawn(async move { publish(&hub, "r", 1).await })
                    })
                    .collect();
                for speaker in speakers {
                    speaker.await.unwrap();
                }
            });
            speakers.await.unwrap();
            store.appends.load(Ordering::SeqCst) - before
        });
        assert!(commits <= 2, "{commits} commits");
    }
}
