//! A node: a chat server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_driver::http::get;
use chat_driver::process::{Process, Stopped};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::keeper::Keeper;
use crate::links::{Links, Part};

/// How long it may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// From SIGTERM to the end: the server has 10 s for its clients and 1 s for the last HTTP answers.
pub(crate) const STOP: Duration = Duration::from_secs(12);

/// How all nodes are started.
pub(crate) struct Settings {
    pub(crate) program: PathBuf,
    pub(crate) store: String,
    /// What `--bus` says, if there is one.
    pub(crate) bus: Option<String>,
    pub(crate) links: Option<Links>,
}

pub(crate) struct Node {
    number: usize,
    pub(crate) address: SocketAddr,
    process: Option<Process>,
}

impl Node {
    /// One that is still to be launched.
    pub(crate) fn new(number: usize, address: SocketAddr) -> Self {
        Self {
            number,
            address,
            process: None,
        }
    }

    pub(crate) fn name(&self) -> String {
        name(self.number)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn launch(&mut self, keeper: &Keeper, settings: &Settings) -> Result<(), String> {
        let mut command = Command::new(&settings.program);
        command
            .args(["--listen", &self.address.to_string(), "--store", &settings.store])
            .env_remove("CHAT_RATE")
            .env_remove("CHAT_ORIGIN")
            .env_remove("CHAT_RETENTION")
            .env_remove("CHAT_MAX_CONNECTIONS")
            .env("CHAT_LOG", "info");
        if let Some(bus) = &settings.bus {
            command.args(["--bus", bus]);
        }
        let mut process = keeper.start(&self.name(), command)?;
        if let Some(links) = &settings.links {
            links.is(Part::Node(self.number), process.pid());
        }
        let begun = Instant::now();
        while !self.is_ready().await {
            if process.ended().is_some() || begun.elapsed() > START {
                return Err(format!("{} doesn't start: {}", self.name(), process.log()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let health = timeout(Duration::from_secs(3), get(self.address, "/readyz")).await;
        health.is_ok_and(|health| health.is_ok_and(|health| health.status == 200))
    }

    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) -> Result<(), String> {
        let process = self.process.as_ref().ok_or("it doesn't run")?;
        process.signal(Signal::TERM)
    }

    /// Waits until it has ended, which it was told to just now.
    pub(crate) async fn finish(&mut self) -> Result<Stopped, String> {
        let process = self.process.take().ok_or("it doesn't run")?;
        process.finish(STOP).await
    }
}

/// As the balancer names it.
pub(crate) fn name(number: usize) -> String {
    format!("node-{}", number + 1)
}
