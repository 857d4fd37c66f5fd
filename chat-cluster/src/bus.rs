//! What tells the nodes of each other's entries.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_driver::process::Process;
use clap::ValueEnum;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::keeper::Keeper;
use crate::links::{Links, Part};
use crate::ports::Ports;

/// Which bus the nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BusKind {
    /// A NATS server
    Nats,
    /// MongoDB's change streams
    Mongodb,
    /// None: a node sees what others write when it looks at the store, now and then
    None,
}

impl BusKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Mongodb => "mongodb",
            Self::None => "none",
        }
    }
}

/// How long a NATS server may take to listen.
const START: Duration = Duration::from_secs(20);

/// A NATS server.
pub(crate) struct Nats {
    program: PathBuf,
    process: Option<Process>,
    listens: SocketAddr,
    /// Where the nodes find it.
    address: SocketAddr,
    links: Option<Links>,
}

impl Nats {
    /// Starts it; with links, behind a proxy.
    pub(crate) async fn start(
        keeper: &Keeper,
        ports: &mut Ports,
        program: PathBuf,
        links: Option<&Links>,
    ) -> Result<Self, String> {
        let listens = ports.free()?;
        let address = match links {
            None => listens,
            Some(links) => {
                let address = ports.free()?;
                links.proxy(Part::Bus, address, listens).await?;
                address
            }
        };
        let mut nats = Self {
            program,
            process: None,
            listens,
            address,
            links: links.cloned(),
        };
        nats.launch(keeper).await?;
        Ok(nats)
    }

    /// Starts it, if it was killed, at its port.
    pub(crate) async fn launch(&mut self, keeper: &Keeper) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        let port = self.listens.port().to_string();
        command.args(["--addr", "127.0.0.1", "--port", &port]);
        let mut process = keeper.start("nats-server", command)?;
        if let Some(links) = &self.links {
            links.is(Part::Bus, process.pid());
        }
        let begun = Instant::now();
        while TcpStream::connect(self.listens).await.is_err() {
            if process.ended().is_some() || begun.elapsed() > START {
                return Err(format!("the NATS server doesn't start: {}", process.log()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// For a chat server's `--bus`.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}
