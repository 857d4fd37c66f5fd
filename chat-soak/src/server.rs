//! The server: a process of its own, which is stopped by its pid.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_driver::process::{Process, Stopped};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// The file that holds the messages; others beside it begin with its name.
pub(crate) const DATABASE: &str = "soak.db";

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Where its messages are.
    pub(crate) database: PathBuf,
}

impl Server {
    /// Starts the program on a free port, with an empty file in this folder.
    pub(crate) async fn start(program: &Path, folder: &Path, connections: usize) -> Result<Self, String> {
        let database = folder.join(DATABASE);
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0", "--store"])
            .arg(format!("sqlite:{}", database.display()))
            .args(["--max-connections", &connections.to_string()])
            .env_remove("CHAT_LOG")
            .env_remove("CHAT_RATE")
            .env_remove("CHAT_ORIGIN")
            .env_remove("CHAT_RETENTION");
        let mut process = Process::start("server", command, folder)?;
        let begun = Instant::now();
        loop {
            let ended = process.ended();
            let said = process.output();
            let line = said.split_once('\n').map(|(line, _)| line);
            if let Some((_, address)) = line.and_then(|line| line.split_once("http://")) {
                return Ok(Self {
                    address: address.trim().parse().map_err(|_| format!("it listens on {address}"))?,
                    pid: process.pid(),
                    process,
                    database,
                });
            }
            if ended.is_some() || begun.elapsed() > START {
                return Err(format!("the server doesn't start: {said} {}", process.log()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends SIGTERM and waits for the end; kills it if that doesn't come.
    pub(crate) async fn stop(self, limit: Duration) -> Result<Stopped, String> {
        self.process.stop(limit).await
    }
}
