//! The sending part of a connection's task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::feed::Feed;
use super::{Ping, Pulse, Session};
use crate::bugs::bug;
use crate::engine::{Chain, Engine};
use crate::outbox::{Closing, Item, Items, Phase, Taken};
use crate::{CloseCode, ConnectionError, ConnectionWriter, StoreErrorKind, metrics};

/// How much is handed to the transport at once, unless one frame is larger. Between two such pieces the client may be
/// answered, pinged, or told goodbye.
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
    /// The rooms, by slot. Most connections are in one room.
    feeds: SmallVec<[Option<Feed>; 1]>,
    catching_up: usize,
    /// The slot of the lagging room whose turn it is, or of one before it.
    turn: usize,
    /// Whether there may be something to tell of who is in the rooms.
    presence: bool,
    items: Items,
    piece: Piece,
}

/// Frames that go to the transport together.
#[derive(Default)]
pub(super) struct Piece {
    frames: SmallVec<[Bytes; 1]>,
    bytes: usize,
}

impl Piece {
    /// Adds the frame, unless the piece is then too large; the first always fits.
    #[inline]
    pub(super) fn add(&mut self, frame: &Bytes) -> bool {
        let fits = self.frames.is_empty() || self.bytes + frame.len() <= PIECE_BYTES;
        if fits {
            self.bytes += frame.len();
            self.frames.push(frame.clone());
        }
        fits
    }

    /// Adds a small frame.
    pub(super) fn add_small(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push(frame);
    }
}

impl<'a> Sending<'a> {
    pub(super) fn new(engine: &'a Engine, session: &'a Arc<Session>, pulse: &'a Mutex<Pulse>) -> Self {
        Self {
            engine,
            session,
            pulse,
            feeds: SmallVec::new(),
            catching_up: 0,
            turn: 0,
            presence: false,
            items: Items::default(),
            piece: Piece::default(),
        }
    }

    /// Sends what is queued, and fetches what lagging rooms lack, until the connection ends.
    pub(super) async fn run<W: ConnectionWriter>(&mut self, writer: &mut W) -> End {
        loop {
            if self.items.is_empty() && !self.presence {
                let wait = self.catching_up == 0;
                match self.session.outbox.take(&mut self.items, wait).await {
                    Taken::End => return End::Goodbye,
                    Taken::Items | Taken::Nothing => {}
                }
            }
            let open = self.session.outbox.phase() == Phase::Open;
            if !open {
                self.items
                    .retain(|item| !matches!(item, Item::Batch { .. } | Item::Presence));
                self.presence = false;
            }
            let pinged = self.translate();
            if let Err(end) = self.send(writer).await {
                return end;
            }
            if pinged && let Err(end) = self.ping(writer).await {
                return end;
            }
            // A client that is told to come back anyway fetches the rest then.
            if open
                && self.catching_up > 0
                && let Err(end) = Box::pin(self.catch_up(writer)).await
            {
                return end;
            }
        }
    }

    /// Turns items into frames, as many as make a piece. True if a ping is wanted behind it.
    fn translate(&mut self) -> bool {
        let protocol = self.session.protocol;
        let mut ping = false;
        while let Some(item) = self.items.pop_front() {
            let done = match &item {
                Item::Batch { slot, batch } => match self.feeds.get_mut(*slot as usize) {
                    Some(Some(feed)) => feed.batch(batch, protocol, &mut self.piece),
                    _ => true,
                },
                Item::Reply(frame) => self.piece.add(frame),
                Item::Presence => {
                    self.presence = true;
                    true
                }
                Item::Ping => {
                    ping = true;
                    break;
                }
                Item::Attach(attach) => {
                    let slot = attach.slot as usize;
                    if self.feeds.len() <= slot {
                        self.feeds.reserve_exact(slot + 1 - self.feeds.len());
                        self.feeds.resize_with(slot + 1, || None);
                    }
                    self.feeds[slot] = Some(Feed::new(attach));
                    for frame in &attach.frames {
                        self.piece.add_small(frame.clone());
                    }
                    true
                }
                Item::Detach { slot, left } => {
                    if let Some(feed) = self.feeds.get_mut(*slot as usize) {
                        *feed = None;
                    }
                    self.piece.add_small(left.clone());
                    true
                }
                Item::Lagging { slot } => {
                    if let Some(Some(feed)) = self.feeds.get_mut(*slot as usize) {
                        feed.lag(Instant::now());
                    }
                    true
                }
            };
            if !done {
                self.items.push_front(item);
                break;
            }
        }
        self.catching_up = self.feeds.iter().flatten().filter(|feed| feed.catching_up()).count();
        // A room may ask for this before its own item is queued; they are taken together.
        if self.presence && self.items.is_empty() {
            self.presence = !self.show_presence();
        }
        ping
    }

