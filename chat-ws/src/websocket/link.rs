//! The stream under both halves of a connection, and the small frames that must not wait.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use roomcast_core::CloseFrame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame;
use crate::bugs::bug;

/// What the halves share. The lock is held for one poll of the stream at most.
pub(super) type Shared<S> = Arc<Mutex<Link<S>>>;

/// The stream, and who may write to it.
///
/// Frames must not be cut apart, so while the writer is at work the reader leaves its pongs and close frames in `control`,
/// and the writer sends them at the next end of a frame. Otherwise the reader sends them itself.
pub(super) struct Link<S> {
    io: S,
    control: Control,
    /// The writer is at work and sends what is in `control`.
    pub(super) writing: bool,
    /// The writer stopped within a frame: nothing sensible can be sent from here on.
    pub(super) mid_frame: bool,
    /// A close frame was queued, by whichever half: no data follows it.
    pub(super) closing: bool,
    /// The reader, waiting for the writer to have sent `control`.
    pub(super) reader: Option<Waker>,
}

impl<S> Link<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            control: Control::default(),
            writing: false,
            mid_frame: false,
            closing: false,
            reader: None,
        }
    }

    /// The reader may write `control` itself.
    pub(super) fn reader_may_write(&self) -> bool {
        !self.writing && !self.mid_frame || bug!(PongWithinFrame)
    }

    /// The writer has finished, or was given up.
    pub(super) fn writer_rests(&mut self) {
        self.writing = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn queue_ping(&mut self) {
        frame::ping(&mut self.control.frames);
        self.control.last_pong = None;
    }

    /// Answers a ping, unless the goodbye was said. Of several answers that wait, only the newest is sent (RFC 6455, 5.5.3),
    /// so that a flood of pings takes no memory.
    pub(super) fn queue_pong(&mut self, payload: &[u8]) {
        if self.closing {
            return;
        }
        let control = &mut self.control;
        if let Some(start) = control.last_pong
            && start >= control.sent
        {
            control.frames.truncate(start);
        }
        let start = control.frames.len();
        frame::pong(payload, &mut control.frames);
        control.last_pong = Some(start);
    }

    /// Says goodbye, once.
    pub(super) fn queue_close(&mut self, close: Option<&CloseFrame>) {
        if !std::mem::replace(&mut self.closing, true) {
            self.control.last_pong = None;
            frame::close(close, &mut self.control.frames);
        }
    }
}

impl<S: AsyncRead + Unpin> Link<S> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Link<S> {
    /// Writes some bytes; never none.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.io).poll_write(cx, bytes)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            result => Poll::Ready(result),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.control.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Ends the server's direction, so that the client sees the end behind the last frame. Best effort.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
    }

    /// Writes what waits in `control`. Only between two frames.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let control = &mut self.control;
        while control.sent < control.frames.len() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &control.frames[control.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            control.sent += count;
        }
        if !control.frames.is_empty() {
            *control = Control {
                unflushed: true,
                ..Control::default()
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits in `control` and flushes it.
    pub(super) fn poll_control_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        if self.control.unflushed {
            ready!(self.poll_flush(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Something waits in `control`, and data has to wait for it.
    pub(super) fn has_control(&self) -> bool {
        !self.control.frames.is_empty()
    }
}

/// Encoded control frames that wait: never more than one that is partly sent, a ping, a pong and a close. The memory is
/// given back as soon as they are sent.
#[derive(Default)]
struct Control {
    frames: Vec<u8>,
    /// How much of `frames` was written.
    sent: usize,
    /// Where the last frame begins, if it is a pong.
    last_pong: Option<usize>,
    unflushed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_pings_takes_no_memory() {
        let mut link = Link::new(());
        link.queue_pong(&[1; 125]);
        link.control.sent = 3;
        for n in 0..10_000_u32 {
            link.queue_pong(&n.to_be_bytes());
        }
        assert_eq!(
            link.control.frames.len(),
            127 + 6,
            "the one that was begun and the newest"
        );
        link.queue_ping();
        link.queue_pong(b"last");
        link.queue_pong(b"last");
        link.queue_close(None);
        link.queue_close(None);
        link.queue_pong(b"too late");
        let tail = b"\x8a\x04\x00\x00\x27\x0f\x89\x00\x8a\x04last\x88\x00";
        assert!(link.control.frames.ends_with(tail), "{:x?}", link.control.frames);
    }
}
