//! How a hub ends.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::ponders::Ponders;
use common::trouble::Troubled;
use common::{Peer, hub_of, room, since, unlimited, user, v1};
use roomcast_core::{Draft, Hub, Inbound, MemoryStore, MessageStore};
use serde_json::json;
use tokio::time::sleep;

/// The connection is driven by the embedding server, so that no task of the hub is there to wait for when the shutdown
/// begins; then the policy answers, the message goes to its room, and the client hangs up.
#[tokio::test(start_paused = true)]
async fn what_is_accepted_during_a_shutdown_is_committed() {
    let store = Troubled::new(MemoryStore::new());
    store.append_ms.store(500, SeqCst);
    let hub = Hub::builder(store.clone(), Ponders(Duration::from_millis(100)))
        .limits(unlimited())
        .build()
        .unwrap();
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t": "send", "id": 1, "content": "accepted"}));
    sleep(Duration::from_millis(10)).await;
    let stop = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(Duration::from_secs(30)).await }
    });
    sleep(Duration::from_millis(200)).await; // the append is under way
    assert_eq!(store.store.room(&room("r")).await.unwrap().unwrap().head, 0);
    ann.send_raw(Inbound::Closed);
    let report = stop.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(
        report.took >= Duration::from_millis(400),
        "it waited for the append: {report:?}"
    );
}

/// A store that never closes doesn't hold up the shutdown.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_though_the_store_does_not_close() {
    let store = Troubled::new(MemoryStore::new());
    store.close_hangs.store(true, SeqCst);
    let hub = hub_of(store.clone(), unlimited());
    let report = hub.shutdown(Duration::from_secs(1)).await;
    assert!(report.store.is_some() && !report.is_clean(), "{report:?}");
    assert!(report.took <= Duration::from_millis(1500), "{report:?}");
}

/// Nor does one that never answers; the report says what was left, and nothing goes on after it.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_though_the_store_does_not_answer() {
    let store = Troubled::new(MemoryStore::new());
    let hub = hub_of(store.clone(), unlimited());
    store.append_hangs.store(true, SeqCst);
    let publish = tokio::spawn({
        let hub = hub.clone();
        async move { hub.publish(&room("r"), &user("bot"), Draft::text("x")).await }
    });
    sleep(Duration::from_millis(10)).await;
    let report = hub.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.tasks_left, 1, "{report:?}");
    assert!(report.took <= Duration::from_millis(1500), "{report:?}");
    assert!(publish.await.unwrap().is_err(), "the caller is told");
    assert!(store.store.health().await.is_err(), "the store is closed");
}

/// A call from a short-lived runtime, a tool's thread say, is the first in a room. When that runtime ends, what others
/// have sent there is committed all the same.
#[test]
fn a_room_does_not_depend_on_the_runtime_of_one_caller() {
    let store = Troubled::new(MemoryStore::new());
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let hub = main.block_on(async { hub_of(store.clone(), unlimited()) });
    let mut ann = main.block_on(async {
        let mut ann = Peer::connect(&hub, v1("ann", "r"));
        ann.frame_of("hello").await;
        ann
    });
    store.append_ms.store(300, SeqCst);
    let other = hub.clone();
    std::thread::spawn(move || {
        let tool = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (bot, r) = (user("bot"), room("r"));
        let publish = other.publish(&r, &bot, Draft::text("from a tool"));
        assert!(
            tool.block_on(async { tokio::time::timeout(Duration::from_millis(50), publish).await })
                .is_err(),
            "the tool doesn't wait"
        );
    })
    .join()
    .unwrap();
    main.block_on(async {
        ann.send(json!({"t": "send", "id": 1, "content": "mine"}));
        assert_eq!(ann.frame().await["content"], "from a tool");
        assert_eq!(ann.frame_of("ack").await["seq"], 2);
    });
}

/// Ann catches up, page by page, and her message waits for its commit. The hub begins to stop while a page is being read. Once it
/// is there she fetches nothing more, and has nothing to send before her ack: she must wait for it, not ask over and over
/// again whether it is there (which never let the commit come to an end).
#[tokio::test(start_paused = true)]
async fn who_lags_and_waits_for_a_commit_waits_quietly_while_the_hub_stops() {
    let store = Troubled::new(MemoryStore::new());
    let mut limits = unlimited();
    limits.tail.messages = 4;
    limits.history_page_max = 2;
    limits.history_page = 2;
    let hub = hub_of(store.clone(), limits);
    for n in 0..20 {
        let said = hub.publish(&room("r"), &user("bot"), Draft::text(n.to_string())).await;
        said.unwrap();
    }
    let epoch = hub.room(room("r")).head().await.unwrap().unwrap().epoch;
    store.read_ms.store(100, SeqCst);
    store.append_ms.store(1_000, SeqCst);
    let mut ann = Peer::connect(&hub, v1("ann", "r").start(since(epoch.as_str(), 1)));
    ann.frame_of("hello").await;
    ann.send(json!({"t": "send", "id": 1, "content": "x"}));
    sleep(Duration::from_millis(150)).await;
    let report = hub.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(ann.frame_of("ack").await["id"], 1);
    assert_eq!(ann.closed().await, 4000);
}
