//! The soak: the example server under a load of good and bad connections.

use crate::report::{Outcome, run, run_tests};
use crate::tests::build_server;
use crate::workspace::{Workspace, cargo};

/// What is run with these arguments on the server as it is released; by itself, ten minutes with 2,000 connections.
pub(crate) fn soak(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    run(cargo()
        .args(["build", "--locked", "--release", "--package", "chat-server"])
        .current_dir(&workspace.root))?;
    drive(workspace, "release", arguments)
}

/// A minute with 1,000 connections, on the server that the tests have built: overflows and broken assertions are noticed
/// there, and a release takes longer to build than this takes.
pub(crate) fn short(workspace: &Workspace) -> Outcome {
    build_server(workspace)?;
    drive(workspace, "debug", &["--minutes", "1", "--connections", "1000"])
}

fn drive(workspace: &Workspace, profile: &str, arguments: &[&str]) -> Outcome {
    let server = workspace.target.join(profile).join("chat-server");
    run_tests(
        cargo()
            .args(["run", "--locked", "--quiet", "--package", "chat-soak", "--", "--server"])
            .arg(server)
            .arg("--folder")
            .arg(workspace.target.join("soak"))
            .args(arguments)
            .current_dir(&workspace.root),
    )
}
