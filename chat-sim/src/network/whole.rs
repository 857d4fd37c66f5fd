//! Connections of whole frames, which break at any of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_core::{
    Admission, Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Down, Line, Up, broken};
use crate::frame::Frame;
use crate::oracle::Event;
use crate::rng::Rng;
use crate::world::Node;

/// What both ends share.
struct Link {
    line: Line,
    /// Cancelled when the connection breaks: what is on its way is lost. Broken as well when its hub is killed.
    cut: CancellationToken,
    /// How many frames it carries before it breaks.
    frames_left: AtomicU64,
    slow_ms: u64,
    rng: Rng,
}

impl Link {
    /// Whether one more frame gets through.
    fn carries(&self) -> bool {
        if self.cut.is_cancelled() {
            return false;
        }
        if self.line.world.is_calm() {
            return true;
        }
        if self.frames_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.cut.cancel();
            return false;
        }
        true
    }

    /// When a frame arrives that is sent now, behind those before it.
    fn arrival(&self, last: &mut Instant) -> Instant {
        *last = (Instant::now() + self.rng.millis(0, self.slow_ms)).max(*last);
        *last
    }
}

/// What the hub sends.
enum Sent {
    Frame(Box<Frame>),
    Ping,
    Close(u16),
}

/// The hub's end.
struct HubEnd(HubReader, HubWriter);

struct HubReader {
    link: Arc<Link>,
    from_client: mpsc::UnboundedReceiver<(Instant, Inbound)>,
}

struct HubWriter {
    link: Arc<Link>,
    to_client: mpsc::UnboundedSender<(Instant, Sent)>,
    window: Arc<Semaphore>,
    last: Instant,
}

/// The client's end.
pub(crate) struct Client {
    link: Arc<Link>,
    to_hub: mpsc::UnboundedSender<(Instant, Inbound)>,
    from_hub: mpsc::UnboundedReceiver<(Instant, Sent)>,
    /// Arrives later than it was looked at.
    next: Option<(Instant, Sent)>,
    window: Arc<Semaphore>,
    last: Instant,
}

/// A connection that lives as long as its hub, and is served by it.
pub(super) fn connect(line: Line, node: &Node, admission: Admission, rng: Rng) -> Client {
    let breaks = rng.chance(line.world.plan.network * 10);
    let now = Instant::now();
    let window = Arc::new(Semaphore::new(rng.size(2, 60)));
    let link = Arc::new(Link {
        line,
        cut: node.power.child_token(),
        frames_left: AtomicU64::new(if breaks { rng.between(0, 120) } else { u64::MAX }),
        slow_ms: *rng.pick(&[0, 2, 30, 150]),
        rng,
    });
    let (to_hub, from_client) = mpsc::unbounded_channel();
    let (to_client, from_hub) = mpsc::unbounded_channel();
    let reader = HubReader {
        link: link.clone(),
        from_client,
    };
    let writer = HubWriter {
        link: link.clone(),
        to_client,
        window: window.clone(),
        last: now,
    };
    node.hub.spawn(async move {
        let _ended = admission.serve(HubEnd(reader, writer)).await;
    });
    Client {
        link,
        to_hub,
        from_hub,
        next: None,
        window,
        last: now,
    }
}

impl Connection for HubEnd {
    type Reader = HubReader;
    type Writer = HubWriter;

    fn split(self) -> (HubReader, HubWriter) {
        (self.0, self.1)
    }
}

impl ConnectionReader for HubReader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        let next = async {
            let (at, inbound) = self.from_client.recv().await.ok_or_else(broken)?;
            sleep_until(at).await;
            Ok(inbound)
        };
        let inbound = tokio::select! {
            biased;
            () = self.link.cut.cancelled() => return Err(broken()),
            inbound = next => inbound?,
        };
        if let Inbound::Text(text) = &inbound {
            self.link.line.read(text);
        }
        Ok(inbound)
    }
}

impl HubWriter {
    async fn put(&mut self, sent: Sent) -> Result<(), ConnectionError> {
        let place = async { self.window.acquire().await.map_err(ConnectionError::new) };
        tokio::select! {
            biased;
            () = self.link.cut.cancelled() => return Err(broken()),
            place = place => place?.forget(),
        }
        if !self.link.carries() {
            return Err(broken());
        }
        if let Sent::Frame(frame) = &sent {
            let Line { world, conn, .. } = &self.link.line;
            world.see(&Event::Wrote { conn: *conn, frame });
        }
        let at = self.link.arrival(&mut self.last);
        self.to_client.send((at, sent)).map_err(|_| broken())
    }
}

impl ConnectionWriter for HubWriter {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        let _took = self.link.line.writing(&self.link.cut);
        self.link.line.handed(frames);
        for bytes in frames {
            let frame = self.link.line.frame(bytes)?;
            self.put(Sent::Frame(frame)).await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        self.put(Sent::Ping).await?;
        Ok(true)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        if !self.link.cut.is_cancelled() {
            self.link.line.closing(close.code);
        }
        self.put(Sent::Close(close.code)).await
    }
}

impl Client {
    pub(super) fn line(&self) -> &Line {
        &self.link.line
    }

    pub(super) fn send(&mut self, up: &Up) {
        match up {
            Up::Text(text) => self.put(Inbound::Text(text.clone().into())),
            Up::Binary => self.put(Inbound::Binary),
            Up::TooLarge => self.put(Inbound::TooLarge),
            Up::Ping => self.put(Inbound::Ping),
            Up::Broken => self.link.cut.cancel(),
        }
    }

    fn put(&mut self, inbound: Inbound) {
        if self.link.carries() {
            let at = self.link.arrival(&mut self.last);
            // A hub that has hung up hears nothing.
            let _ = self.to_hub.send((at, inbound));
        }
    }

    pub(super) fn leave(&mut self) {
        self.put(Inbound::Closed);
    }

    pub(super) async fn recv(&mut self) -> Down {
        loop {
            let next = async {
                if self.next.is_none() {
                    self.next = self.from_hub.recv().await;
                }
                match &self.next {
                    Some((at, _)) => sleep_until(*at).await,
                    None => return None,
                }
                self.next.take().map(|(_, sent)| sent)
            };
            let sent = tokio::select! {
                biased;
                () = self.link.cut.cancelled() => None,
                sent = next => sent,
            };
            self.window.add_permits(1);
            match sent {
                Some(Sent::Frame(frame)) => return Down::Frame(frame),
                Some(Sent::Close(code)) => return Down::Close(code),
                Some(Sent::Ping) => self.put(Inbound::Pong),
                None => return Down::Gone,
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // What is on its way is lost.
        self.link.cut.cancel();
    }
}
