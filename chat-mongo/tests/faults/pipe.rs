//! A connection in memory, which takes everything.

use roomcast_core::{Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// The hub's end. The client's is a receiver of frames; when it is dropped, the connection is broken.
pub(crate) struct Pipe {
    to_client: mpsc::UnboundedSender<Value>,
    gone: oneshot::Receiver<()>,
}

/// The client's end.
pub(crate) struct Peer {
    pub(crate) frames: mpsc::UnboundedReceiver<Value>,
    _here: oneshot::Sender<()>,
}

pub(crate) fn pipe() -> (Pipe, Peer) {
    let (to_client, frames) = mpsc::unbounded_channel();
    let (_here, gone) = oneshot::channel();
    (Pipe { to_client, gone }, Peer { frames, _here })
}

pub(crate) struct Reader(oneshot::Receiver<()>);

pub(crate) struct Writer(mpsc::UnboundedSender<Value>);

impl Connection for Pipe {
    type Reader = Reader;
    type Writer = Writer;

    fn split(self) -> (Reader, Writer) {
        (Reader(self.gone), Writer(self.to_client))
    }
}

impl ConnectionReader for Reader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        // The client never speaks: what it has to say goes through the hub.
        let _ = (&mut self.0).await;
        Ok(Inbound::Closed)
    }
}

impl ConnectionWriter for Writer {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            let frame = serde_json::from_slice(frame).expect("a frame is JSON");
            self.0.send(frame).map_err(ConnectionError::new)?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        Ok(())
    }
}
