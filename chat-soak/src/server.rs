//! The server: a process of its own, which is stopped by its pid.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

/// The file that holds the messages; others beside it begin with its name.
pub(crate) const DATABASE: &str = "soak.db";

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Where its messages are.
    pub(crate) database: PathBuf,
    /// Where its log goes.
    log: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) took: Duration,
    /// None if it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    /// What it said at its end.
    pub(crate) output: Vec<String>,
    /// What it said on its standard error, from its beginning on.
    pub(crate) log: Vec<String>,
}

impl Server {
    /// Starts the program on a free port, with an empty file in this folder.
    pub(crate) async fn start(program: &Path, folder: &Path, connections: usize) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("{}: {error}", program.display());
        let (database, log) = (folder.join(DATABASE), folder.join("server.log"));
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--store"])
            .arg(format!("sqlite:{}", database.display()))
            .args(["--max-connections", &connections.to_string()])
            .env_remove("CHAT_LOG")
            .env_remove("CHAT_RATE")
            .env_remove("CHAT_ORIGIN")
            .env_remove("CHAT_RETENTION")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(text)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(text)?;
        let pid = child.id().ok_or("the server has no pid")?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut output = BufReader::new(stdout).lines();
        let line = timeout(START, output.next_line())
            .await
            .map_err(|_| "the server doesn't start")?;
        let line = line.map_err(text)?.unwrap_or_default();
        let address = line
            .split_once("http://")
            .and_then(|(_, address)| address.trim().parse().ok());
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        Ok(Self {
            address: address.ok_or_else(|| format!("the server doesn't start: {line} {}", said()))?,
            child,
            output,
            pid,
            database,
            log,
        })
    }

    /// Sends SIGTERM and waits for the end; kills it if that doesn't come.
    pub(crate) async fn stop(mut self, limit: Duration) -> Result<Stopped, String> {
        let text = |error: std::io::Error| error.to_string();
        let begun = Instant::now();
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or("the server has no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| format!("SIGTERM can't be sent: {error}"))?;
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
        let mut output = Vec::new();
        while let Ok(Some(line)) = self.output.next_line().await {
            output.push(line);
        }
        let log = std::fs::read_to_string(&self.log).map_err(text)?;
        Ok(Stopped {
            took,
            status,
            output,
            log: log.lines().map(str::to_owned).collect(),
        })
    }
}

impl Stopped {
    /// What of it isn't a clean stop, of a server that closed at least so many connections at its end.
    pub(crate) fn faults(&self, limit: Duration, guests: usize) -> Vec<String> {
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
    pub(crate) fn complaints(&self) -> impl Iterator<Item = &String> {
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
