//! Who uses the HTTP API: posts, reads, searches, and looks at health and figures.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::json;

use crate::book::{Ack, Book, Check};
use crate::http::{get, post, request};
use crate::socket::wait;
use chat_driver::frame::{Entry, Kind, message_id};

pub(crate) struct Caller {
    book: Arc<Book>,
    rng: Rng,
    name: Arc<str>,
    said: u64,
}

impl Caller {
    pub(crate) fn new(book: &Arc<Book>, seed: u64, name: String) -> Self {
        Self {
            book: Arc::clone(book),
            rng: Rng::with_seed(seed),
            name: name.into(),
            said: 0,
        }
    }

    pub(crate) async fn run(mut self, delay: Duration) {
        let book = Arc::clone(&self.book);
        wait(&book, delay).await;
        while book.is_running() {
            if let Err(what) = self.call().await {
                book.wrong(Check::Answers, format_args!("{}: {what}", self.name));
            }
            wait(&book, Duration::from_millis(self.rng.u64(200..2_000))).await;
        }
    }

    async fn call(&mut self) -> Result<(), String> {
        let room = self.rng.usize(0..self.book.plan.talk_rooms);
        let path = format!("/api/rooms/{}", self.book.rooms[room]);
        let name = Arc::clone(&self.name);
        match self.rng.u32(0..100) {
            0..40 => self.post(room, &path).await,
            40..60 => {
                let before = self.rng.u64(2..1000);
                self.page(
                    &format!("{path}/messages?user={name}&limit=50&before={before}"),
                    u64::lt,
                )
                .await
            }
            60..75 => {
                self.page(&format!("{path}/search?user={name}&q=hello&limit=20"), u64::gt)
                    .await
            }
            75..80 => get(&self.book, &format!("{path}/members?user={name}"))
                .await?
                .expect(200)
                .map(drop),
            80..85 => get(&self.book, &format!("/api/rooms?user={name}"))
                .await?
                .expect(200)
                .map(drop),
            85..90 => get(&self.book, "/healthz").await?.expect(200).map(drop),
            90..95 => get(&self.book, "/metrics").await?.expect(200).map(drop),
            95..97 => {
                let answer = get(&self.book, &format!("/api/rooms/nobody-was-here/members?user={name}")).await?;
                self.judged("HTTP: a room that isn't there", answer.expect(404))
            }
            97..98 => {
                let path = format!("{path}/messages?user={name}");
                let answer = request(&self.book, "POST", &path, "", "{\"content\":\"hi\"}").await?;
                self.judged("HTTP: a body that isn't JSON", answer.expect(415))
            }
            _ => self.beyond_the_rate().await,
        }
    }

    /// Posts a message, and now and then the same once more.
    async fn post(&mut self, room: usize, path: &str) -> Result<(), String> {
        self.said += 1;
        let nonce = format!("n{}", self.said);
        let content = format!("{}-{} 0 hello", self.name, self.said);
        let body = json!({ "content": content, "nonce": nonce });
        let path = format!("{path}/messages?user={}", self.name);
        let ack = post(&self.book, &path, &body).await?.expect(201)?.json()?;
        self.book.count("messages posted");
        if self.rng.u32(0..10) == 0 {
            let again = post(&self.book, &path, &body).await?.expect(201)?.json()?;
            if again["seq"] != ack["seq"] || again["msg"] != ack["msg"] || again["dup"] != true {
                return Err(format!("posted twice: {ack}, and then {again}"));
            }
        }
        let message = ack["msg"].as_str().and_then(message_id).ok_or("an ack without an id")?;
        self.book.acked(Ack {
            room,
            seq: ack["seq"].as_u64().ok_or("an ack without a seq")?,
            entry: Entry {
                kind: Kind::Message,
                message,
            },
            user: Arc::clone(&self.name),
            nonce: Some(nonce),
        });
        Ok(())
    }

    /// A page of messages, whose numbers rise in history and fall in what was found.
    async fn page(&self, path: &str, in_order: fn(&u64, &u64) -> bool) -> Result<(), String> {
        let page = get(&self.book, path).await?.expect(200)?.json()?;
        let messages = page["messages"].as_array().ok_or("a page without messages")?;
        let seqs: Option<Vec<_>> = messages.iter().map(|message| message["seq"].as_u64()).collect();
        if seqs
            .as_ref()
            .is_some_and(|seqs| !seqs.is_empty() && seqs.is_sorted_by(in_order))
        {
            Ok(())
        } else {
            Err(format!("{path} is empty or not in order: {seqs:?}"))
        }
    }

    async fn beyond_the_rate(&self) -> Result<(), String> {
        let path = format!("/api/rooms?user={}-in-a-hurry", self.name);
        let mut refused = 0;
        // At once, or a slow server would be asked at its rate.
        for answer in join_all((0..80).map(|_| get(&self.book, &path))).await {
            let answer = answer?;
            match answer.status {
                200 => {}
                429 if answer.has("Retry-After") => refused += 1,
                _ => return answer.expect(200).map(drop),
            }
        }
        let refused = if refused > 0 {
            Ok(())
        } else {
            Err("80 requests at once were answered")
        };
        self.judged("HTTP: beyond the rate", refused.map_err(str::to_owned))
    }

    /// A misdeed was answered.
    fn judged<T>(&self, what: &'static str, answer: Result<T, String>) -> Result<(), String> {
        match answer {
            Ok(_) => self.book.did(what),
            Err(error) => self.book.wrong(Check::Misbehaviour, format_args!("{what}: {error}")),
        }
        Ok(())
    }
}
