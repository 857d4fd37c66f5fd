//! Connections that are slow, stop, and break at any frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use roomcast_core::{Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::frame::Frame;
use crate::oracle::{ConnId, Event};
use crate::rng::Rng;
use crate::world::World;

/// What both ends share.
struct Link {
    world: Arc<World>,
    conn: ConnId,
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
        if self.world.is_calm() {
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

fn broken() -> ConnectionError {
    ConnectionError::new("the connection broke")
}

/// What a client sends.
struct Up {
    at: Instant,
    inbound: Inbound,
    request: Option<u64>,
}

/// What a client gets.
#[derive(Debug)]
pub(crate) enum Down {
    Frame(Box<Frame>),
    Ping,
    Close(u16),
    /// The connection is no more.
    Gone,
}

/// The hub's end.
pub(crate) struct HubEnd(HubReader, HubWriter);

pub(crate) struct HubReader {
    link: Arc<Link>,
    from_client: mpsc::UnboundedReceiver<Up>,
}

pub(crate) struct HubWriter {
    link: Arc<Link>,
    to_client: mpsc::UnboundedSender<(Instant, Down)>,
    window: Arc<Semaphore>,
    last: Instant,
}

/// The client's end.
pub(crate) struct ClientEnd {
    link: Arc<Link>,
    to_hub: mpsc::UnboundedSender<Up>,
    from_hub: mpsc::UnboundedReceiver<(Instant, Down)>,
    /// Arrives later than it was looked at.
    next: Option<(Instant, Down)>,
    window: Arc<Semaphore>,
    last: Instant,
}

/// A connection to a hub that lives as long as `power` isn't cut.
pub(crate) fn connect(world: &Arc<World>, conn: ConnId, power: &CancellationToken, rng: Rng) -> (HubEnd, ClientEnd) {
    let breaks = rng.chance(world.plan.network * 10);
    let now = Instant::now();
    let window = Arc::new(Semaphore::new(rng.size(2, 60)));
    let link = Arc::new(Link {
        world: world.clone(),
        conn,
        cut: power.child_token(),
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
    let client = ClientEnd {
        link,
        to_hub,
        from_hub,
        next: None,
        window,
        last: now,
    };
    (HubEnd(reader, writer), client)
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
            let up = self.from_client.recv().await.ok_or_else(broken)?;
            sleep_until(up.at).await;
            Ok(up)
        };
        let up = tokio::select! {
            biased;
            () = self.link.cut.cancelled() => return Err(broken()),
            up = next => up?,
        };
        if let Some(request) = up.request {
            let conn = self.link.conn;
            self.link.world.see(&Event::Read { conn, request });
        }
        Ok(up.inbound)
    }
}

impl HubWriter {
    async fn put(&mut self, down: Down) -> Result<(), ConnectionError> {
        let place = async { self.window.acquire().await.map_err(ConnectionError::new) };
        tokio::select! {
            biased;
            () = self.link.cut.cancelled() => return Err(broken()),
            place = place => place?.forget(),
        }
        if !self.link.carries() {
            return Err(broken());
        }
        let conn = self.link.conn;
        match &down {
            Down::Frame(frame) => self.link.world.see(&Event::Wrote { conn, frame }),
            Down::Close(code) => self.link.world.see(&Event::Closing { conn, code: *code }),
            Down::Ping | Down::Gone => {}
        }
        let at = self.link.arrival(&mut self.last);
        self.to_client.send((at, down)).map_err(|_| broken())
    }
}

/// How long a write took, also if the hub gave up waiting.
struct Took {
    link: Arc<Link>,
    since: Instant,
}

impl Drop for Took {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        // The hub of a broken connection may be gone itself.
        if took > Duration::ZERO && !self.link.cut.is_cancelled() {
            let conn = self.link.conn;
            self.link.world.see(&Event::WriteTook { conn, took });
        }
    }
}

impl ConnectionWriter for HubWriter {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        let _took = Took {
            link: self.link.clone(),
            since: Instant::now(),
        };
        for frame in frames {
            let frame: Box<Frame> = serde_json::from_slice(frame).map_err(ConnectionError::new)?;
            self.put(Down::Frame(frame)).await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        self.put(Down::Ping).await?;
        Ok(true)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.put(Down::Close(close.code)).await
    }
}

impl ClientEnd {
    pub(crate) fn id(&self) -> ConnId {
        self.link.conn
    }

    /// Sends what may never arrive.
    pub(crate) fn send(&mut self, inbound: Inbound, request: Option<u64>) {
        if self.link.carries() {
            let at = self.link.arrival(&mut self.last);
            // A hub that has hung up hears nothing.
            let _ = self.to_hub.send(Up { at, inbound, request });
        }
    }

    /// What comes next. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Down {
        let next = async {
            if self.next.is_none() {
                self.next = self.from_hub.recv().await;
            }
            match &self.next {
                Some((at, _)) => sleep_until(*at).await,
                None => return Down::Gone,
            }
            self.next.take().map_or(Down::Gone, |(_, down)| down)
        };
        let down = tokio::select! {
            biased;
            () = self.link.cut.cancelled() => Down::Gone,
            down = next => down,
        };
        self.window.add_permits(1);
        if let Down::Frame(frame) = &down {
            let conn = self.link.conn;
            self.link.world.see(&Event::Received { conn, frame });
        }
        down
    }

    /// Breaks the connection: what is on its way is lost.
    pub(crate) fn cut(&self) {
        self.link.cut.cancel();
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.cut();
        let conn = self.link.conn;
        self.link.world.see(&Event::Ended { conn });
    }
}
