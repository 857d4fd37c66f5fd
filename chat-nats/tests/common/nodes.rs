//! Hubs on a store in memory, with a bus on NATS.

use std::time::Duration;

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    Limits, OpenPolicy, RoomId, User,
};
use roomcast_nats::NatsBus;
use roomcast_testkit::bus::SharedStore;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// So long that what is seen is seen thanks to the bus.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn hub_on(store: &SharedStore, bus: NatsBus) -> Hub {
    hub_that_compares(store, bus, NEVER)
}

pub(crate) fn hub_that_compares(store: &SharedStore, bus: NatsBus, head_check: Duration) -> Hub {
    let mut limits = Limits::default();
    limits.rate = None;
    limits.head_check = head_check;
    let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits).bus(bus);
    hub.build().unwrap()
}

pub(crate) async fn say(hub: &Hub, room: &str, text: &str) {
    let user = User::named("bot").unwrap();
    let room = RoomId::new(room).unwrap();
    hub.publish(&room, &user, Draft::text(text)).await.unwrap();
}

/// What the hub says of its bus: nothing is wrong, or what.
pub(crate) async fn complaint(hub: &Hub) -> Option<String> {
    let error = hub.bus_health().await.expect("there is a bus").err()?;
    Some(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
}

/// Waits until the bus is healthy.
pub(crate) async fn healthy(hub: &Hub) -> Duration {
    let began = Instant::now();
    while let Some(complaint) = complaint(hub).await {
        assert!(began.elapsed() < Duration::from_secs(30), "{complaint}");
        sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

/// A member that only listens, and takes note when frames come.
pub(crate) struct Listener {
    frames: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    _hangs_up: mpsc::UnboundedSender<Inbound>,
}

struct Pipe(
    mpsc::UnboundedReceiver<Inbound>,
    mpsc::UnboundedSender<(Instant, Bytes)>,
);
struct Reader(mpsc::UnboundedReceiver<Inbound>);
struct Writer(mpsc::UnboundedSender<(Instant, Bytes)>);

impl Connection for Pipe {
    type Reader = Reader;
    type Writer = Writer;

    fn split(self) -> (Reader, Writer) {
        (Reader(self.0), Writer(self.1))
    }
}

impl ConnectionReader for Reader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        Ok(self.0.recv().await.unwrap_or(Inbound::Closed))
    }
}

impl ConnectionWriter for Writer {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        let now = Instant::now();
        for frame in frames {
            self.0
                .send((now, frame.clone()))
                .map_err(|_| ConnectionError::new("the client is gone"))?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        let code = Bytes::from(close.code.to_string());
        let _ = self.0.send((Instant::now(), code));
        Ok(())
    }
}

impl Listener {
    pub(crate) async fn join(hub: &Hub, name: &str, room: &str) -> Self {
        let client = Client::v1(User::named(name).unwrap()).room(RoomId::new(room).unwrap());
        let admitted = hub.admit(client).await.unwrap();
        let (hangs_up, inbound) = mpsc::unbounded_channel();
        let (outbound, frames) = mpsc::unbounded_channel();
        tokio::spawn(admitted.serve(Pipe(inbound, outbound)));
        let mut listener = Self {
            frames,
            _hangs_up: hangs_up,
        };
        let (_, hello) = listener.frame_within(Duration::from_secs(10)).await;
        assert!(hello.contains(r#""t":"hello""#), "{hello}");
        listener
    }

    /// The next frame, or the code of the close frame, and when it came.
    pub(crate) async fn frame_within(&mut self, limit: Duration) -> (Instant, String) {
        match timeout(limit, self.frames.recv()).await {
            Ok(Some((at, frame))) => (at, String::from_utf8(frame.to_vec()).unwrap()),
            Ok(None) => panic!("the member is cut off"),
            Err(_) => panic!("nothing comes within {limit:?}"),
        }
    }

    /// The next frame is a message with this text. Gives when it came.
    pub(crate) async fn sees(&mut self, text: &str) -> Instant {
        self.sees_within(text, Duration::from_secs(10)).await
    }

    pub(crate) async fn sees_within(&mut self, text: &str, limit: Duration) -> Instant {
        let (at, frame) = self.frame_within(limit).await;
        assert!(frame.contains(&format!(r#""content":"{text}""#)), "{text}: {frame}");
        at
    }

    pub(crate) async fn hears_nothing_for(&mut self, span: Duration) {
        if let Ok(frame) = timeout(span, self.frames.recv()).await {
            panic!("{frame:?}");
        }
    }
}
