//! Sees to it that nothing is left, however this program ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use chat_driver::process::Process;

/// Waits until there is nothing more to read: this program has said what to do, or has ended, however that came. Then it kills all
/// that was started, by the group that it is in.
const WATCH: &str =
    r#"read -r order; kill -s KILL -- "-$1"; [ "$order" = keep ] || rm -rf "$2" || { sleep 1; rm -rf "$2"; }"#;

/// A folder, and a group of processes. When this is dropped, the processes are killed and the folder is removed; and also when
/// this program is killed.
pub(crate) struct Keeper {
    pub(crate) folder: PathBuf,
    /// Does nothing but to be the group's first process: as long as it lives, no other group can have its number.
    leader: Child,
    watch: Child,
}

impl Keeper {
    /// Makes the folder, which is still to be there.
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(text)?;
        let folder = std::path::absolute(folder).map_err(text)?;
        let shell = |error: std::io::Error| format!("sh and sleep are needed: {error}");
        let mut leader = Command::new("sleep")
            .arg("1000000000")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(shell)?;
        // In a group of its own as well: Ctrl-C is for this program alone.
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh", &leader.id().to_string()])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let watch = watch.map_err(|error| {
            let _ = leader.kill();
            shell(error)
        })?;
        Ok(Self { folder, leader, watch })
    }

    /// Starts a program that ends with this, if not before. What it says is in the folder.
    pub(crate) fn start(&self, name: &str, mut command: tokio::process::Command) -> Result<Process, String> {
        let group = i32::try_from(self.leader.id()).map_err(|error| error.to_string())?;
        command.process_group(group);
        Process::start(name, command, &self.folder)
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(&mut self) {
        if let Some(orders) = &mut self.watch.stdin {
            // If nobody hears it any more, nothing is removed either.
            let _ = orders.write_all(b"keep\n");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // Nothing more can be done about a failure here.
        let _ = self.watch.wait();
        let _ = self.leader.wait();
    }
}
