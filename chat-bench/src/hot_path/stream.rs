//! Streams in memory: what a client says is given to them at once, and what it is sent is counted.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Frames;

/// All who listen.
#[derive(Debug, Default)]
pub(super) struct Audience(Mutex<Expected>);

#[derive(Debug, Default)]
struct Expected {
    /// How many frames are yet to be heard.
    frames: usize,
    waker: Option<Waker>,
}

impl Audience {
    /// So many frames more will be heard.
    pub(super) fn expect(&self, frames: usize) {
        self.0.lock().frames += frames;
    }

    /// Ready once all that was expected was heard.
    pub(super) async fn heard(&self) {
        poll_fn(|cx| {
            let mut expected = self.0.lock();
            if expected.frames == 0 {
                return Poll::Ready(());
            }
            expected.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn hears(&self, frames: usize) {
        let mut expected = self.0.lock();
        expected.frames = expected.frames.checked_sub(frames).expect("a frame too many");
        if expected.frames == 0
            && let Some(waker) = expected.waker.take()
        {
            drop(expected);
            waker.wake();
        }
    }
}

/// A client's stream. It is both ends of it: the server's, and the one by which the client speaks.
#[derive(Debug, Clone)]
pub(super) struct Line {
    audience: Arc<Audience>,
    ends: Arc<Mutex<Ends>>,
}

#[derive(Debug, Default)]
struct Ends {
    said: Vec<u8>,
    reader: Option<Waker>,
    sent: Frames,
}

impl Line {
    pub(super) fn new(audience: &Arc<Audience>) -> Self {
        Self {
            audience: audience.clone(),
            ends: Arc::default(),
        }
    }

    /// The client sends these bytes.
    pub(super) fn say(&self, bytes: &[u8]) {
        let reader = {
            let mut ends = self.ends.lock();
            ends.said.extend_from_slice(bytes);
            ends.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.ends.lock();
        if ends.said.is_empty() {
            ends.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = ends.said.len().min(buffer.remaining());
        buffer.put_slice(&ends.said[..count]);
        ends.said.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut frames = 0;
        self.ends.lock().sent.feed(bytes, |_, _| frames += 1);
        self.audience.hears(frames);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
