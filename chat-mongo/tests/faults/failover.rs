//! Another server becomes primary, in good order or since the old one is gone.

use crate::common::replica_set::ReplicaSet;
use crate::load::{Load, hub};
use crate::{HASTY, PATIENT, alone, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_may_step_down() {
    let _turn = alone().await;
    let set = ReplicaSet::of(3).await;
    let load = Load::start(vec![hub(store(set.uri()).await, PATIENT)]).await;
    for _ in 0..3 {
        load.progress(300).await;
        set.step_down().await;
    }
    load.progress(300).await;
    load.finish("three primaries stepped down", store(set.uri()).await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_may_be_killed() {
    let _turn = alone().await;
    let mut set = ReplicaSet::of(3).await;
    let load = Load::start(vec![hub(store(set.uri()).await, PATIENT)]).await;
    for _ in 0..2 {
        load.progress(300).await;
        let primary = set.primary().await;
        set.members[primary].kill9();
        // The others go on.
        load.progress(300).await;
        set.members[primary].restart();
    }
    load.progress(300).await;
    load.finish("two primaries killed", store(set.uri()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_repeat_what_an_old_primary_may_have() {
    let _turn = alone().await;
    let mut set = ReplicaSet::of(3).await;
    let load = Load::start(vec![hub(store(set.uri()).await, HASTY)]).await;
    load.progress(300).await;
    let primary = set.primary().await;
    // It doesn't notice that it isn't primary any more, and may find out with writes of ours in its hands.
    set.members[primary].pause();
    load.progress(300).await;
    set.members[primary].resume();
    load.progress(300).await;
    let primary = set.primary().await;
    set.members[primary].kill9();
    load.progress(300).await;
    set.members[primary].restart();
    load.progress(300).await;
    load.finish("a primary paused and one killed", store(set.uri()).await)
        .await;
}
