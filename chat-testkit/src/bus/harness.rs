//! How a check gets at the bus that it checks.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use roomcast_core::{Bus, MessageStore, RoomId};

use crate::runtime;

/// What one hub is built on.
pub struct Node {
    /// A handle of the store that all nodes of the harness share. The hub closes it when it stops, which must not close it for the
    /// others: see [`SharedStore`](super::SharedStore).
    pub store: Arc<dyn MessageStore>,
    /// An end of the bus that joins them.
    pub bus: Arc<dyn Bus>,
}

/// Makes the nodes that are to be checked. Each check has a harness of its own, which is dropped when the check has ended, failed or not:
/// clean up there.
///
/// The methods panic if something doesn't work out.
#[async_trait]
pub trait BusHarness: Send + Sync {
    /// One more node, on the same store and bus as the others. The store has no room yet at the first call.
    async fn node(&self) -> Node;

    /// Puts these bytes on the bus, as if a hub told the hubs that watch this room, or all of them. `false` if that can't be
    /// done, and what it entails isn't checked.
    async fn inject(&self, room: Option<&RoomId>, bytes: &[u8]) -> bool;

    /// Cuts the bus: nothing gets through any more, for any node, until it is [healed](Self::heal). The store goes on. `false` if
    /// that can't be done, and what it entails isn't checked.
    async fn cut(&self) -> bool;

    /// Ends a cut.
    async fn heal(&self);
}

/// A check, as [`run`] takes it.
pub type Check = for<'a> fn(&'a dyn BusHarness) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs one check on a tokio runtime of its own, with two threads.
///
/// # Panics
///
/// If the bus doesn't pass the check, or hangs.
pub fn run<H: BusHarness>(harness: impl FnOnce() -> H, check: Check) {
    runtime::run(async {
        // Within the runtime, which it may need.
        let harness = harness();
        check(&harness).await;
    });
}
