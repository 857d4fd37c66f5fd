//! A `nats-server` of a test's own.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Runs the lines that it reads. When there is no more to read (the test's process has ended, however it did) it
/// kills the server by its pid and removes the folder, so that nothing is ever left.
const SUPERVISOR: &str = r#"
folder=$1; shift
echo ready
exec 2>>"$folder/output"
while read -r line; do eval "$line"; done
if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; fi
rm -rf "$folder"
"#;
const START: &str = r#""$@" </dev/null >>"$folder/output" 2>&1 & pid=$!; echo "$pid""#;
const WAIT: &str = r#"wait "$pid"; pid=; echo ended"#;

/// How long a server may take until it listens, on a slow machine.
const STARTING: Duration = Duration::from_secs(30);

/// A server on a free port of the loopback. Dropped, it is killed.
pub(crate) struct Server {
    supervisor: Child,
    /// Taken when it is dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    pub(crate) port: u16,
    pid: Option<Pid>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these options besides.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        for _ in 0..5 {
            // Somebody may take the port between this and the start; then another one is tried.
            let port = free_port();
            let mut server = Self::supervised(port, options);
            match server.launch() {
                Ok(()) => return server,
                Err(text) if text.contains("address already in use") => {}
                Err(text) => panic!("{text}"),
            }
        }
        panic!("five ports that were free are taken");
    }

    fn supervised(port: u16, options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("roomcast-nats-").tempdir().unwrap();
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(folder.path())
            .arg(program())
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .args(options)
            // In a group of its own, so that Ctrl-C ends the tests and leaves the tidying up to the supervisor.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh");
        let commands = supervisor.stdin.take();
        let mut answers = BufReader::new(supervisor.stdout.take().unwrap());
        let mut ready = String::new();
        answers.read_line(&mut ready).unwrap();
        assert_eq!(ready.trim(), "ready");
        Self {
            supervisor,
            commands,
            answers,
            // The supervisor removes it.
            folder: folder.keep(),
            port,
            pid: None,
        }
    }

    fn ask(&mut self, line: &str) -> String {
        let commands = self.commands.as_mut().expect("not dropped yet");
        writeln!(commands, "{line}").expect("the supervisor lives");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// Starts the program and waits until it listens. The error says what it wrote.
    fn launch(&mut self) -> Result<(), String> {
        let pid = self.ask(START);
        self.pid = pid.parse().ok().and_then(Pid::from_raw);
        let Some(pid) = self.pid else {
            return Err(format!("nats-server has no pid but {pid:?}"));
        };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            if began.elapsed() > STARTING || state.is_ok_and(|state| state.contains(") Z ")) {
                return Err(format!("nats-server doesn't start:\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("output")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ask(WAIT), "ended");
        self.pid = None;
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        assert!(self.pid.is_none());
        if let Err(text) = self.launch() {
            panic!("{text}");
        }
    }

    /// Stops it in its tracks: connections stay, but nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid.expect("it runs"), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.supervisor.wait();
    }
}

/// The program: what `NATS_SERVER` names, the one that is installed, or the one that `cargo xtask nats` fetched.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER").map(PathBuf::from) {
        assert!(path.is_file(), "NATS_SERVER names {}, which is no file", path.display());
        return path;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs it where only root's PATH looks.
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    let installed = folders.map(|folder| folder.join("nats-server"));
    // Tests are in target/debug/deps, examples in target/release/examples.
    let this = std::env::current_exe().unwrap();
    let fetched = this
        .ancestors()
        .nth(3)
        .unwrap_or(Path::new("target"))
        .join("tools")
        .join("nats-server");
    installed.chain([fetched]).find(|path| path.is_file()).expect(
        "this needs a NATS server: run `cargo xtask nats` to fetch one, or set NATS_SERVER to the path of nats-server",
    )
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
