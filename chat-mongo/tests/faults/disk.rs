//! The disk is full: the server gives up, and comes back once there is place again.

use crate::common::mongod::Mongod;
use crate::load::{Load, hub};
use crate::{PATIENT, alone, store};

/// A fresh server takes about 320 MiB, most of it for the journal.
const DISK: u64 = 512 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let _turn = alone().await;
    let mut mongod = Mongod::with_disk_of(DISK);
    let load = Load::start(vec![hub(store(mongod.uri()).await, PATIENT)]).await;
    load.progress(1000).await;
    mongod.fill_disk();
    // It can't write its journal, and ends rather than say yes to what it doesn't keep.
    mongod.gives_up().await;
    mongod.free_disk();
    mongod.restart();
    load.progress(1000).await;
    load.finish("a full disk", store(mongod.uri()).await).await;
}
