//! A server of a test's own, ended however the test ends: for tests that kill it, stop it in its tracks and start it again.

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
folder=$1; before=$2; after=$3; shift 3
eval "$before" || exit 1
echo ready
exec 2>>"$folder/output"
while read -r line; do eval "$line"; done
if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; fi
eval "$after"
rm -rf "$folder"
"#;
const START: &str = r#""$@" </dev/null >>"$folder/output" 2>&1 & pid=$!; echo "$pid""#;
const WAIT: &str = r#"wait "$pid"; pid=; echo ended"#;

/// How a server is started.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// What it is called.
    pub name: &'static str,
    /// See [`program`].
    pub program: &'a Path,
    /// What runs the shell that looks after it; nothing but `sh` in most cases.
    pub shell: &'a [&'a str],
    /// What that shell does before the server is started first. `$folder` is the server's folder.
    pub before: &'a str,
    /// What it does after the server's end.
    pub after: &'a str,
    /// How long it may take until it listens, on a slow machine.
    pub starting: Duration,
}

/// A server on a free port of the loopback, with a folder of its own. Dropped, it is killed and the folder removed.
#[derive(Debug)]
pub struct Supervised {
    name: &'static str,
    starting: Duration,
    supervisor: Child,
    /// Taken when it is dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    port: u16,
    pid: Option<Pid>,
}

impl Supervised {
    /// Starts it with the arguments that are made of its folder and its port, and waits until it listens.
    pub fn start(recipe: &Recipe<'_>, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Result<Self, String> {
        for _ in 0..5 {
            // Somebody may take the port between this and the start; then another one is tried.
            let port = free_port();
            let mut server = Self::supervise(recipe, port, &arguments)?;
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(text) if text.to_lowercase().contains("address already in use") => {}
                Err(text) => return Err(text),
            }
        }
        Err("five ports that were free are taken".to_owned())
    }

    fn supervise(
        recipe: &Recipe<'_>,
        port: u16,
        arguments: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Result<Self, String> {
        let name = recipe.name;
        let wrong = |error: std::io::Error| format!("{name} can't be looked after: {error}");
        let folder = tempfile::Builder::new().prefix(&format!("roomcast-{name}-")).tempdir();
        // The supervisor removes it.
        let folder = folder.map_err(wrong)?.keep();
        let [shell, rest @ ..] = recipe.shell else {
            return Err(format!("no shell is named that looks after {name}"));
        };
        let mut supervisor = Command::new(shell)
            .args(rest)
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&folder)
            .args([recipe.before, recipe.after])
            .arg(recipe.program)
            .args(arguments(&folder, port))
            // In a group of its own, so that Ctrl-C ends the tests and leaves the tidying up to the supervisor.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(wrong)?;
        let commands = supervisor.stdin.take();
        let answers = supervisor.stdout.take().ok_or("no pipe")?;
        let mut server = Self {
            name,
            starting: recipe.starting,
            supervisor,
            commands,
            answers: BufReader::new(answers),
            folder,
            port,
            pid: None,
        };
        let ready = server.answer();
        if ready != "ready" {
            return Err(format!("what {name} needs can't be prepared"));
        }
        Ok(server)
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        // What can't be read is no answer that anybody waits for.
        let _ = self.answers.read_line(&mut answer);
        answer.trim().to_owned()
    }

    /// Has the shell run a line that answers with one line.
    ///
    /// # Panics
    ///
    /// If the shell is gone.
    pub fn ask(&mut self, line: &str) -> String {
        let commands = self.commands.as_mut().expect("not dropped yet");
        writeln!(commands, "{line}").expect("the supervisor lives");
        self.answer()
    }

    /// Starts the program and waits until it listens. The error says what it wrote.
    fn launch(&mut self) -> Result<(), String> {
        let pid = self.ask(START);
        self.pid = pid.parse().ok().and_then(Pid::from_raw);
        let Some(pid) = self.pid else {
            return Err(format!("{} has no pid but {pid:?}", self.name));
        };
        let began = Instant::now();
        while !self.listens() {
            // Where there is no /proc, only the time tells.
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            if began.elapsed() > self.starting || state.is_ok_and(|state| state.contains(") Z ")) {
                return Err(format!("{} doesn't start:\n{}", self.name, self.said()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it takes connections.
    pub fn listens(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    /// The end of what it wrote.
    pub fn said(&self) -> String {
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

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of the loopback on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it was started and not ended.
    pub fn is_running(&self) -> bool {
        self.pid.is_some()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    /// Waits for its end, which is certain to come.
    pub fn ended(&mut self) {
        assert_eq!(self.ask(WAIT), "ended");
        self.pid = None;
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) {
        assert!(!self.is_running());
        if let Err(text) = self.launch() {
            panic!("{text}");
        }
    }

    /// Stops it in its tracks: connections stay, but nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid.expect("it runs"), signal).expect("it is ours");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.supervisor.wait();
    }
}

/// A port of the loopback that nobody had a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a free port").port()
}

/// A program for a test: the one that the variable names, the one that is installed, or the one that `cargo xtask` fetched.
///
/// # Panics
///
/// If there is none; the text says what to do about it.
pub fn program(name: &str, variable: &str, task: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
        return path;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs servers where only root's PATH looks.
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    let installed = folders.map(|folder| folder.join(name));
    // Tests are in target/debug/deps, examples in target/release/examples.
    let this = std::env::current_exe().unwrap_or_default();
    let target = this.ancestors().nth(3).unwrap_or(Path::new("target"));
    let fetched = target.join("tools").join(name);
    let found = installed.chain([fetched]).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("this needs {name}: run `cargo xtask {task}` to fetch one, or set {variable} to the program's path")
    })
}
