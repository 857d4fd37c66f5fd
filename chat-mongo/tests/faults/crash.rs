//! The server is killed under load, and started again on the same data.

use std::time::Duration;

use crate::common::mongod::Mongod;
use crate::common::replica_set::ReplicaSet;
use crate::load::{Load, hub};
use crate::{HASTY, PATIENT, alone, store};

/// Three kills of a server; it is away for so long each time.
async fn kill(what: &str, mongod: &mut Mongod, uri: String, commit: Duration, away: Duration) {
    let load = Load::start(vec![hub(store(uri.clone()).await, commit)]).await;
    for _ in 0..3 {
        load.progress(500).await;
        mongod.kill9();
        tokio::time::sleep(away).await;
        mongod.restart();
    }
    load.progress(500).await;
    load.finish(what, store(uri).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_what_was_acknowledged() {
    let _turn = alone().await;
    let mut mongod = Mongod::standalone();
    let uri = mongod.uri();
    kill("three kills", &mut mongod, uri, PATIENT, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_repeat_what_a_killed_server_may_have() {
    let _turn = alone().await;
    let mut mongod = Mongod::standalone();
    let uri = mongod.uri();
    let away = Duration::from_secs(2);
    kill("three kills, two seconds away", &mut mongod, uri, HASTY, away).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_set_of_one_has_what_was_acknowledged() {
    let _turn = alone().await;
    let mut set = ReplicaSet::of(1).await;
    let (uri, mongod) = (set.uri(), &mut set.members[0]);
    kill(
        "three kills of a replica set of one",
        mongod,
        uri,
        PATIENT,
        Duration::ZERO,
    )
    .await;
}
