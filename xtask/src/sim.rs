//! The simulation.

use crate::report::{Outcome, run_tests};
use crate::workspace::{Workspace, cargo};

/// Runs it with these arguments; by itself, two minutes of fresh seeds.
pub(crate) fn sim(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    let arguments = if arguments.is_empty() {
        &["--minutes", "2"]
    } else {
        arguments
    };
    // Not optimised as a release is: overflows and broken assertions are to be noticed.
    run_tests(
        cargo()
            .args(["run", "--quiet", "--package", "chat-sim", "--"])
            .args(arguments)
            .current_dir(&workspace.root),
    )
}
