//! A `mongod` of a test's own.

use std::fmt::Write as _;
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
folder=$1; size=$2; shift 2
mkdir "$folder/data" || exit 1
if [ "$size" != 0 ]; then mount -t tmpfs -o "size=$size" tmpfs "$folder/data" || exit 1; fi
echo ready
exec 2>>"$folder/output"
while read -r line; do eval "$line"; done
if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; fi
if [ "$size" != 0 ]; then umount "$folder/data"; fi
rm -rf "$folder"
"#;
const START: &str = r#""$@" </dev/null >>"$folder/output" 2>&1 & pid=$!; echo "$pid""#;
const WAIT: &str = r#"wait "$pid"; pid=; echo ended"#;
const FILL: &str = r#"cat /dev/zero >"$folder/data/filler" 2>>"$folder/output"; echo full"#;
const FREE: &str = r#"rm "$folder/data/filler"; echo freed"#;

/// How long a server may take until it listens, on a slow machine and with a log to go through.
const STARTING: Duration = Duration::from_secs(60);

/// How long a server may take to notice that its disk is full: it makes a checkpoint every minute.
const GIVING_UP: Duration = Duration::from_secs(90);

/// A server on a free port of the loopback, with a fresh data folder. Dropped, it is killed and its data removed.
pub(crate) struct Mongod {
    supervisor: Child,
    /// Taken when it is dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    port: u16,
    pid: Option<Pid>,
}

impl Mongod {
    /// A server that stands alone.
    pub(crate) fn standalone() -> Self {
        Self::start(&[], 0)
    }

    /// A server that stands alone and whose data folder holds no more than this.
    ///
    /// It is on a file system in memory, mounted where no other process sees it. That takes root, or a kernel that lets
    /// users make namespaces of their own.
    pub(crate) fn with_disk_of(bytes: u64) -> Self {
        Self::start(&[], bytes)
    }

    /// A member of a replica set that is still to be initiated.
    pub(super) fn member_of(replica_set: &str, options: &[&str]) -> Self {
        Self::start(&[&["--replSet", replica_set], options].concat(), 0)
    }

    fn start(options: &[&str], disk: u64) -> Self {
        for _ in 0..5 {
            // Somebody may take the port between this and the start; then another one is tried.
            let port = free_port();
            let mut mongod = Self::supervised(port, options, disk);
            match mongod.launch() {
                Ok(()) => return mongod,
                Err(text) if text.contains("Address already in use") => {}
                Err(text) => panic!("{text}"),
            }
        }
        panic!("five ports that were free are taken");
    }

    fn supervised(port: u16, options: &[&str], disk: u64) -> Self {
        let program = program();
        let folder = tempfile::Builder::new().prefix("roomcast-mongod-").tempdir().unwrap();
        let mut command = if disk == 0 {
            Command::new("sh")
        } else {
            let mut command = Command::new("unshare");
            command.arg("--mount");
            if !rustix::process::getuid().is_root() {
                command.arg("--map-root-user");
            }
            command.arg("sh");
            command
        };
        command.args(["-c", SUPERVISOR, "sh"]).arg(folder.path());
        command.arg(disk.to_string()).arg(program);
        command.arg("--dbpath").arg(folder.path().join("data"));
        command.arg("--logpath").arg(folder.path().join("log"));
        command.args([
            "--logappend",
            "--quiet",
            "--nounixsocket",
            "--wiredTigerCacheSizeGB",
            "0.25",
        ]);
        command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()]);
        command.args(options);
        // In a group of its own, so that Ctrl-C ends the tests and leaves the tidying up to the supervisor.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut supervisor = command.spawn().expect("sh and, for a small disk, unshare");
        let commands = supervisor.stdin.take();
        let mut answers = BufReader::new(supervisor.stdout.take().unwrap());
        let mut ready = String::new();
        answers.read_line(&mut ready).unwrap();
        assert_eq!(
            ready.trim(),
            "ready",
            "the data folder can't be made{}",
            if disk == 0 {
                ""
            } else {
                ": this test has to mount a small tmpfs, as root or in a user namespace"
            }
        );
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
            return Err(format!("mongod has no pid but {pid:?}"));
        };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            // Where there is no /proc, only the time tells.
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            if began.elapsed() > STARTING || state.is_ok_and(|state| state.contains(") Z ")) {
                return Err(format!("mongod doesn't start:\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub(crate) fn said(&self) -> String {
        let mut said = String::new();
        for name in ["output", "log"] {
            let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(20)..] {
                let _ = writeln!(said, "  {name}: {line}");
            }
        }
        said
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}", self.address())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.pid.is_some()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    fn ended(&mut self) {
        assert_eq!(self.ask(WAIT), "ended");
        self.pid = None;
    }

    /// Waits until it gives up by itself.
    pub(crate) async fn gives_up(&mut self) {
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            assert!(began.elapsed() < GIVING_UP, "mongod goes on:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.ended();
    }

    /// Starts it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        assert!(!self.is_running());
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

    /// Fills its disk to the last byte.
    pub(crate) fn fill_disk(&mut self) {
        assert_eq!(self.ask(FILL), "full");
    }

    /// Makes place on its disk again.
    pub(crate) fn free_disk(&mut self) {
        assert_eq!(self.ask(FREE), "freed");
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.supervisor.wait();
    }
}

/// The program: what `MONGOD` names, the one on the PATH, or the one that `cargo xtask mongod` fetched.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("MONGOD").map(PathBuf::from) {
        assert!(path.is_file(), "MONGOD names {}, which is no file", path.display());
        return path;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&folders).map(|folder| folder.join("mongod"));
    // Tests are in target/debug/deps, examples in target/release/examples.
    let this = std::env::current_exe().unwrap();
    let fetched = this
        .ancestors()
        .nth(3)
        .unwrap_or(Path::new("target"))
        .join("tools")
        .join("mongod");
    installed.chain([fetched]).find(|path| path.is_file()).expect(
        "this needs a MongoDB server: run `cargo xtask mongod` to fetch one, or set MONGOD to the path of mongod",
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
