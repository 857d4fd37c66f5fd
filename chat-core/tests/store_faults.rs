//! What members and senders see while the store is slow, silent, wrong, or cut off by retention.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::trouble::Troubled;
use common::{OPEN, Peer, hub_of, room, since, unlimited, user, v1, within};
use roomcast_core::{Draft, ErrorCode, Hub, MemoryStore, Receipt, Refusal, Start};
use tokio::time::{Instant, sleep};

async fn try_say(hub: &Hub, text: impl Into<String>) -> Result<Receipt, Refusal> {
    hub.publish(&room("r"), &user("bot"), Draft::text(text.into())).await
}

async fn say(hub: &Hub, text: impl Into<String>) -> Receipt {
    try_say(hub, text).await.unwrap()
}

async fn epoch(hub: &Hub) -> String {
    hub.room(room("r")).head().await.unwrap().unwrap().epoch.to_string()
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// Each look at the head takes longer than one is good for. Twenty who join at once must not each wait for those before and
/// then look again: the first two looks began after all of them had come.
#[tokio::test(start_paused = true)]
async fn a_crowd_joins_with_two_looks_at_a_slow_store() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    sleep(Duration::from_secs(2)).await;
    store.room_ms.store(1_500, SeqCst);
    let begun = Instant::now();
    let mut crowd: Vec<_> = (0..20)
        .map(|n| Peer::connect(&hub, v1(&format!("u{n}"), "r")))
        .collect();
    for peer in &mut crowd {
        peer.frame_of("hello").await;
    }
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// A join reads older entries into memory, page by page. Between two pages retention removes the first one's entries and
/// some more: what was read before must not be put together with what is read after.
#[tokio::test(start_paused = true)]
async fn retention_between_two_pages_leaves_no_hole() {
    let store = Troubled::new(MemoryStore::with_retention(20));
    let hub = hub_of(store.clone(), unlimited());
    for _ in 0..20 {
        say(&hub, "x".repeat(60_000)).await;
    }
    let epoch = epoch(&hub).await;
    // A member, so that new entries are kept in store.store.
    let mut live = Peer::connect(&hub, v1("live", "r"));
    live.frame_of("hello").await;
    settle().await;
    store.read_ms.store(1000, SeqCst);
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(since(&epoch, 15)));
    sleep(Duration::from_millis(500)).await; // the first page is read
    for _ in 0..19 {
        say(&hub, "y").await; // now the floor is 19
    }
    let mut next = 16;
    within(120, "everything up to the head", async {
        while next <= 39 {
            let frame = ann.frame().await;
            if frame["t"] == "gap" {
                assert_eq!(frame["from"], next);
                next = frame["to"].as_u64().unwrap() + 1;
            } else if frame.get("t").is_none() {
                assert_eq!(frame["seq"], next, "a hole that no gap frame names");
                next += 1;
            }
        }
    })
    .await;
}

/// Where the memory for a room's newest entries is small, older ones are not read over and over again to find that there
/// is no place for them.
#[tokio::test(start_paused = true)]
async fn a_resume_reads_the_log_about_once() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    for _ in 0..1000 {
        say(&hub, "x".repeat(10_000)).await; // ten times what is kept in memory
    }
    let epoch = epoch(&hub).await;
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(since(&epoch, 0)));
    let mut next = 1;
    while next <= 1000 {
        let frame = ann.frame().await;
        if frame.get("t").is_none() {
            assert_eq!(frame["seq"], next);
            next += 1;
        }
    }
    let read = store.entries_read.load(SeqCst);
    assert!(read <= 1500, "{read} entries were read to resume over 1,000");
}

/// The store keeps what it was given, but its answer is lost and every sender has been told that the outcome is
/// unknown: the members see the entry all the same, without anybody writing again.
#[tokio::test(start_paused = true)]
async fn what_was_stored_without_an_answer_is_broadcast() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    settle().await;
    store.append_loses_its_answer.store(true, SeqCst);
    let refused = try_say(&hub, "x").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    store.append_loses_its_answer.store(false, SeqCst);
    use roomcast_core::MessageStore;
    assert_eq!(
        store.store.room(&room("r")).await.unwrap().unwrap().head,
        1,
        "it is stored"
    );
    let frame = within(30, "the entry that is in the log", ann.frame()).await;
    assert_eq!(frame["content"], "x");
}

/// A client that reads an old page from the store sees an entry whose append hasn't been answered yet. It comes back
/// with a cursor that is ahead of what the hub knows: of the same log, for all that.
#[tokio::test(start_paused = true)]
async fn a_cursor_ahead_of_what_the_hub_knows_is_of_the_same_log() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 2;
    let hub = hub_of(store.clone(), limits);
    for _ in 0..3 {
        say(&hub, "x").await;
    }
    let epoch = epoch(&hub).await;
    let mut live = Peer::connect(&hub, v1("live", "r"));
    live.frame_of("hello").await;
    settle().await;
    store.append_loses_its_answer.store(true, SeqCst);
    let pending = tokio::spawn({
        let hub = hub.clone();
        async move { try_say(&hub, "4").await }
    });
    settle().await;
    let mut again = Peer::connect(&hub, v1("ann", "r").start(since(&epoch, 4)));
    let hello = again.frame().await;
    assert_eq!(hello["rooms"][0]["resume"], "ok", "{hello}");
    assert_eq!(hello["rooms"][0]["head"], 4);
    assert_eq!(pending.await.unwrap().unwrap_err().code, ErrorCode::Unavailable);
}

