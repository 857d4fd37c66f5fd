//! The engine as it is embedded: sessions, log, policy and limits, of which those are raised that would stop a benchmark.

use std::error::Error;

use http::request::Parts;
use roomcast_core::{Hub, Limits, MessageStore, OpenPolicy, Rate, User};
use roomcast_ws::Listener;
use tokio::runtime::Runtime;

pub(super) fn serve(runtime: Runtime, store: impl MessageStore) -> Result<(), Box<dyn Error>> {
    runtime.block_on(async {
        let mut limits = Limits::default();
        // One sender alone makes the load.
        limits.rate = Some(Rate {
            per_second: 1e9,
            burst: 1_000_000,
        });
        // Nor is anybody kept from joining many rooms at once.
        limits.control_rate = None;
        limits.connections_per_user = limits.connections;
        let hub = Hub::builder(store, OpenPolicy).limits(limits).build()?;
        let auth = |_: &Parts| async { Ok(User::named("ann").expect("a name")) };
        let listener = Listener::bind("127.0.0.1:0", hub, auth).await?;
        println!("{}", listener.local_addr()?.port());
        listener.serve().await;
        Ok(())
    })
}
