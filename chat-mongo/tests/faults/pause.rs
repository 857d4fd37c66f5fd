//! The server stops in its tracks for longer than an operation may take, and goes on: what was given up may have its effect
//! yet.

use std::time::Duration;

use crate::common::mongod::Mongod;
use crate::load::{Load, hub};
use crate::{HASTY, OPERATION, PATIENT, alone, store};

async fn pause(what: &str, commit: Duration, pauses: [Duration; 3]) {
    let mongod = Mongod::standalone();
    let load = Load::start(vec![hub(store(mongod.uri()).await, commit)]).await;
    for pause in pauses {
        load.progress(500).await;
        mongod.pause();
        tokio::time::sleep(pause).await;
        mongod.resume();
    }
    load.progress(500).await;
    load.finish(what, store(mongod.uri()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_paused_server_does_late_is_not_done_twice() {
    let _turn = alone().await;
    // Longer than one operation may take, and at last longer than a sender waits for its answer.
    let pauses = [OPERATION, OPERATION, PATIENT].map(|time| time + Duration::from_secs(1));
    pause("three pauses", PATIENT, pauses).await;
}

/// The hub drops its appends long before the store's own limit, while they wait at the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hasty_hub_dropped_is_not_done_twice() {
    let _turn = alone().await;
    let pauses = [HASTY * 2, HASTY * 3, OPERATION * 2];
    pause("three pauses and a hasty hub", HASTY, pauses).await;
}
