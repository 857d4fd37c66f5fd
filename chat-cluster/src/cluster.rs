//! All parts together: MongoDB, the bus, three nodes, the balancer.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::balancer::Balancer;
use crate::bus::{BusKind, Nats};
use crate::keeper::Keeper;
use crate::links::Links;
use crate::node::{Node, Settings};
use crate::ports::Ports;
use crate::replica_set::ReplicaSet;

/// How many chat servers there are.
pub(crate) const NODES: usize = 3;

/// What it is made of.
#[derive(Debug, Args)]
pub(crate) struct Parts {
    /// The chat server's program
    #[arg(long, value_name = "PATH")]
    server: PathBuf,

    /// MongoDB's
    #[arg(long, value_name = "PATH")]
    mongod: PathBuf,

    /// HAProxy's
    #[arg(long, value_name = "PATH")]
    haproxy: PathBuf,

    /// The NATS server's
    #[arg(long, value_name = "PATH", required_if_eq("bus", "nats"))]
    nats_server: Option<PathBuf>,

    /// Where data and logs go
    #[arg(long, value_name = "PATH")]
    pub(crate) folder: PathBuf,

    /// What tells the nodes of each other's entries
    #[arg(long, value_enum, default_value_t = BusKind::Nats)]
    pub(crate) bus: BusKind,
}

pub(crate) struct Cluster {
    pub(crate) nats: Option<Nats>,
    pub(crate) set: ReplicaSet,
    pub(crate) nodes: Vec<Node>,
    pub(crate) settings: Settings,
    pub(crate) balancer: Balancer,
    /// Last, so that it ends all others.
    pub(crate) keeper: Keeper,
}

impl Cluster {
    /// Starts it all and waits until all is ready.
    pub(crate) async fn start(parts: &Parts, members: usize, links: Option<Links>) -> Result<Self, String> {
        let folder = parts.folder.join(format!("cluster-{}", std::process::id()));
        let keeper = Keeper::new(&folder)?;
        let mut ports = Ports::new();
        let program = parts.mongod.clone();
        let set = ReplicaSet::start(&keeper, &mut ports, program, members, links.as_ref()).await?;
        let nats = match (parts.bus, &parts.nats_server) {
            (BusKind::Nats, Some(program)) => {
                Some(Nats::start(&keeper, &mut ports, program.clone(), links.as_ref()).await?)
            }
            _ => None,
        };
        let settings = Settings {
            program: parts.server.clone(),
            store: set.uri(),
            bus: match parts.bus {
                BusKind::Nats => nats.as_ref().map(Nats::url),
                BusKind::Mongodb => Some("mongodb".to_owned()),
                BusKind::None => None,
            },
            links,
        };
        let mut nodes = Vec::new();
        for number in 0..NODES {
            // One after the other: the first makes the collections.
            let mut node = Node::new(number, ports.free()?);
            node.launch(&keeper, &settings).await?;
            nodes.push(node);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let balancer = Balancer::start(&keeper, parts.haproxy.clone(), ports.free()?, &addresses).await?;
        Ok(Self {
            nats,
            set,
            nodes,
            settings,
            balancer,
            keeper,
        })
    }
}
