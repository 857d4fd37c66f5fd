//! Servers that Debian has as packages, found or fetched.
//!
//! A package that is installed may start its server as a service. What is only unpacked, below the target folder, starts
//! nothing, changes nothing of the system, and takes no root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::{output, run};
use crate::tools::{is_root, on_path};
use crate::workspace::{Workspace, files};

/// A server, and the package of the same name.
pub(crate) struct Packaged {
    pub(crate) name: &'static str,
    /// The environment variable that names the program.
    pub(crate) variable: &'static str,
    /// What makes it say its version.
    version: &'static str,
}

pub(crate) const NATS_SERVER: Packaged = Packaged {
    name: "nats-server",
    variable: "NATS_SERVER",
    version: "--version",
};

pub(crate) const HAPROXY: Packaged = Packaged {
    name: "haproxy",
    variable: "HAPROXY",
    version: "-v",
};

pub(crate) const NGINX: Packaged = Packaged {
    name: "nginx",
    variable: "NGINX",
    version: "-v",
};

impl Packaged {
    /// The program that the variable names, the one that is installed, or one that is unpacked once into the target folder,
    /// where the tests look for it too.
    pub(crate) fn find(&self, workspace: &Workspace) -> Result<PathBuf, String> {
        let Self { name, variable, .. } = self;
        if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
            // The tests run in other folders than this.
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            self.works(&path)
                .map_err(|error| format!("{variable} names no working server: {error}"))?;
            return Ok(path);
        }
        // Where it is installed, and on no user's PATH but root's.
        let system = Some(Path::new("/usr/sbin").join(name)).filter(|path| path.is_file());
        if let Some(path) = on_path(name).or(system) {
            self.works(&path)?;
            return Ok(path);
        }
        let tools = workspace.target.join("tools");
        let path = tools.join(name);
        if !path.is_file() {
            println!("There is no {name} on the PATH; fetching one.");
            self.fetch(&tools).map_err(|error| {
                format!(
                    "no {name}: install it (on Debian: apt-get install {name}), or set {variable} to the program's path. \
                     None could be fetched: {error}"
                )
            })?;
        }
        self.works(&path)?;
        Ok(path)
    }

    /// Whether it can be started.
    fn works(&self, path: &Path) -> Result<(), String> {
        let version = output(Command::new(path).arg(self.version))?;
        println!("{}: {}", path.display(), version.lines().next().unwrap_or_default());
        Ok(())
    }

    /// Unpacks the package, and those that it needs and the system lacks.
    fn fetch(&self, tools: &Path) -> Result<(), String> {
        let name = self.name;
        let missing = missing(name).or_else(|error| {
            // A small Debian has no lists of packages until they are asked for.
            if !is_root() {
                return Err(format!("{error}; as root, apt-get update may help"));
            }
            run(Command::new("apt-get").args(["update", "-qq"]))?;
            missing(name)
        })?;
        let folder = tools.join(format!("{name}.packages"));
        let text = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            // What an earlier fetch left half done.
            fs::remove_dir_all(&folder).map_err(text)?;
        }
        fs::create_dir_all(&folder).map_err(text)?;
        run(Command::new("apt-get")
            .args(["download", "-qq", "-o", "APT::Sandbox::User=root"])
            .args(&missing)
            .current_dir(&folder))?;
        for package in files(&folder) {
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&folder))?;
            fs::remove_file(&package).map_err(text)?;
        }
        // It finds its libraries where they are unpacked, and keeps the process id that it was started with.
        let start = format!(
            "#!/bin/sh\n\
             packages=$(dirname \"$0\")/{name}.packages\n\
             LD_LIBRARY_PATH=$(echo \"$packages\"/usr/lib/*-linux-gnu | tr ' ' ':') exec \"$packages/usr/sbin/{name}\" \"$@\"\n"
        );
        let half = folder.join("start");
        fs::write(&half, start).map_err(text)?;
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).map_err(text)?;
        fs::rename(&half, tools.join(name)).map_err(text)
    }
}

/// The packages that the system would install for this one, itself among them.
fn missing(name: &str) -> Result<Vec<String>, String> {
    let plan = output(Command::new("apt-get").args(["--simulate", "--no-install-recommends", "install", name]))?;
    let packages = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(packages.map(str::to_owned).collect())
}
