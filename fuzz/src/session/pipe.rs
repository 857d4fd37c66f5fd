//! A connection in memory, whose client takes as much as it says.

use std::sync::Arc;

use roomcast_core::{Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

/// What the server did.
#[derive(Debug)]
pub enum Seen {
    Frame(Value),
    Ping,
    Close(u16),
}

pub struct Pipe {
    pub from_client: mpsc::UnboundedReceiver<Inbound>,
    pub to_client: mpsc::UnboundedSender<Seen>,
    /// A place for each frame that the client takes.
    pub window: Arc<Semaphore>,
}

pub struct Reader(mpsc::UnboundedReceiver<Inbound>);

pub struct Writer {
    to_client: mpsc::UnboundedSender<Seen>,
    window: Arc<Semaphore>,
}

impl Connection for Pipe {
    type Reader = Reader;
    type Writer = Writer;

    fn split(self) -> (Reader, Writer) {
        let Self {
            from_client,
            to_client,
            window,
        } = self;
        (Reader(from_client), Writer { to_client, window })
    }
}

fn gone() -> ConnectionError {
    ConnectionError::new("the client is gone")
}

impl ConnectionReader for Reader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        self.0.recv().await.ok_or_else(gone)
    }
}

impl Writer {
    async fn put(&self, seen: Seen) -> Result<(), ConnectionError> {
        self.window.acquire().await.map_err(ConnectionError::new)?.forget();
        self.to_client.send(seen).map_err(|_| gone())
    }
}

impl ConnectionWriter for Writer {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            let frame = serde_json::from_slice(frame).expect("a frame is JSON");
            self.put(Seen::Frame(frame)).await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        self.put(Seen::Ping).await?;
        Ok(true)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.put(Seen::Close(close.code)).await
    }
}
