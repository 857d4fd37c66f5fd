//! Programs that a run starts, and ends by their process ids.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// A program that was started. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    output: PathBuf,
    log: PathBuf,
    /// How long the two were when this one was started.
    before: (u64, u64),
}

impl Process {
    /// Starts it. What it says goes to `NAME.output` and `NAME.log` in this folder, behind what is there.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self, String> {
        let text = |error: std::io::Error| {
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            format!("{name} ({program}) can't be started: {error}")
        };
        let (output, log) = (
            folder.join(format!("{name}.output")),
            folder.join(format!("{name}.log")),
        );
        let open = |path: &Path| -> std::io::Result<(File, u64)> {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (stdout, before_output) = open(&output).map_err(text)?;
        let (stderr, before_log) = open(&log).map_err(text)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} can't be started: {error}"))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Self {
            name: name.to_owned(),
            child,
            pid: pid.and_then(Pid::from_raw).ok_or(format!("{name} has no process id"))?,
            output,
            log,
            before: (before_output, before_log),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it has said on its standard output.
    pub fn output(&self) -> String {
        read(&self.output, self.before.0)
    }

    /// What it has said on its standard error.
    pub fn log(&self) -> String {
        read(&self.log, self.before.1)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        // Not reaped yet, so the number is still its own.
        if self.child.id().is_none() {
            return Err(format!("{} has ended", self.name));
        }
        kill_process(self.pid, signal).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Ends it at once, as a power cut would.
    pub async fn kill(mut self) -> Result<(), String> {
        let killed = self.child.kill().await;
        killed.map_err(|error| format!("{} can't be killed: {error}", self.name))
    }

    /// Sends SIGTERM and waits for the end; kills it if that doesn't come in twice the time that it has.
    pub async fn stop(self, limit: Duration) -> Result<Stopped, String> {
        self.signal(Signal::TERM)?;
        self.finish(limit).await
    }

    /// Waits for the end of one that was told to stop just now; kills it if that doesn't come in twice the time that it has.
    pub async fn finish(mut self, limit: Duration) -> Result<Stopped, String> {
        let text = |error: std::io::Error| error.to_string();
        let begun = Instant::now();
        // Later than it has to be, so that it is known how late it was.
        let status = timeout(limit * 2, self.child.wait()).await;
        let took = begun.elapsed();
        let status = match status {
            Ok(status) => Some(status.map_err(text)?),
            Err(_) => {
                self.child.kill().await.map_err(text)?;
                None
            }
        };
        let lines = |text: String| text.lines().map(str::to_owned).collect();
        Ok(Stopped {
            took,
            status,
            output: lines(self.output()),
            log: lines(self.log()),
        })
    }
}

fn read(path: &Path, from: u64) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

/// How a chat server ended.
#[derive(Debug)]
pub struct Stopped {
    /// From the signal on.
    pub took: Duration,
    /// None if it had to be killed.
    pub status: Option<ExitStatus>,
    /// What it said on its standard output.
    pub output: Vec<String>,
    /// What it said on its standard error.
    pub log: Vec<String>,
}

impl Stopped {
    /// What of it isn't a clean stop, of a server that closed at least so many connections at its end.
    pub fn faults(&self, limit: Duration, guests: usize) -> Vec<String> {
        let mut faults = Vec::new();
        match self.status {
            None => faults.push(format!(
                "the server didn't stop in {} s and was killed",
                self.took.as_secs()
            )),
            Some(status) if !status.success() => faults.push(format!("the server ended with {status}")),
            Some(_) => {}
        }
        if self.took > limit {
            faults.push(format!(
                "it took {:.1} s to stop, and has {} s",
                self.took.as_secs_f32(),
                limit.as_secs()
            ));
        }
        let report = self.output.iter().find_map(|line| line.strip_prefix("stopped: "));
        let closed = report.and_then(|report| {
            let (closed, rest) = report.split_once(" connections closed")?;
            (rest == ", 0 cut off, 0 tasks left").then(|| closed.parse::<usize>().ok())?
        });
        if closed.is_none_or(|closed| closed < guests) {
            faults.push(format!(
                "{guests} connections were to be closed and nothing to be left; it says {report:?}"
            ));
        }
        faults
    }

    /// What it complained of. A server that does well says nothing on its standard error, whatever its clients do.
    pub fn complaints(&self) -> impl Iterator<Item = &String> {
        self.log.iter().filter(|line| !line.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn stopped(status: Option<i32>, seconds: u64, line: &str) -> Vec<String> {
        let stopped = Stopped {
            took: Duration::from_secs(seconds),
            status: status.map(ExitStatus::from_raw),
            output: vec!["a note".into(), line.into()],
            log: Vec::new(),
        };
        stopped.faults(Duration::from_secs(12), 200)
    }

    #[test]
    fn all_but_a_clean_stop_is_wrong() {
        let good = "stopped: 200 connections closed, 0 cut off, 0 tasks left";
        assert_eq!(stopped(Some(0), 11, good), [""; 0]);
        for (status, seconds, line) in [
            (None, 24, good),
            (Some(1 << 8), 3, good),
            (Some(15), 3, good),
            (Some(0), 13, good),
            (Some(0), 3, ""),
            (Some(0), 3, "stopped: 199 connections closed, 0 cut off, 0 tasks left"),
            (Some(0), 3, "stopped: 199 connections closed, 1 cut off, 0 tasks left"),
            (Some(0), 3, "stopped: 200 connections closed, 0 cut off, 1 tasks left"),
        ] {
            assert!(
                !stopped(status, seconds, line).is_empty(),
                "{status:?} {seconds} {line}"
            );
        }
    }

    #[test]
    fn any_line_in_the_log_is_a_complaint() {
        let stopped = Stopped {
            took: Duration::ZERO,
            status: None,
            output: Vec::new(),
            log: vec!["".into(), "thread 'x' panicked".into()],
        };
        assert_eq!(stopped.complaints().collect::<Vec<_>>(), ["thread 'x' panicked"]);
    }
}
