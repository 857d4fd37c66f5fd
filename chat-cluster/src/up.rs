//! A cluster to try things out on.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::bus::Nats;
use crate::cluster::{Cluster, Parts};
use crate::node::Settings;

/// Starts it, says where it is, and waits until it is to end.
pub(crate) async fn up(parts: &Parts, members: usize) -> Result<(), String> {
    let mut ends = Ends::new()?;
    println!("starting MongoDB, the nodes and HAProxy …");
    let cluster = tokio::select! {
        cluster = Cluster::start(parts, members, None) => cluster?,
        () = ends.any() => return Ok(()),
    };
    println!(
        "\n  http://{}   the chat, on all nodes in turn\n",
        cluster.balancer.address
    );
    for node in &cluster.nodes {
        let (name, address) = (node.name(), node.address);
        println!(
            "  http://{address}   {name} alone, process {}",
            node.pid().unwrap_or_default()
        );
    }
    println!("\n  {}", cluster.settings.store);
    if let Some(url) = cluster.nats.as_ref().map(Nats::url) {
        println!("  {url}");
    }
    println!("  {}   data and logs\n", cluster.keeper.folder.display());
    println!("End a node as you like (kill, kill -9); in another terminal, start it again with\n");
    println!("  {}\n", command(&cluster.settings, "ADDRESS"));
    println!("Ctrl-C, or the end of the standard input, ends it all and removes its data.");
    ends.any().await;
    println!("ending");
    let mut cluster = cluster;
    // Those that still run tell their clients.
    let told: Vec<bool> = cluster.nodes.iter().map(|node| node.terminate().is_ok()).collect();
    for (node, told) in cluster.nodes.iter_mut().zip(told) {
        if told {
            node.finish().await?;
        }
    }
    Ok(())
}

/// What starts a node by hand, for a shell.
fn command(settings: &Settings, address: &str) -> String {
    let bus = settings.bus.iter().map(|bus| format!(" --bus {bus}"));
    let bus: String = bus.collect();
    let (program, store) = (settings.program.display(), &settings.store);
    format!("{program} --listen {address} --store '{store}'{bus}")
}

/// What ends it: Ctrl-C, SIGTERM, and the end of the standard input.
struct Ends {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    input: tokio::io::Stdin,
}

impl Ends {
    fn new() -> Result<Self, String> {
        let on = |kind| signal(kind).map_err(|error| error.to_string());
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            input: tokio::io::stdin(),
        })
    }

    async fn any(&mut self) {
        let mut ignored = [0; 1024];
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                read = self.input.read(&mut ignored) => if !matches!(read, Ok(1..)) { return },
            }
        }
    }
}
