//! Two hubs write one room with all their might.

use std::time::Duration;

use crate::common::mongod::Mongod;
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
