//! The half that writes.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use roomcast_core::{CloseFrame, ConnectionError, ConnectionWriter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{Position, text_len};
use super::link::{Link, Shared};
use crate::bugs::bug;

/// What a stream is offered that took nothing the last time, and what is encoded on the stack.
const SMALL: usize = 4 << 10;

/// The half of a [`WebSocket`](super::WebSocket) that writes.
///
/// It has no buffer. Frames are encoded from the shared bytes when the stream takes them, at most
/// [`WsConfig::write_chunk`](super::WsConfig::write_chunk) at a time, and encoded again from where they stand if it took less. So a
/// client that doesn't read costs no memory here, whatever is sent to it.
pub struct WebSocketWriter<S> {
    shared: Shared<S>,
    write_chunk: usize,
}

impl<S> std::fmt::Debug for WebSocketWriter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketWriter").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketWriter<S> {
    pub(super) fn new(shared: Shared<S>, write_chunk: usize) -> Self {
        Self { shared, write_chunk }
    }

    /// Runs `work` until it is ready, as the half that writes. One future, not several within each other: each has a place of its
    /// own in the task of the connection, and all of them are read and written for each delivery.
    fn write(
        &mut self,
        mut work: impl FnMut(&mut Link<S>, &mut Context<'_>) -> Poll<io::Result<()>> + Send,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send {
        let mut turn = Turn {
            shared: &self.shared,
            over: false,
        };
        poll_fn(move |cx| turn.poll(&mut work, cx).map_err(ConnectionError::new))
    }
}

/// The writer's turn to write. If it is dropped half-way, the reader learns that nobody sends its control frames.
struct Turn<'a, S> {
    shared: &'a Shared<S>,
    over: bool,
}

impl<S> Turn<'_, S> {
    fn poll(
        &mut self,
        work: &mut impl FnMut(&mut Link<S>, &mut Context<'_>) -> Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut link = self.shared.lock();
        link.writing = true;
        let result = ready!(work(&mut link, cx));
        link.writer_rests();
        self.over = true;
        Poll::Ready(result)
    }
}

impl<S> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        if !self.over {
            self.shared.lock().writer_rests();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ConnectionWriter for WebSocketWriter<S> {
    fn send(&mut self, frames: &[Bytes]) -> impl Future<Output = Result<(), ConnectionError>> + Send {
        let write_chunk = self.write_chunk;
        let mut at = Position::default();
        let mut stuck = false;
        self.write(move |link, cx| {
            loop {
                if at.offset == 0 {
                    if link.mid_frame {
                        // Left by a send before this one, which was given up.
                        return Poll::Ready(Err(cut_off()));
                    }
                    ready!(link.poll_control(cx))?;
                    if link.closing {
                        ready!(link.poll_flush(cx))?;
                        return Poll::Ready(Err(closed()));
                    }
                    if at.frame == frames.len() {
                        ready!(link.poll_flush(cx))?;
                        return Poll::Ready(Ok(()));
                    }
                }
                // A control frame waits for the end of this frame only.
                let end = if link.has_control() { at.frame + 1 } else { frames.len() };
                // As long as the stream takes nothing, it is asked with little.
                let chunk = if stuck { SMALL } else { write_chunk };
                let written = poll_chunk(link, cx, at, &frames[..end], chunk);
                stuck = written.is_pending();
                at.advance(frames, ready!(written)?);
                link.mid_frame = at.offset > 0 && !bug!(HalfFrameForgotten);
            }
        })
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        let mut queued = false;
        self.write(move |link, cx| {
            if link.mid_frame {
                return Poll::Ready(Err(cut_off()));
            }
            if !queued && !link.closing {
                link.queue_ping();
            }
            queued = true;
            link.poll_control_flushed(cx)
        })
        .await
        .map(|()| true)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.write(|link, cx| {
            if link.mid_frame {
                link.shut_down(cx);
                return Poll::Ready(Err(cut_off()));
            }
            link.queue_close(Some(close));
            link.poll_control_flushed(cx)
        })
        .await
    }
}

/// Encodes a chunk and writes it. The memory lives for the one call, so that a batch costs nothing while it waits; a small chunk, as
/// most are, takes it from the stack.
fn poll_chunk<S: AsyncWrite + Unpin>(
    link: &mut Link<S>,
    cx: &mut Context<'_>,
    at: Position,
    frames: &[Bytes],
    chunk: usize,
) -> Poll<io::Result<usize>> {
    let mut length = 0;
    for frame in &frames[at.frame..] {
        length += text_len(frame);
        if length - at.offset >= chunk {
            break;
        }
    }
    let length = (length - at.offset).min(chunk);
    let mut stack = [const { MaybeUninit::uninit() }; SMALL];
    let mut heap = Vec::new();
    let room = if length <= SMALL {
        &mut stack[..length]
    } else {
        heap.reserve_exact(length);
        &mut heap.spare_capacity_mut()[..length]
    };
    let mut out = ReadBuf::uninit(room);
    at.encode(frames, &mut out);
    link.poll_write(cx, out.filled())
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection is being closed")
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "a frame was given up half-way")
}
