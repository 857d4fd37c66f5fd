//! A stream of bytes in memory, as a socket is one: what is sent arrives in pieces and late, and the connection breaks at any
//! byte, in both directions or in one.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Line;
use crate::oracle::Event;
use crate::rng::Rng;

/// What both ends share.
pub(super) struct Pipe {
    line: Line,
    state: Mutex<State>,
    /// Wakes the client.
    news: Notify,
    /// How many bytes the server may have on their way.
    window: usize,
    /// How large a piece is that is taken at once, at most.
    piece: usize,
    slow_ms: u64,
    rng: Rng,
}

struct State {
    /// From the client.
    up: Way,
    /// From the server.
    down: Way,
    /// Both directions are broken off.
    reset: bool,
    fate: Fate,
    /// The server's task. It drives reading and writing both, so there is but one to wake.
    server: Option<Waker>,
}

/// One direction.
struct Way {
    bytes: VecDeque<u8>,
    /// When they arrive: so many of them then.
    arrivals: VecDeque<(Instant, usize)>,
    last: Instant,
    /// How many more it carries until the connection's fate is met.
    left: u64,
    /// Nothing more comes.
    ended: bool,
    /// Nobody takes what is sent.
    deaf: bool,
}

/// What becomes of a connection after so many bytes in one direction.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It breaks. What is on its way may be lost.
    Reset { loses: bool },
    /// The direction ends, and the other goes on.
    Ends,
    /// The direction carries nothing for a while.
    Stalls(Duration),
}

impl Way {
    fn new(now: Instant) -> Self {
        Self {
            bytes: VecDeque::new(),
            arrivals: VecDeque::new(),
            last: now,
            left: u64::MAX,
            ended: false,
            deaf: false,
        }
    }

    /// How many bytes have arrived and weren't taken.
    fn arrived(&self, now: Instant) -> usize {
        let arrived = self.arrivals.iter().take_while(|(at, _)| *at <= now);
        arrived.map(|(_, count)| count).sum()
    }

    /// Takes so many of the bytes that have arrived.
    fn take(&mut self, mut count: usize, mut put: impl FnMut(&[u8])) {
        let (front, back) = self.bytes.as_slices();
        let of_front = count.min(front.len());
        put(&front[..of_front]);
        put(&back[..count - of_front]);
        self.bytes.drain(..count);
        while let Some((_, first)) = self.arrivals.front_mut() {
            let part = count.min(*first);
            *first -= part;
            count -= part;
            if *first > 0 {
                break;
            }
            self.arrivals.pop_front();
        }
    }

    fn lose(&mut self) {
        self.bytes.clear();
        self.arrivals.clear();
    }

    /// What the reader finds when nothing has arrived: the end, an error, or nothing yet.
    fn at_end(&self, reset: bool) -> Option<io::Result<()>> {
        if !self.bytes.is_empty() {
            None
        } else if reset {
            Some(Err(ErrorKind::ConnectionReset.into()))
        } else {
            self.ended.then_some(Ok(()))
        }
    }
}

impl Pipe {
    pub(super) fn new(line: Line, rng: Rng) -> Arc<Self> {
        let now = Instant::now();
        let (mut up, mut down) = (Way::new(now), Way::new(now));
        let fate = match rng.below(10) {
            0..4 => Fate::Reset { loses: true },
            4..6 => Fate::Reset { loses: false },
            6..8 => Fate::Ends,
            _ => Fate::Stalls(rng.millis(500, 15_000)),
        };
        if rng.chance(line.world.plan.network * 10) {
            match rng.chance(300) {
                true => up.left = rng.between(1, 4_000),
                false => down.left = rng.between(1, 20_000),
            }
        }
        Arc::new(Self {
            line,
            state: Mutex::new(State {
                up,
                down,
                reset: false,
                fate,
                server: None,
            }),
            news: Notify::new(),
            window: *rng.pick(&[200, 1_500, 4_000, 16_000]),
            piece: *rng.pick(&[20, 300, usize::MAX, usize::MAX, usize::MAX, usize::MAX]),
            slow_ms: *rng.pick(&[0, 2, 30, 150]),
            rng,
        })
    }

    /// How many bytes are taken at once of so many that could be.
    fn piece(&self, most: usize) -> usize {
        match most.min(self.piece) {
            most if most > 1 && self.rng.chance(100) => self.rng.size(1, most),
            most => most,
        }
    }

    /// Sends bytes one way: how many it took.
    fn send(&self, state: &mut State, up: bool, bytes: &[u8]) -> usize {
        let now = Instant::now();
        let late = self.rng.millis(0, self.slow_ms);
        let way = if up { &mut state.up } else { &mut state.down };
        if self.line.world.is_calm() {
            way.left = u64::MAX;
        }
        let count = bytes.len().min(usize::try_from(way.left).unwrap_or(usize::MAX));
        if !way.deaf && count > 0 {
            way.bytes.extend(&bytes[..count]);
            way.last = (now + late).max(way.last);
            way.arrivals.push_back((way.last, count));
        }
        if way.left < u64::MAX {
            way.left -= count as u64;
            if way.left == 0 {
                way.left = u64::MAX;
                match state.fate {
                    Fate::Ends => (way.ended, way.deaf) = (true, true),
                    Fate::Stalls(span) => way.last = now + span,
                    Fate::Reset { loses } => state.reset(loses),
                }
            }
        }
        count
    }

