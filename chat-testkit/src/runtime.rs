//! How a check is run, of whatever contract.

use std::time::Duration;

/// Far more than any check needs on a slow machine: a check that takes longer hangs.
const TOO_LONG: Duration = Duration::from_secs(120);

/// Runs a check on a tokio runtime of its own, with two threads.
pub(crate) fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TOO_LONG, check).await.expect("the check hangs") });
}
