//! A `mongod` of a test's own.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use chat_driver::supervised::{Recipe, Supervised, program};

const FILL: &str = r#"cat /dev/zero >"$folder/data/filler" 2>>"$folder/output"; echo full"#;
const FREE: &str = r#"rm "$folder/data/filler"; echo freed"#;

/// How long a server may take until it listens, on a slow machine and with a log to go through.
const STARTING: Duration = Duration::from_secs(60);

/// How long a server may take to notice that its disk is full: it makes a checkpoint every minute.
const GIVING_UP: Duration = Duration::from_secs(90);

/// A server on a free port of the loopback, with a fresh data folder. Dropped, it is killed and its data removed.
pub(crate) struct Mongod(Supervised);

impl Mongod {
    /// A server that stands alone.
    pub(crate) fn standalone() -> Self {
        Self::start(&[], &["sh"], r#"mkdir "$folder/data""#, "")
    }

    /// A server that stands alone and whose data folder holds no more than this.
    ///
    /// It is on a file system in memory, mounted where no other process sees it. That takes root, or a kernel that lets
    /// users make namespaces of their own.
    pub(crate) fn with_disk_of(bytes: u64) -> Self {
        let shell: &[_] = if rustix::process::getuid().is_root() {
            &["unshare", "--mount", "sh"]
        } else {
            &["unshare", "--mount", "--map-root-user", "sh"]
        };
        let mount = format!(r#"mkdir "$folder/data" && mount -t tmpfs -o size={bytes} tmpfs "$folder/data""#);
        Self::start(&[], shell, &mount, r#"umount "$folder/data""#)
    }

    /// A member of a replica set that is still to be initiated.
    pub(super) fn member_of(replica_set: &str, options: &[&str]) -> Self {
        let options = [&["--replSet", replica_set], options].concat();
        Self::start(&options, &["sh"], r#"mkdir "$folder/data""#, "")
    }

    fn start(options: &[&str], shell: &[&str], before: &str, after: &str) -> Self {
        let recipe = Recipe {
            name: "mongod",
            program: &program("mongod", "MONGOD", "mongod"),
            shell,
            before,
            after,
            starting: STARTING,
        };
        let mongod = Supervised::start(&recipe, |folder, port| {
            let mut arguments: Vec<String> = Vec::new();
            for (option, path) in [("--dbpath", "data"), ("--logpath", "log")] {
                arguments.extend([option.to_owned(), folder.join(path).display().to_string()]);
            }
            let fixed = [
                "--logappend",
                "--quiet",
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
            ];
            let quiet = ["--setParameter", "diagnosticDataCollectionEnabled=false"];
            let listen = ["--bind_ip", "127.0.0.1", "--port", &port.to_string()];
            let all = [&fixed[..], &quiet, &listen, options].concat();
            arguments.extend(all.into_iter().map(str::to_owned));
            arguments
        });
        Self(mongod.unwrap_or_else(|text| {
            let disk = if after.is_empty() {
                ""
            } else {
                ": this test has to mount a small tmpfs, as root or in a user namespace"
            };
            panic!("{text}{disk}")
        }))
    }

    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}", self.address())
    }

    /// Waits until it gives up by itself.
    pub(crate) async fn gives_up(&mut self) {
        let began = Instant::now();
        while self.listens() {
            assert!(began.elapsed() < GIVING_UP, "mongod goes on:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.ended();
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

impl Deref for Mongod {
    type Target = Supervised;

    fn deref(&self) -> &Supervised {
        &self.0
    }
}

impl DerefMut for Mongod {
    fn deref_mut(&mut self) -> &mut Supervised {
        &mut self.0
    }
}
