//! Links between the parts, which can be cut: in front of each server that others connect to stands a proxy, which knows by
//! their process ids who they are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::peer;

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    /// Connections stay, and new ones are taken, but nothing comes through. When the link is whole again, what was held back does.
    Stalled,
    /// Connections are reset, new ones as well.
    Reset,
}

/// A part that others connect to, or that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Node(usize),
    Member(usize),
    Bus,
    /// Who isn't one of them: this program itself, or a process that is gone by now.
    Stranger,
}

/// All links. Those that nothing was said of are whole.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Who has which process id.
    pids: HashMap<u32, Part>,
    links: HashMap<(Part, Part), watch::Sender<Link>>,
}

impl Links {
    /// The part is this process from now on.
    pub(crate) fn is(&self, part: Part, pid: u32) {
        let pids = &mut self.0.lock().pids;
        pids.retain(|_, known| *known != part);
        pids.insert(pid, part);
    }

    /// Sets what becomes of connections from one part to the other.
    pub(crate) fn set(&self, from: Part, to: Part, link: Link) {
        self.sender(from, to).send_replace(link);
    }

    fn sender(&self, from: Part, to: Part) -> watch::Sender<Link> {
        let mut inner = self.0.lock();
        let new = || watch::Sender::new(Link::Whole);
        inner.links.entry((from, to)).or_insert_with(new).clone()
    }

    fn pids(&self) -> Vec<(u32, Part)> {
        self.0.lock().pids.iter().map(|(pid, part)| (*pid, *part)).collect()
    }

    /// Stands in front of a part, at an address of its own.
    pub(crate) async fn proxy(&self, part: Part, at: SocketAddr, target: SocketAddr) -> Result<(), String> {
        let listener = TcpListener::bind(at).await.map_err(|error| format!("{at}: {error}"))?;
        let links = self.clone();
        tokio::spawn(async move {
            loop {
                // What fails here is the one connection.
                if let Ok((client, from)) = listener.accept().await {
                    tokio::spawn(links.clone().serve(client, from, part, at, target));
                }
            }
        });
        Ok(())
    }

    async fn serve(self, client: TcpStream, from: SocketAddr, part: Part, at: SocketAddr, target: SocketAddr) {
        let peer = peer::of(from, at, &self.pids()).unwrap_or(Part::Stranger);
        // The links keep its sender.
        let mut link = self.sender(peer, part).subscribe();
        let _ = client.set_nodelay(true);
        let Some(server) = open(target, &mut link).await else {
            let _ = client.set_zero_linger();
            return;
        };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let mut there = tokio::spawn(pump(from_client, to_server, link.clone()));
        let mut back = tokio::spawn(pump(from_server, to_client, link));
        // Whichever ends by a reset ends both.
        tokio::select! {
            end = &mut there => if end.ok() != Some(true) { back.abort(); } else { let _ = back.await; },
            end = &mut back => if end.ok() != Some(true) { there.abort(); } else { let _ = there.await; },
        }
    }
}

/// Connects once the link lets it.
async fn open(target: SocketAddr, link: &mut watch::Receiver<Link>) -> Option<TcpStream> {
    passes(link).await?;
    let server = TcpStream::connect(target).await.ok()?;
    let _ = server.set_nodelay(true);
    Some(server)
}

/// Waits while the link is stalled; none if it is reset.
async fn passes(link: &mut watch::Receiver<Link>) -> Option<()> {
    let link = link.wait_for(|link| *link != Link::Stalled).await.ok()?;
    (*link == Link::Whole).then_some(())
}

/// Carries one direction. True if it ended properly.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) -> bool {
    let mut buffer = vec![0; 16 << 10];
    let carried = async {
        loop {
            let read = tokio::select! {
                biased;
                _ = link.changed() => {
                    passes(&mut link).await?;
                    continue;
                }
                read = from.read(&mut buffer) => read.ok()?,
            };
            passes(&mut link).await?;
            if read == 0 {
                to.shutdown().await.ok()?;
                return Some(());
            }
            to.write_all(&buffer[..read]).await.ok()?;
        }
    };
    let ended = carried.await.is_some();
    if !ended {
        let _ = from.as_ref().set_zero_linger();
        let _ = to.as_ref().set_zero_linger();
    }
    ended
}