    /// Adds what is to be told of who is in the rooms, as much as the piece has room for. False if something is left.
    fn show_presence(&mut self) -> bool {
        let presence = &self.engine.presence;
        for feed in self.feeds.iter_mut().flatten() {
            while let Some(version) = feed.shown
                && let Some((frame, next)) = presence.next_frame(&feed.room.id, version)
            {
                if !self.piece.add(&frame) {
                    return false;
                }
                feed.shown = Some(next);
            }
        }
        true
    }

    /// One piece for one lagging room: the one whose page is in hand, since that is all that a connection has in memory; else
    /// one whose time to catch up with the live stream is running; else any. In turns, so that none holds up the rest.
    async fn catch_up<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        // However fast all this is, the other parts of the task, and other tasks, come in between.
        tokio::task::yield_now().await;
        let protocol = self.session.protocol;
        let count = self.feeds.len();
        let slots = (self.turn..count).chain(0..self.turn.min(count));
        let now = Instant::now();
        let lagging = slots.filter_map(|slot| Some((slot, self.feeds[slot].as_ref()?.urgency(now)?)));
        let Some((slot, _)) = lagging.min_by_key(|(_, urgency)| *urgency) else {
            // All that lag wait for the store to recover.
            if let Some(at) = self.feeds.iter().flatten().filter_map(Feed::retry_at).min() {
                let _ = tokio::time::timeout_at(at, self.session.outbox.filled()).await;
            }
            return Ok(());
        };
        let Some(feed) = &mut self.feeds[slot] else {
            return Ok(());
        };
        if feed.too_slow(now, self.engine.limits.catch_up) {
            self.close(CloseCode::TooSlow, None);
            return Ok(());
        }
        let fetched = match feed.has_page() {
            true => None,
            false => Some(feed.room.catch_up(feed.member, feed.next()).await),
        };
        if self.session.outbox.phase() != Phase::Open && !bug!(PageAfterKick) {
            // Who was told to go meanwhile hears nothing more of its rooms.
            return Ok(());
        }
        if let Some(fetched) = fetched {
            match fetched {
                Ok(fetched) => feed.take(fetched, protocol, Instant::now(), &mut self.piece),
                Err(error) => {
                    tracing::warn!(room = %feed.room.id, error = %Chain(&error), "catching up failed");
                    let limit = self.engine.limits.catch_up;
                    if error.kind() == StoreErrorKind::Refused || !feed.try_again(Instant::now(), limit) {
                        self.close(CloseCode::Unavailable, Some(Duration::from_secs(1)));
                    }
                    return Ok(());
                }
            }
        }
        let page_done = feed.page(protocol, now, &mut self.piece);
        self.turn = if page_done { slot + 1 } else { slot };
        if !feed.catching_up() {
            self.catching_up -= 1;
        }
        metrics::caught_up(self.piece.frames.len());
        self.send(writer).await
    }

    /// Sends the piece.
    async fn send<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        let Piece { frames, bytes } = &mut self.piece;
        if frames.is_empty() {
            return Ok(());
        }
        // A frame can't be cut, so a large one has more time.
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let limit = self.engine.limits.write.saturating_mul(pieces.max(1));
        let written = in_time(limit, pin!(writer.send(frames))).await;
        metrics::sent(frames.len());
        if frames.capacity() > KEPT_FRAMES {
            *frames = SmallVec::new();
        }
        frames.clear();
        *bytes = 0;
        self.written(written)
    }

    async fn ping<W: ConnectionWriter>(&mut self, writer: &mut W) -> Result<(), End> {
        let answered = self.written(in_time(self.engine.limits.write, pin!(writer.ping())).await)?;
        let mut pulse = self.pulse.lock();
        if pulse.ping == Ping::Wanted {
            pulse.ping = if answered { Ping::Sent(Instant::now()) } else { Ping::No };
        }
        Ok(())
    }

    fn written<T>(&self, result: Option<Result<T, ConnectionError>>) -> Result<T, End> {
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "the connection broke");
                Err(End::Gone)
            }
            None => {
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

/// Gives a write so much time; `None` when that is over. Most are done at once, and those need no timer, nor the time of day. The
/// write stays where it is: a future that is handed over is moved, and has its place twice in the task of the connection.
fn in_time<F: Future>(limit: Duration, mut write: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    let mut timer = None;
    poll_fn(move |cx| {
        if let Poll::Ready(written) = write.as_mut().poll(cx) {
            return Poll::Ready(Some(written));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| None)
    })
}
