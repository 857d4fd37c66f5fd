//! The sending part of a connection's task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::feed::Feed;
use super::{Pulse, Session};
use crate::engine::{Chain, Engine};
use crate::outbox::{Closing, Item, Phase, Taken};
use crate::{CloseCode, ConnectionError, ConnectionWriter, metrics};

/// How much is handed to the transport at once: each such piece has to make its way within the limit for one write.
const PIECE_BYTES: usize = 64 << 10;

/// Room for frames that is given back after a burst.
const KEPT_FRAMES: usize = 64;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client is gone, or is given up without a word.
    Gone,
    /// The client is to be told goodbye.
    Goodbye,
    /// A write was given up half-way, so nothing can be said any more: the connection is closed as it is.
    GivenUp,
}

pub(super) struct Sending<'a> {
    engine: &'a Engine,
    session: &'a Arc<Session>,
    pulse: &'a Mutex<Pulse>,
    /// The rooms, by slot.
    feeds: Vec<Option<Feed>>,
    catching_up: usize,
    items: VecDeque<Item>,
    frames: Vec<Bytes>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(engine: &'a Engine, session: &'a Arc<Session>, pulse: &'a Mutex<Pulse>) -> Self {
        Self {
            engine,
            session,
            pulse,
            feeds: Vec::new(),
            catching_up: 0,
            items: VecDeque::new(),
            frames: Vec::new(),
        }
    }

    /// Sends what is queued, and fetches what lagging rooms lack, until the connection ends.
    pub(super) async fn run<W: ConnectionWriter>(&mut self, writer: &mut W) -> End {
        loop {
            match self.session.outbox.take(&mut self.items, self.catching_up == 0).await {
                Taken::End => return End::Goodbye,
                Taken::Items | Taken::Nothing => {}
            }
            let pinged = self.translate();
            if let Err(end) = self.flush(writer).await {
                return end;
            }
            if pinged && let Err(end) = self.ping(writer).await {
                return end;
            }
            // A client that is told to come back anyway fetches the rest then.
            if self.catching_up > 0
                && self.session.outbox.phase() == Phase::Open
                && let Err(end) = Box::pin(self.catch_up(writer)).await
            {
                return end;
            }
        }
    }

    /// Turns items into frames. True if a ping is wanted.
    fn translate(&mut self) -> bool {
        let protocol = self.session.protocol;
        let mut ping = false;
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Batch { slot, batch } => {
                    if let Some(Some(feed)) = self.feeds.get_mut(slot as usize) {
                        feed.batch(&batch, protocol, &mut self.frames);
                    }
                }
                Item::Reply(frame) => self.frames.push(frame),
                Item::Ping => ping = true,
                Item::Attach(attach) => {
                    let slot = attach.slot as usize;
                    if self.feeds.len() <= slot {
                        self.feeds.resize_with(slot + 1, || None);
                    }
                    self.feeds[slot] = Some(Feed::new(&attach));
                    self.frames.extend(attach.frames);
                }
                Item::Detach { slot, left } => {
                    if let Some(feed) = self.feeds.get_mut(slot as usize) {
                        *feed = None;
                    }
                    self.frames.push(left);
                }
                Item::Lagging { slot } => {
                    if let Some(Some(feed)) = self.feeds.get_mut(slot as usize) {
                        feed.lag(Instant::now());
                    }
                }
            }
        }
        self.catching_up = self.feeds.iter().flatten().filter(|feed| feed.catching_up()).count();
        ping
    }

    /// One piece for each lagging room, so that none holds up the others.
    async fn catch_up<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        let protocol = self.session.protocol;
        for slot in 0..self.feeds.len() {
            let Some(feed) = self.feeds[slot].as_mut().filter(|feed| feed.catching_up()) else {
                continue;
            };
            let now = Instant::now();
            if feed.too_slow(now, self.engine.limits.catch_up) {
                self.close(CloseCode::TooSlow, None);
                return Ok(());
            }
            match feed.room.catch_up(feed.member, feed.next()).await {
                Ok(piece) => feed.piece(piece, protocol, now, &mut self.frames),
                Err(error) => {
                    tracing::warn!(room = %feed.room.id, error = %Chain(&error), "catching up failed");
                    self.close(CloseCode::Unavailable, Some(Duration::from_secs(1)));
                    return Ok(());
                }
            }
            if !feed.catching_up() {
                self.catching_up -= 1;
            }
            metrics::caught_up(self.frames.len());
            self.flush(writer).await?;
        }
        Ok(())
    }

    /// Sends the frames, piece by piece.
    async fn flush<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        let mut rest = &self.frames[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest
                .iter()
                .take_while(|frame| {
                    bytes += frame.len();
                    bytes <= PIECE_BYTES
                })
                .count();
            let (piece, later) = rest.split_at(fitting.max(1));
            self.written(tokio::time::timeout(self.engine.limits.write, writer.send(piece)).await)?;
            metrics::sent(piece.len());
            rest = later;
        }
        if self.frames.capacity() > KEPT_FRAMES {
            self.frames = Vec::new();
        }
        self.frames.clear();
        Ok(())
    }

    async fn ping<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        let answered = self.written(tokio::time::timeout(self.engine.limits.write, writer.ping()).await)?;
        if !answered {
            self.pulse.lock().pinged = None;
        }
        Ok(())
    }

    fn written<T>(&self, result: Result<Result<T, ConnectionError>, Elapsed>) -> Result<T, End> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "the connection broke");
                Err(End::Gone)
            }
            Err(_) => {
                self.close(CloseCode::Timeout, None);
                Err(End::GivenUp)
            }
        }
    }

    fn close(&self, code: CloseCode, after: Option<Duration>) {
        self.session.outbox.close(Closing {
            code,
            after,
            finish: false,
        });
    }
}
