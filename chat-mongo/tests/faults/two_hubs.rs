//! Two hubs write one room with all their might.

use std::time::Duration;

use crate::common::mongod::Mongod;
#[cfg(feature = "change-streams")]
use crate::common::replica_set::ReplicaSet;
#[cfg(feature = "change-streams")]
use crate::load::hub_with_bus;
use crate::load::{Load, hub};
use crate::{PATIENT, alone, store};

const LOAD: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_share_a_room() {
    let _turn = alone().await;
    let mongod = Mongod::standalone();
    let hubs = vec![
        hub(store(mongod.uri()).await, PATIENT),
        hub(store(mongod.uri()).await, PATIENT),
    ];
    let load = Load::start(hubs).await;
    tokio::time::sleep(LOAD).await;
    load.progress(1).await;
    load.finish("two hubs", store(mongod.uri()).await).await;
}

/// With members on both, who hear of what the other stores, and primaries that step down or are killed.
#[cfg(feature = "change-streams")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_with_change_streams_share_a_room() {
    let _turn = alone().await;
    let mut set = ReplicaSet::of(3).await;
    let hubs = vec![
        hub_with_bus(store(set.uri()).await, PATIENT).await,
        hub_with_bus(store(set.uri()).await, PATIENT).await,
    ];
    let load = Load::start(hubs).await;
    for _ in 0..2 {
        load.progress(300).await;
        set.step_down().await;
    }
    load.progress(300).await;
    let primary = set.primary().await;
    set.members[primary].kill9();
    load.progress(300).await;
    set.members[primary].restart();
    load.progress(300).await;
    load.finish("two hubs with change streams", store(set.uri()).await)
        .await;
}
