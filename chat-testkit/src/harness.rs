//! How a check gets at the store that it checks.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use roomcast_core::MessageStore;

use crate::runtime;

/// Opens the stores that are to be checked. Each check has a harness of its own, which is dropped when the check has
/// ended, failed or not: clean up there.
///
/// The methods panic if something doesn't work out.
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// A store without any room. Called at most once.
    async fn open(&self) -> Arc<dyn MessageStore>;

    /// A store on the same data as [`open`](Self::open) gave, called after that one was closed. `None` if it keeps
    /// nothing, as in memory; what a store has to keep isn't checked then.
    async fn reopen(&self) -> Option<Arc<dyn MessageStore>>;

    /// A store without any room that keeps about that many of the newest entries of a room; it may take its time to remove the
    /// others. Called instead of [`open`](Self::open). `None` if it has no such bound, and what it entails isn't checked.
    async fn open_bounded(&self, entries: usize) -> Option<Arc<dyn MessageStore>>;
}

/// A check, as [`run`] takes it.
pub type Check = for<'a> fn(&'a dyn StoreHarness) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs one check on a tokio runtime of its own, with two threads.
///
/// # Panics
///
/// If the store doesn't pass the check, or hangs.
pub fn run<H: StoreHarness>(harness: impl FnOnce() -> H, check: Check) {
    runtime::run(async {
        // Within the runtime, which it may need.
        let harness = harness();
        check(&harness).await;
    });
}
