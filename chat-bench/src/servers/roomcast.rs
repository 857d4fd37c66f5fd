//! The engine as it is embedded: sessions, log, policy and limits, of which those are raised that would stop a benchmark.

use std::error::Error;

use http::request::Parts;
use roomcast_core::{Hub, Limits, MemoryStore, OpenPolicy, Rate, User};
use roomcast_ws::Listener;

pub(super) fn serve() -> Result<(), Box<dyn Error>> {
    super::one_core()?.block_on(async {
        let mut limits = Limits::default();
        // One sender alone makes the load.
        limits.rate = Some(Rate {
            per_second: 1e9,
            burst: 1_000_000,
        });
        limits.connections_per_user = limits.connections;
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy).limits(limits).build()?;
        let auth = |_: &Parts| async { Ok(User::named("ann").expect("a name")) };
        let listener = Listener::bind("127.0.0.1:0", hub, auth).await?;
        println!("{}", listener.local_addr()?.port());
        listener.serve().await;
        Ok(())
    })
}
