//! A connection in memory, and a client at its other end.
#![allow(dead_code, unreachable_pub)]

pub mod by_hand;
pub mod picky;
pub mod ponders;
pub mod trouble;

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Ended, Hub, Inbound,
    Limits, MessageStore, OpenPolicy, Refusal, RoomId, Start, User,
};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What the server did.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Frame(Value),
    Ping,
    Close(u16, String),
}

/// A connection whose client takes as much as it says: each frame needs a permit.
pub struct Pipe {
    from_client: mpsc::UnboundedReceiver<Inbound>,
    to_client: mpsc::UnboundedSender<Seen>,
    window: Arc<Semaphore>,
    pings: bool,
}

pub struct PipeReader(mpsc::UnboundedReceiver<Inbound>);

pub struct PipeWriter {
    to_client: mpsc::UnboundedSender<Seen>,
    window: Arc<Semaphore>,
    pings: bool,
}

impl Connection for Pipe {
    type Reader = PipeReader;
    type Writer = PipeWriter;

    fn split(self) -> (PipeReader, PipeWriter) {
        let Self {
            from_client,
            to_client,
            window,
            pings,
        } = self;
        (
            PipeReader(from_client),
            PipeWriter {
                to_client,
                window,
                pings,
            },
        )
    }
}

impl ConnectionReader for PipeReader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        self.0
            .recv()
            .await
            .ok_or_else(|| ConnectionError::new("the client is gone"))
    }
}

impl PipeWriter {
    async fn put(&self, seen: Seen) -> Result<(), ConnectionError> {
        self.window.acquire().await.map_err(ConnectionError::new)?.forget();
        self.to_client
            .send(seen)
            .map_err(|_| ConnectionError::new("the client is gone"))
    }
}

impl ConnectionWriter for PipeWriter {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            self.put(Seen::Frame(serde_json::from_slice(frame).expect("a frame is JSON")))
                .await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        if self.pings {
            self.put(Seen::Ping).await?;
        }
        Ok(self.pings)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.put(Seen::Close(close.code, close.reason.to_string())).await
    }
}

/// The client's end.
pub struct Peer {
    to_server: mpsc::UnboundedSender<Inbound>,
    from_server: mpsc::UnboundedReceiver<Seen>,
    pub window: Arc<Semaphore>,
    pub task: JoinHandle<Result<Ended, Refusal>>,
}

pub const OPEN: usize = 1 << 40;

impl Peer {
    /// Connects a client that takes `window` frames, and more as it is told.
    pub fn connect_with(hub: &Hub, client: Client, window: usize, pings: bool) -> Self {
        let (to_server, from_client) = mpsc::unbounded_channel();
        let (to_client, from_server) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(window));
        let pipe = Pipe {
            from_client,
            to_client,
            window: window.clone(),
            pings,
        };
        let hub = hub.clone();
        let task = tokio::spawn(async move { hub.serve(client, pipe).await });
        Self {
            to_server,
            from_server,
            window,
            task,
        }
    }

    /// Serves a client that was let in before.
    pub fn serve(admission: roomcast_core::Admission) -> Self {
        let (to_server, from_client) = mpsc::unbounded_channel();
        let (to_client, from_server) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(OPEN));
        let pipe = Pipe {
            from_client,
            to_client,
            window: window.clone(),
            pings: true,
        };
        let task = tokio::spawn(async move { Ok(admission.serve(pipe).await) });
        Self {
            to_server,
            from_server,
            window,
            task,
        }
    }

    /// The next message.
    pub async fn frame_of_none(&mut self) -> Value {
        loop {
            if let Seen::Frame(frame) = self.next().await
                && frame.get("t").is_none()
            {
                return frame;
            }
        }
    }

    /// Connects a client that takes everything.
    pub fn connect(hub: &Hub, client: Client) -> Self {
        Self::connect_with(hub, client, OPEN, true)
    }

    pub fn send(&self, frame: Value) {
        self.send_raw(Inbound::Text(frame.to_string().into()));
    }

    pub fn send_raw(&self, inbound: Inbound) {
        // The server may have ended already; what it said tells the test.
        let _ = self.to_server.send(inbound);
    }

    pub async fn next(&mut self) -> Seen {
        match timeout(Duration::from_secs(3600), self.from_server.recv()).await {
            Ok(Some(seen)) => seen,
            Ok(None) => panic!("the server ended without a goodbye"),
            Err(_) => panic!("the server says nothing"),
        }
    }

    pub async fn frame(&mut self) -> Value {
        match self.next().await {
            Seen::Frame(frame) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next frame of this type; those before are dropped.
    pub async fn frame_of(&mut self, t: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["t"] == t {
                return frame;
            }
        }
    }

    /// Whether the server says nothing for that long.
    pub async fn hears_nothing(&mut self, span: Duration) -> bool {
        timeout(span, self.from_server.recv()).await.is_err()
    }

    /// Reads to the close frame, and returns its code.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Seen::Close(code, _) = self.next().await {
                return code;
            }
        }
    }
}

pub fn user(name: &str) -> User {
    User::named(name).unwrap()
}

pub fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// A client of `chat.v1.json` in this room.
pub fn v1(name: &str, room_id: &str) -> Client {
    Client::v1(user(name)).room(room(room_id))
}

/// The default limits, without a rate.
pub fn unlimited() -> Limits {
    let mut limits = Limits::default();
    limits.rate = None;
    limits
}

pub fn hub_of(store: impl MessageStore, limits: Limits) -> Hub {
    Hub::builder(store, OpenPolicy).limits(limits).build().unwrap()
}

pub fn since(epoch: &str, seq: u64) -> Start {
    Start::Since(format!("{epoch}:{seq}").parse().unwrap())
}

pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(seconds), future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {seconds} s: {what}"),
    }
}
