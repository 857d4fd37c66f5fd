//! The soak: the example server under a load of good and bad connections.

use crate::report::{Outcome, run};
use crate::tests::build_server;
use crate::workspace::{Workspace, cargo};

/// Enough to find what is wrong, and over in a minute and a half.
pub(crate) const SHORT: &[&str] = &["--minutes", "1", "--connections", "1000"];

/// Runs it with these arguments; by itself, ten minutes with 2,000 connections.
pub(crate) fn soak(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    // Not optimised as a release is: overflows and broken assertions are to be noticed.
    build_server(workspace)?;
    run(cargo()
        .args(["run", "--locked", "--quiet", "--package", "chat-soak", "--", "--server"])
        .arg(workspace.target.join("debug").join("chat-server"))
        .arg("--folder")
        .arg(workspace.target.join("soak"))
        .args(arguments)
        .current_dir(&workspace.root))
}
