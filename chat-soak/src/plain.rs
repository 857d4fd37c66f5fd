//! A member without the subprotocol: it hears messages in order, and its own among them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::book::{Book, Check};
use crate::plan::bounds;
use crate::socket::{WebSocket, enter, wait};
use chat_driver::frame::Frame;

pub(crate) struct Plain {
    book: Arc<Book>,
    rng: Rng,
    name: String,
    room: usize,
    last: u64,
    said: u64,
}

impl Plain {
    pub(crate) fn new(book: &Arc<Book>, seed: u64, name: String, room: usize) -> Self {
        Self {
            book: Arc::clone(book),
            rng: Rng::with_seed(seed),
            name,
            room,
            last: 0,
            said: 0,
        }
    }

    pub(crate) async fn run(mut self, delay: Duration) {
        wait(&self.book, delay).await;
        while self.book.is_running() {
            let path = format!("/ws/{}?user={}", self.book.rooms[self.room], self.name);
            let how = match enter(&self.book, &path, false, false).await {
                Ok((socket, _open)) => self.stay(socket).await,
                Err(refused) => Err(format!("refused: {refused}")),
            };
            let how = match how {
                Ok(()) => "left".to_owned(),
                Err(_) if self.book.stopping.load(Relaxed) => "stopped".to_owned(),
                Err(what) => {
                    self.book.wrong(Check::Answers, format_args!("{}: {what}", self.name));
                    what
                }
            };
            self.book.closed(how);
            wait(&self.book, Duration::from_millis(self.rng.u64(100..5_000))).await;
        }
    }

    async fn stay(&mut self, mut socket: WebSocket) -> Result<(), String> {
        let book = Arc::clone(&self.book);
        let leaves = Instant::now() + Duration::from_secs(self.rng.u64(20..120));
        let mut due = Instant::now() + self.pause();
        // What it said last, until it hears it.
        let mut awaited: Option<(String, Instant)> = None;
        loop {
            tokio::select! {
                biased;
                received = socket.next() => match received {
                    Some(Ok(Message::Text(text))) => {
                        if let Err(what) = self.hear(&text, &mut awaited) {
                            book.wrong(Check::Sight, format_args!("{}: {what}", self.name));
                        }
                    }
                    Some(Ok(Message::Close(close))) => {
                        return Err(close.map_or(1005, |close| u16::from(close.code)).to_string());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err("cut off".to_owned()),
                },
                () = sleep_until(due) => {
                    due = Instant::now() + self.pause();
                    if let Some((said, at)) = &awaited {
                        if at.elapsed() > bounds::ANSWER {
                            return Err(format!("never heard {said:?}"));
                        }
                    } else if Instant::now() > leaves {
                        let _ = timeout(bounds::ANSWER, socket.close(None)).await;
                        return Ok(());
                    } else {
                        self.said += 1;
                        let content = format!("{}-{} 0 hello", self.name, self.said);
                        let frame = serde_json::json!({ "content": content }).to_string();
                        socket.send(Message::text(frame)).await.map_err(|_| "cut off")?;
                        book.count("messages sent, plain");
                        awaited = Some((content, Instant::now()));
                    }
                }
                () = book.settling() => return Ok(()),
            }
        }
    }

    fn pause(&mut self) -> Duration {
        self.book.plan.pause.mul_f64(self.rng.f64() * 2.0)
    }

    fn hear(&mut self, text: &str, awaited: &mut Option<(String, Instant)>) -> Result<(), String> {
        let frame = Frame::parse(text)?;
        let entry = frame.entry().filter(|_| frame.t.is_empty());
        let entry = entry.ok_or_else(|| format!("what is shown to plain clients is messages, not {text}"))?;
        let before = std::mem::replace(&mut self.last, frame.seq);
        if frame.seq <= before {
            return Err(format!("saw {} after {before}", frame.seq));
        }
        self.book.count("messages seen, plain");
        self.book.saw(self.room, frame.seq, entry);
        if awaited
            .as_ref()
            .is_some_and(|(said, _)| Some(said) == frame.content.as_ref())
        {
            *awaited = None;
        }
        Ok(())
    }
}
