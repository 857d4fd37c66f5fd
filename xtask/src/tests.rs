//! Every test: Rust's, the page's in a browser, and Python's.

use std::path::{Path, PathBuf};

use crate::mongod;
use crate::packaged::NATS_SERVER;
use crate::report::{Outcome, Report, run, run_tests};
use crate::tools;
use crate::workspace::{Workspace, cargo, files};

const SERVER: &str = "chat-server";

pub(crate) fn all(workspace: &Workspace, report: &mut Report) {
    // Without it the tests that need one fail, and say so.
    let mut mongod = None;
    report.part("MongoDB server", || {
        mongod = Some(mongod::mongod(workspace)?);
        Ok(())
    });
    let mongod = mongod.as_deref();
    let mut nats = None;
    report.part("NATS server", || {
        nats = Some(NATS_SERVER.find(workspace)?);
        Ok(())
    });
    report.part("Rust tests", || {
        run_tests(
            cargo()
                .args(["test", "--locked", "--workspace", "--all-features", "--no-fail-fast"])
                .envs(mongod.map(|path| ("MONGOD", path)))
                .envs(nats.as_deref().map(|path| (NATS_SERVER.variable, path)))
                .current_dir(&workspace.root),
        )
    });

    let server = workspace.target.join("debug").join(SERVER);
    let mut built = false;
    report.part("server binary", || {
        build_server(workspace)?;
        built = true;
        Ok(())
    });
    let server = || {
        if built {
            Ok(server.as_path())
        } else {
            Err("there is no server binary to test".to_owned())
        }
    };
    let tests = workspace.root.join("examples").join(SERVER).join("tests");
    let folder = tests.join("page");
    report.part("page in a browser", || page(workspace, &folder, server()?, None));
    report.part("page in a browser, on MongoDB", || {
        let program = mongod.ok_or("there is no mongod")?;
        page(
            workspace,
            &folder,
            server()?,
            Some(&mongod::Server::start(program, workspace)?),
        )
    });
    let python = tests.join("python");
    report.part("Python clients", || {
        python_clients(workspace, &python, server()?, mongod, nats.as_deref())
    });
}

/// The server as the tests take it.
pub(crate) fn build_server(workspace: &Workspace) -> Outcome {
    if !workspace.has(SERVER) {
        return Err(format!("the workspace has no package {SERVER}"));
    }
    run(cargo()
        .args(["build", "--locked", "--package", SERVER, "--bin", SERVER])
        .current_dir(&workspace.root))
}

/// What people do with the page, and what happens when the server goes away: the tests that are run on each store.
const ON_EACH_STORE: [&str; 3] = ["chat.test.mjs", "outage.test.mjs", "protocol.test.mjs"];

/// The page, driven in a real browser.
fn page(workspace: &Workspace, folder: &Path, server: &Path, mongod: Option<&mongod::Server>) -> Outcome {
    if !folder.join("package-lock.json").is_file() {
        return Err(format!("{} has no package-lock.json", folder.display()));
    }
    let node = tools::node(workspace)?;
    let chromium = tools::chromium()?;
    run(node.npm().args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    let mut npm = node.npm();
    match mongod {
        None => npm.arg("test").env("SCREENSHOTS", workspace.target.join("screenshots")),
        Some(mongod) => npm
            .args(["run", "test:files", "--"])
            .args(ON_EACH_STORE)
            .env("CHAT_PAGE_MONGODB", &mongod.uri),
    };
    run_tests(
        npm.current_dir(folder)
            .env("CHAT_SERVER", server)
            .env("CHROMIUM", chromium),
    )
}

fn python_clients(
    workspace: &Workspace,
    folder: &Path,
    server: &Path,
    mongod: Option<&Path>,
    nats: Option<&Path>,
) -> Outcome {
    let tests: Vec<PathBuf> = files(folder)
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("test_") && name.ends_with(".py")
        })
        .collect();
    if tests.is_empty() {
        return Err(format!("{} holds no test_*.py", folder.display()));
    }
    let python = tools::Python::with(&workspace.target.join("python"), &folder.join("requirements.txt"))?;
    let mut failed = Vec::new();
    for test in tests {
        let outcome = run_tests(
            python
                .command()
                .arg(&test)
                .current_dir(folder)
                .env("CHAT_SERVER", server)
                .envs(mongod.map(|path| ("MONGOD", path)))
                .envs(nats.map(|path| (NATS_SERVER.variable, path))),
        );
        failed.extend(outcome.err());
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}