    fn woken(&self, state: &mut State) {
        self.news.notify_one();
        if let Some(server) = state.server.take() {
            server.wake();
        }
    }

    /// One direction meets the connection's fate within so many bytes, if the network is bad.
    pub(super) fn breaks_soon(&self, up: bool, within: u64) {
        if self.rng.chance(self.line.world.plan.network * 5) {
            let mut state = self.state.lock();
            let way = if up { &mut state.up } else { &mut state.down };
            way.left = way.left.min(self.rng.between(1, within));
        }
    }

    /// Breaks the connection off.
    pub(super) fn reset(&self, loses: bool) {
        let mut state = self.state.lock();
        state.reset(loses);
        self.woken(&mut state);
    }

    /// The client sends. As much as it likes: its side isn't on trial.
    pub(super) fn send_up(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut sent = 0;
        while sent < bytes.len() {
            if state.reset || state.up.ended && !state.up.deaf {
                return Err(ErrorKind::BrokenPipe.into());
            }
            sent += self.send(&mut state, true, &bytes[sent..]);
        }
        self.woken(&mut state);
        Ok(())
    }

    /// The client ends its direction.
    pub(super) fn end_up(&self) {
        let mut state = self.state.lock();
        state.up.ended = true;
        self.woken(&mut state);
    }

    /// The client is gone, after a goodbye or without one.
    pub(super) fn hang_up(&self) {
        let mut state = self.state.lock();
        if self.rng.chance(500) {
            // What it said last still arrives.
            state.up.ended = true;
            state.down.deaf = true;
            state.down.lose();
        } else {
            state.reset(true);
        }
        self.woken(&mut state);
    }

    /// What has arrived for the client: into the buffer, and how much.
    pub(super) fn read_down(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        let arrived = state.down.arrived(Instant::now()).min(buffer.len());
        if arrived == 0 {
            return match state.down.at_end(state.reset) {
                Some(end) => end.map(|()| 0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let count = self.piece(arrived);
        let mut at = 0;
        state.down.take(count, |bytes| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
        self.woken(&mut state);
        Ok(count)
    }

    /// Ready when the client may find something. Cancel safe.
    pub(super) async fn readable(&self) {
        loop {
            let due = {
                let state = self.state.lock();
                if state.down.at_end(state.reset).is_some() {
                    return;
                }
                state.down.arrivals.front().map(|(at, _)| *at)
            };
            match due {
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::select! {
                    biased;
                    () = self.news.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.news.notified().await,
            }
        }
    }
}

impl State {
    fn reset(&mut self, loses: bool) {
        self.reset = true;
        if loses {
            self.up.lose();
            self.down.lose();
        }
    }
}

/// The server's end.
pub(super) struct ServerEnd {
    pub(super) pipe: Arc<Pipe>,
    /// Rings when the next bytes arrive.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ServerEnd {
    pub(super) fn new(pipe: Arc<Pipe>) -> Self {
        Self { pipe, timer: None }
    }

    /// Now and then it isn't ready for no reason.
    fn moody(&self, cx: &Context<'_>) -> bool {
        let moody = self.pipe.rng.chance(30);
        if moody {
            cx.waker().wake_by_ref();
        }
        moody
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.moody(cx) {
            return Poll::Pending;
        }
        let pipe = self.pipe.clone();
        let mut state = pipe.state.lock();
        let arrived = state.up.arrived(Instant::now()).min(buffer.remaining());
        if arrived > 0 {
            let count = pipe.piece(arrived);
            state.up.take(count, |bytes| buffer.put_slice(bytes));
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = state.up.at_end(state.reset) {
            return Poll::Ready(end);
        }
        state.server = Some(cx.waker().clone());
        if let Some((at, _)) = state.up.arrivals.front() {
            let at = *at;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.moody(cx) {
            return Poll::Pending;
        }
        let pipe = &self.pipe;
        let mut state = pipe.state.lock();
        if state.reset || state.down.deaf || state.down.ended {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = pipe.window.saturating_sub(state.down.bytes.len()).min(bytes.len());
        if room == 0 {
            state.server = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.piece(room);
        let count = pipe.send(&mut state, false, &bytes[..count]);
        pipe.woken(&mut state);
        drop(state);
        let conn = pipe.line.conn;
        let bytes = &bytes[..count];
        pipe.line.world.see(&Event::Bytes { conn, bytes });
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.state.lock();
        state.down.ended = true;
        self.pipe.woken(&mut state);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.down.ended = true;
        state.up.deaf = true;
        // With unread bytes, a socket is reset when it is closed, and what it sent last may be lost.
        if !state.up.bytes.is_empty() {
            let loses = self.pipe.rng.chance(500);
            state.reset(loses);
        }
        self.pipe.woken(&mut state);
    }
}
