//! The client's end of a connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{Bytes, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};

/// A connection in memory. Its handles are all the same.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What the client said, and the server has yet to read.
    said: VecDeque<Inbound>,
    heard: Vec<Value>,
    stalled: bool,
    close: Option<u16>,
    wakers: Vec<Waker>,
}

impl Line {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.0.lock();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        poll_fn(|cx: &mut Context<'_>| {
            let mut state = self.0.lock();
            match ready(&mut state) {
                Some(value) => Poll::Ready(value),
                None => {
                    state.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(super) fn say(&self, frame: String) {
        self.change(|state| state.said.push_back(Inbound::Text(frame.into())));
    }

    pub(super) fn hang_up(&self) {
        self.change(|state| state.said.push_back(Inbound::Closed));
    }

    pub(super) fn stall(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// All that the server sent so far.
    pub(super) fn heard(&self) -> Vec<Value> {
        self.0.lock().heard.clone()
    }

    pub(super) fn close_code(&self) -> Option<u16> {
        self.0.lock().close
    }
}

impl Connection for Line {
    type Reader = Self;
    type Writer = Self;

    fn split(self) -> (Self, Self) {
        (self.clone(), self)
    }
}

impl ConnectionReader for Line {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        Ok(self.wait(|state| state.said.pop_front()).await)
    }
}

impl ConnectionWriter for Line {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        self.wait(|state| (!state.stalled).then_some(())).await;
        let frames = frames.iter().map(|frame| serde_json::from_slice(frame).unwrap());
        self.0.lock().heard.extend(frames);
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.0.lock().close = Some(close.code);
        Ok(())
    }
}
