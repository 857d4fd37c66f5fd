//! Processes: starting them on a core of their own, and what they use.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The cores of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The one that servers run on.
    pub(crate) server: usize,
    /// The one that the load program runs on.
    pub(crate) load: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn find() -> io::Result<Self> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(load)) => Ok(Self { server, load }),
            _ => Err(io::Error::other(
                "two cores are needed, one for the server and one for the load",
            )),
        }
    }
}

/// A command that runs on these cores alone.
pub(crate) fn on_cores(cores: &[usize], program: &str) -> Command {
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(list.join(",")).arg(program);
    command
}

/// How long anything may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails once something has taken too long.
pub(crate) fn in_time(began: Instant, what: &str) -> io::Result<()> {
    if began.elapsed() > PATIENCE {
        return Err(io::Error::other(format!("{what} took longer than {PATIENCE:?}")));
    }
    Ok(())
}

/// A server, which is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts the server, and waits until it says its port in its first line.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Ok(port) = line.trim().parse() else {
            let _ = child.kill();
            let status = child.wait()?;
            return Err(io::Error::other(format!(
                "the server told no port, but {line:?}; {status}"
            )));
        };
        Ok(Self { child, port })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long all threads of the process were on a core, in user and kernel code together.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    scheduled(pid, 0)
}

/// How long threads of the process could have run, and waited for a core that others used. Those of several threads add up.
pub(crate) fn waiting_time(pid: u32) -> io::Result<Duration> {
    scheduled(pid, 1)
}

/// A field of what the scheduler counts, of all threads together.
fn scheduled(pid: u32, field: usize) -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since the folder was read.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            let nanos = text
                .split_whitespace()
                .nth(field)
                .and_then(|field| field.parse::<u64>().ok());
            total += nanos.ok_or_else(|| io::Error::other("schedstat has no figures on this system"))?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// Resident memory of the process, in bytes.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("statm has no figures on this system"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Lets this process open as many files as the system allows it.
pub(crate) fn raise_open_files() {
    // If it may not, connecting tells.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}
