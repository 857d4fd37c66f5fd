//! HAProxy, with the configuration that docs/DEPLOY.md tells people to use.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_driver::process::Process;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::keeper::Keeper;
use crate::{documented, node};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(20);

pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Balancer {
    pub(crate) async fn start(
        keeper: &Keeper,
        program: PathBuf,
        address: SocketAddr,
        nodes: &[SocketAddr],
    ) -> Result<Self, String> {
        let file = keeper.folder.join("haproxy.cfg");
        let text = configuration(address, nodes)?;
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(file);
        let mut process = keeper.start("haproxy", command)?;
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if process.ended().is_some() || begun.elapsed() > START {
                return Err(format!("HAProxy doesn't start: {}", process.log()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            address,
            _process: process,
        })
    }
}

/// The documented file for another place: on loopback, without TLS, for this user, and as few connections as a small limit of
/// open files allows.
fn configuration(address: SocketAddr, nodes: &[SocketAddr]) -> Result<String, String> {
    let mut servers = String::new();
    for (number, node) in nodes.iter().enumerate() {
        let _ = writeln!(servers, "    server {} {node}", node::name(number));
    }
    let changes = [
        ("    user ", String::new()),
        ("    group ", String::new()),
        ("    maxconn ", "    maxconn 400\n".to_owned()),
        ("    bind :80", format!("    bind {address}\n")),
        ("    bind :443 ", String::new()),
        ("    http-request redirect scheme https ", String::new()),
        ("    server chat-1 ", servers),
        ("    server chat-2 ", String::new()),
        ("    server chat-3 ", String::new()),
    ];
    documented::edit(documented::HAPROXY, &changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_can_be_used_here() {
        let [address, one, two] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|address| address.parse().unwrap());
        let text = configuration(address, &[one, two]).unwrap();
        assert!(
            text.contains("    server node-1 127.0.0.1:2\n    server node-2 127.0.0.1:3\n"),
            "{text}"
        );
        assert!(!text.contains("10.0.0.1") && !text.contains("ssl"), "{text}");
        assert!(
            text.contains("\n    bind 127.0.0.1:1\n") && text.contains("uri /readyz"),
            "{text}"
        );
    }
}
