//! What is done to a cluster, one at a time, and how it is made good again.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::bus::BusKind;
use crate::cluster::{Cluster, NODES};
use crate::links::{Link, Links, Part};
use crate::node::STOP;

use super::book::{Book, Check};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KillNode,
    DrainNode,
    RollingRestart,
    KillBus,
    CutBus(Link),
    StepDown,
    KillPrimary,
    FreezePrimary,
    IsolatePrimary(Link),
    CutStore(Link),
}

impl Kind {
    /// What there is to go wrong with this bus.
    pub(crate) fn all(bus: BusKind) -> Vec<Self> {
        let bus: &[Self] = match bus {
            BusKind::Nats => &[Self::KillBus, Self::CutBus(Link::Stalled), Self::CutBus(Link::Reset)],
            BusKind::Mongodb | BusKind::None => &[],
        };
        let others = [
            Self::KillNode,
            Self::DrainNode,
            Self::RollingRestart,
            Self::StepDown,
            Self::KillPrimary,
            Self::FreezePrimary,
            Self::IsolatePrimary(Link::Stalled),
            Self::IsolatePrimary(Link::Reset),
            Self::CutStore(Link::Stalled),
            Self::CutStore(Link::Reset),
        ];
        bus.iter().copied().chain(others).collect()
    }
}

/// A fault of a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Which node, where it is one's.
    node: usize,
    /// How long it lasts.
    pub(crate) holds: Duration,
}

impl Fault {
    pub(crate) fn new(kind: Kind, rng: &mut Rng) -> Self {
        let holds = match kind {
            Kind::DrainNode | Kind::RollingRestart | Kind::StepDown => 0..1,
            Kind::KillNode | Kind::KillBus => 1_000..4_000,
            // Longer than it takes the others to elect a new primary.
            Kind::KillPrimary | Kind::FreezePrimary | Kind::IsolatePrimary(_) => 4_000..8_000,
            Kind::CutBus(_) | Kind::CutStore(_) => 3_000..8_000,
        };
        Self {
            kind,
            node: rng.usize(0..NODES),
            holds: Duration::from_millis(rng.u64(holds)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node + 1;
        let how = |link: &Link| match link {
            Link::Stalled => "nothing comes through",
            _ => "connections are reset",
        };
        match &self.kind {
            Kind::KillNode => write!(f, "node-{node} is killed"),
            Kind::DrainNode => write!(f, "node-{node} is stopped and started again"),
            Kind::RollingRestart => write!(f, "all nodes are stopped and started again, in turn"),
            Kind::KillBus => write!(f, "the NATS server is killed"),
            Kind::CutBus(link) => write!(f, "between node-{node} and the NATS server {}", how(link)),
            Kind::StepDown => write!(f, "the primary steps down"),
            Kind::KillPrimary => write!(f, "the primary is killed"),
            Kind::FreezePrimary => write!(f, "the primary is frozen"),
            Kind::IsolatePrimary(link) => write!(f, "between the primary and all others {}", how(link)),
            Kind::CutStore(link) => write!(f, "between node-{node} and MongoDB {}", how(link)),
        }
    }
}

/// How a fault is made good again.
pub(crate) struct Undo {
    fault: Fault,
    /// Which member it struck, where it is one's.
    member: usize,
}

impl Fault {
    /// Does it.
    pub(crate) async fn strike(self, cluster: &mut Cluster, links: &Links) -> Result<Undo, String> {
        let mut member = 0;
        match self.kind {
            Kind::KillNode => cluster.nodes[self.node].kill().await?,
            Kind::DrainNode => cluster.nodes[self.node].terminate()?,
            Kind::RollingRestart => cluster.nodes[0].terminate()?,
            Kind::KillBus => {
                if let Some(nats) = &mut cluster.nats {
                    nats.kill().await?;
                }
            }
            Kind::CutBus(link) => links.set(Part::Node(self.node), Part::Bus, link),
            Kind::StepDown => member = cluster.set.step_down().await?,
            Kind::KillPrimary => {
                member = cluster.set.primary().await?;
                cluster.set.kill(member).await?;
            }
            Kind::FreezePrimary => {
                member = cluster.set.primary().await?;
                cluster.set.signal(member, Signal::STOP)?;
            }
            Kind::IsolatePrimary(link) => {
                member = cluster.set.primary().await?;
                isolate(cluster, links, member, link);
            }
            Kind::CutStore(link) => cut_store(cluster, links, self.node, link),
        }
        Ok(Undo { fault: self, member })
    }
}

impl Undo {
    /// Makes it good again; returns when all parts are there.
    pub(crate) async fn make_good(self, cluster: &mut Cluster, links: &Links, book: &Book) -> Result<(), String> {
        let Self { fault, member } = self;
        match fault.kind {
            Kind::KillNode => start_node(cluster, fault.node).await,
            Kind::DrainNode => restart_node(cluster, book, fault.node).await,
            Kind::RollingRestart => {
                restart_node(cluster, book, 0).await?;
                for node in 1..NODES {
                    // Until the balancer takes the one before for ready.
                    sleep(Duration::from_secs(3)).await;
                    cluster.nodes[node].terminate()?;
                    restart_node(cluster, book, node).await?;
                }
                Ok(())
            }
            Kind::KillBus => match &mut cluster.nats {
                Some(nats) => nats.launch(&cluster.keeper).await,
                None => Ok(()),
            },
            Kind::CutBus(_) => {
                links.set(Part::Node(fault.node), Part::Bus, Link::Whole);
                Ok(())
            }
            Kind::StepDown => cluster.set.whole().await,
            Kind::KillPrimary => {
                cluster.set.restart(&cluster.keeper, member)?;
                cluster.set.whole().await
            }
            Kind::FreezePrimary => {
                cluster.set.signal(member, Signal::CONT)?;
                cluster.set.whole().await
            }
            Kind::IsolatePrimary(_) => {
                isolate(cluster, links, member, Link::Whole);
                cluster.set.whole().await
            }
            Kind::CutStore(_) => {
                cut_store(cluster, links, fault.node, Link::Whole);
                Ok(())
            }
        }
    }
}

/// Between a member and the nodes, and the other members in both directions.
fn isolate(cluster: &Cluster, links: &Links, member: usize, link: Link) {
    for node in 0..NODES {
        links.set(Part::Node(node), Part::Member(member), link);
    }
    for other in (0..cluster.set.len()).filter(|other| *other != member) {
        links.set(Part::Member(other), Part::Member(member), link);
        links.set(Part::Member(member), Part::Member(other), link);
    }
}

fn cut_store(cluster: &Cluster, links: &Links, node: usize, link: Link) {
    for member in 0..cluster.set.len() {
        links.set(Part::Node(node), Part::Member(member), link);
    }
}

async fn start_node(cluster: &mut Cluster, node: usize) -> Result<(), String> {
    cluster.nodes[node].launch(&cluster.keeper, &cluster.settings).await
}

/// Waits for the end of a node that was told to stop, and starts it again.
async fn restart_node(cluster: &mut Cluster, book: &Book, node: usize) -> Result<(), String> {
    finish(cluster, book, node).await?;
    start_node(cluster, node).await
}

/// Waits for the end of a node that was told to stop.
pub(crate) async fn finish(cluster: &mut Cluster, book: &Book, node: usize) -> Result<(), String> {
    let stopped = cluster.nodes[node].finish().await?;
    for fault in stopped.faults(STOP, 0) {
        let name = cluster.nodes[node].name();
        book.wrong(Check::Stop, format_args!("{name}: {fault}"));
    }
    Ok(())
}
