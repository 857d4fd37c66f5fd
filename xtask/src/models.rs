//! The engine's own synchronisation, run by loom in every order.

use crate::report::{Outcome, run_tests};
use crate::workspace::{Workspace, cargo};

/// Runs the tests in the files `interleavings.rs`, or those of that name. `LOOM_MAX_PREEMPTIONS` looks further than their bounds.
pub(crate) fn loom(workspace: &Workspace, names: &[&str]) -> Outcome {
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let names = if names.is_empty() { &["interleavings"] } else { names };
    // Other flags than those of all other builds, and so another folder; optimised, since it is run a hundred thousand times.
    run_tests(
        cargo()
            .args(["test", "--locked", "--package", "roomcast-core", "--lib"])
            .args(["--features", "bugs", "--target-dir"])
            .arg(workspace.target.join("loom"))
            .args(["--", "--nocapture"])
            .args(names)
            // It would count instead.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", format!("{flags} --cfg roomcast_loom"))
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .current_dir(&workspace.root),
    )
}