/// Five messages wait in the queue one behind the other, and the store is silent. Each sender is told at its own time, not at
/// the sum of those before.
#[tokio::test(start_paused = true)]
async fn every_sender_is_told_within_the_commit_limit() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.commit_batch.messages = 1;
    let hub = hub_of(store.clone(), limits);
    store.append_hangs.store(true, SeqCst);
    let began = Instant::now();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move {
                assert_eq!(try_say(&hub, "x").await.unwrap_err().code, ErrorCode::Unavailable);
                began.elapsed()
            })
        })
        .collect();
    for call in calls {
        let told = call.await.unwrap();
        assert!(
            (10..11).contains(&told.as_secs()),
            "told after {told:?}; the limit is 10 s"
        );
    }
}

/// Another writer is always faster. The sender isn't left waiting for ever.
#[tokio::test(start_paused = true)]
async fn who_loses_every_race_is_told_within_the_commit_limit() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    store.append_loses_the_race.store(true, SeqCst);
    let began = Instant::now();
    let refused = within(30, "an answer", try_say(&hub, "mine")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(began.elapsed().as_secs() < 12, "{:?}", began.elapsed());
}

/// One entry that the store refuses doesn't take the others of its batch along.
#[tokio::test(start_paused = true)]
async fn an_entry_that_is_refused_fails_alone() {
    let store = common::picky::Picky::new("poison");
    let hub = hub_of(store, unlimited());
    say(&hub, "first").await;
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let hub = hub.clone();
            tokio::spawn(async move { try_say(&hub, if n == 7 { "poison" } else { "good" }).await.is_ok() })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), n != 7, "message {n}");
    }
    assert_eq!(hub.room(room("r")).head().await.unwrap().unwrap().head, 20);
}

/// A store that refuses everything: everybody is told, and nobody waits for the limit.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_no_delay() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    say(&hub, "first").await;
    store.append_refuses.store(true, SeqCst);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { try_say(&hub, "x").await })
        })
        .collect();
    let began = Instant::now();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().code, ErrorCode::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    store.append_refuses.store(false, SeqCst);
    say(&hub, "again").await;
}

/// Fifty clients come back while the store is silent: they are told together, not one time-out after the other.
#[tokio::test(start_paused = true)]
async fn a_silent_store_keeps_a_crowd_waiting_once() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    for _ in 0..10 {
        say(&hub, "x").await;
    }
    let epoch = epoch(&hub).await;
    store.reads_hang.store(true, SeqCst);
    let began = Instant::now();
    let mut peers: Vec<_> = (0..50)
        .map(|n| Peer::connect(&hub, v1(&format!("u{n}"), "r").start(since(&epoch, 5))))
        .collect();
    for peer in &mut peers {
        assert_eq!(peer.closed().await, 4003);
    }
    let took = began.elapsed().as_secs();
    assert!(took <= 15, "the last of 50 was told after {took} s");
}

/// What retention has removed from the store isn't given out from memory either.
#[tokio::test(start_paused = true)]
async fn what_retention_took_is_not_replayed_from_memory() {
    let hub = hub_of(MemoryStore::with_retention(2), unlimited());
    let mut live = Peer::connect(&hub, v1("live", "r"));
    live.frame_of("hello").await;
    settle().await;
    for n in 1..=10 {
        say(&hub, format!("{n}")).await;
    }
    let epoch = epoch(&hub).await;
    sleep(Duration::from_secs(2)).await;
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(since(&epoch, 0)));
    let hello = ann.frame().await;
    assert_eq!(hello["rooms"][0]["resume"], "gap", "{hello}");
    let gap = ann.frame_of("gap").await;
    assert_eq!((&gap["from"], &gap["to"]), (&1.into(), &8.into()));
    assert_eq!(ann.frame().await["seq"], 9);
}

/// `last` counts messages, however large they are.
#[tokio::test(start_paused = true)]
async fn the_last_messages_are_as_many_as_were_asked_for() {
    let hub = hub_of(MemoryStore::new(), unlimited());
    for _ in 0..300 {
        say(&hub, "x".repeat(20_000)).await;
    }
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(Start::Last(200)));
    ann.frame_of("hello").await;
    for seq in 101..=300 {
        assert_eq!(ann.frame().await["seq"], seq);
    }
}

/// Ann is in a room in which another hub on the store writes. The store panics at a look at its head, and then where ann asks to join
/// anew: that costs this look and this request, and neither ann her connection nor any room the looks that come after.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_read_fails_that_read_alone() {
    let store = Troubled::new(MemoryStore::new());
    let [one, two] = [0, 1].map(|_| hub_of(store.clone(), unlimited()));
    let mut ann = Peer::connect_with(&one, v1("ann", "r"), OPEN, false);
    ann.frame_of("hello").await;
    for check in 1..=3 {
        say(&two, "hi").await;
        store.room_panics.store(check == 2, SeqCst);
        sleep(Duration::from_secs(35)).await;
        assert!(!store.room_panics.load(SeqCst));
    }
    for seq in 1..=3 {
        assert_eq!(within(60, "all of them", ann.frame()).await["seq"], seq);
    }
    store.room_panics.store(true, SeqCst);
    sleep(Duration::from_secs(2)).await;
    ann.send(serde_json::json!({"t":"join","id":1,"room_id":"r"}));
    ann.frame_of("err").await;
    ann.send(serde_json::json!({"t":"join","id":2,"room_id":"r"}));
    ann.frame_of("joined").await;
}
