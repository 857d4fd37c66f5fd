//! The half that reads.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use roomcast_core::{CloseFrame, ConnectionError, ConnectionReader, Inbound};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::link::Shared;
use super::parser::{Event, Parser, Violation};

/// What one read asks for, between frames.
const SMALL: usize = 4 << 10;

/// What one read asks for, within a large frame.
const LARGE: usize = 16 << 10;

/// How long a client that broke the protocol has to take the close frame, before the connection is cut off.
const LINGER: Duration = Duration::from_secs(1);

/// The half of a [`WebSocket`](super::WebSocket) that reads.
///
/// It has no buffer while it waits: bytes are read to the stack, and what is kept of them is the message that is being put
/// together, or the frames of one read (4 KiB at most) that weren't asked for yet.
pub struct WebSocketReader<S> {
    shared: Shared<S>,
    parser: Parser,
    /// Bytes that were read and not looked at.
    rest: Bytes,
    ending: Ending,
}

/// How far the connection's end has come.
enum Ending {
    /// Not at all.
    Open,
    /// The client said goodbye; the answer is on its way.
    Answering,
    /// The client broke the protocol; the close frame is on its way.
    Accusing(Violation),
    /// The close frame is sent. What the client still sends is thrown away for a while: with unread bytes, the end of the
    /// connection would be a reset, which can overtake the close frame.
    Lingering(Violation, Pin<Box<Sleep>>),
}

impl<S> std::fmt::Debug for WebSocketReader<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketReader").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ConnectionReader for WebSocketReader<S> {
    fn recv(&mut self) -> impl Future<Output = Result<Inbound, ConnectionError>> + Send {
        poll_fn(|cx| self.poll_recv(cx).map_err(ConnectionError::new))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketReader<S> {
    pub(super) fn new(shared: Shared<S>, leftover: &[u8], message_bytes: usize) -> Self {
        Self {
            shared,
            parser: Parser::new(message_bytes),
            // Copied: it may be a piece of a much larger buffer.
            rest: Bytes::copy_from_slice(leftover),
            ending: Ending::Open,
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Inbound>> {
        if !matches!(self.ending, Ending::Open) {
            return self.poll_end(cx);
        }
        loop {
            if !self.rest.is_empty() {
                let mut input = &self.rest[..];
                let fed = self.parser.feed(&mut input);
                let used = self.rest.len() - input.len();
                self.rest.advance(used);
                if self.rest.is_empty() {
                    // The last piece of a `Bytes` keeps the whole alive.
                    self.rest = Bytes::new();
                }
                if let Some(happened) = self.happened(fed, cx) {
                    return happened;
                }
                continue;
            }

            let mut stack = [const { MaybeUninit::uninit() }; LARGE];
            let size = if self.parser.wanted() > SMALL as u64 {
                LARGE
            } else {
                SMALL
            };
            let mut buffer = ReadBuf::uninit(&mut stack[..size]);
            let closing = {
                let mut link = self.shared.lock();
                if link.reader_may_write() {
                    // Reading goes on even if the stream takes nothing; it is tried again with each wake-up.
                    let _: Poll<()> = link.poll_control_flushed(cx)?;
                }
                ready!(link.poll_read(cx, &mut buffer))?;
                link.closing
            };
            if closing {
                self.parser.discard();
            }
            let mut input = buffer.filled();
            if input.is_empty() {
                return Poll::Ready(if closing {
                    Ok(Inbound::Closed)
                } else {
                    Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended without a close frame",
                    ))
                });
            }
            let fed = self.parser.feed(&mut input);
            if !input.is_empty() {
                self.rest = Bytes::copy_from_slice(input);
            }
            if let Some(happened) = self.happened(fed, cx) {
                return happened;
            }
        }
    }

    /// Acts on what the parser found; `None` if it needs more bytes.
    fn happened(
        &mut self,
        fed: Result<Option<Event>, Violation>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<Inbound>>> {
        let inbound = match fed {
            Ok(None) => return None,
            Ok(Some(Event::Text(text))) => Inbound::Text(text.into()),
            Ok(Some(Event::Fragment)) => Inbound::Fragment,
            Ok(Some(Event::Binary)) => Inbound::Binary,
            Ok(Some(Event::TooLarge)) => Inbound::TooLarge,
            Ok(Some(Event::Pong)) => Inbound::Pong,
            Ok(Some(Event::Ping(payload))) => {
                let mut link = self.shared.lock();
                link.queue_pong(&payload);
                // Now, because the next call may be long in coming.
                if link.reader_may_write()
                    && let Poll::Ready(Err(error)) = link.poll_control_flushed(cx)
                {
                    return Some(Poll::Ready(Err(error)));
                }
                Inbound::Ping
            }
            Ok(Some(Event::Close(code))) => {
                let answer = code.map(|code| CloseFrame {
                    code,
                    reason: "".into(),
                });
                self.shared.lock().queue_close(answer.as_ref());
                self.ending = Ending::Answering;
                return Some(self.poll_end(cx));
            }
            Err(violation) => {
                let close = CloseFrame {
                    code: violation.code,
                    reason: "".into(),
                };
                self.shared.lock().queue_close(Some(&close));
                self.ending = Ending::Accusing(violation);
                return Some(self.poll_end(cx));
            }
        };
        Some(Poll::Ready(Ok(inbound)))
    }

    /// Ends the connection after a close frame or a violation.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Inbound>> {
        loop {
            match &mut self.ending {
                Ending::Open => return Poll::Ready(Ok(Inbound::Closed)),
                Ending::Answering => {
                    // If the answer can't be sent any more, the client is gone all the same.
                    let _ = ready!(poll_sent(&self.shared, cx));
                    return Poll::Ready(Ok(Inbound::Closed));
                }
                Ending::Accusing(violation) => {
                    let violation = *violation;
                    if ready!(poll_sent(&self.shared, cx)).is_err() {
                        return Poll::Ready(Err(broken(violation)));
                    }
                    self.ending = Ending::Lingering(violation, Box::pin(tokio::time::sleep(LINGER)));
                }
                Ending::Lingering(violation, until) => {
                    let violation = *violation;
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(broken(violation)));
                    }
                    let mut stack = [const { MaybeUninit::uninit() }; LARGE];
                    let mut buffer = ReadBuf::uninit(&mut stack);
                    let read = ready!(self.shared.lock().poll_read(cx, &mut buffer));
                    if read.is_err() || buffer.filled().is_empty() {
                        return Poll::Ready(Err(broken(violation)));
                    }
                }
            }
        }
    }
}

/// Ready once the goodbye is sent, by this half or the other, and the server's direction is ended.
fn poll_sent<S: AsyncWrite + Unpin>(shared: &Shared<S>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut link = shared.lock();
    if link.writing {
        link.reader = Some(cx.waker().clone());
        return Poll::Pending;
    }
    let sent = if link.mid_frame {
        // The writer was given up within a frame, where a close frame would be read as a part of it.
        Ok(())
    } else {
        ready!(link.poll_control_flushed(cx))
    };
    link.shut_down(cx);
    Poll::Ready(sent)
}

fn broken(violation: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, violation)
}
