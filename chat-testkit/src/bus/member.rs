//! A member of a room: a connection in memory.

use std::collections::HashMap;
use std::time::Duration;

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Hub, Inbound, RoomId,
    User,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long what another node stored may take to be seen here, on a slow machine.
pub(super) const SOON: Duration = Duration::from_secs(10);

enum Seen {
    Frame(Value),
    Close(u16),
}

struct Pipe {
    from_client: mpsc::UnboundedReceiver<Inbound>,
    to_client: mpsc::UnboundedSender<Seen>,
}

struct Reader(mpsc::UnboundedReceiver<Inbound>);

struct Writer(mpsc::UnboundedSender<Seen>);

impl Connection for Pipe {
    type Reader = Reader;
    type Writer = Writer;

    fn split(self) -> (Reader, Writer) {
        (Reader(self.from_client), Writer(self.to_client))
    }
}

fn gone<T>(_: T) -> ConnectionError {
    ConnectionError::new("the client is gone")
}

impl ConnectionReader for Reader {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        Ok(self.0.recv().await.unwrap_or(Inbound::Closed))
    }
}

impl ConnectionWriter for Writer {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            let frame = serde_json::from_slice(frame).map_err(ConnectionError::new)?;
            self.0.send(Seen::Frame(frame)).map_err(gone)?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, close: &CloseFrame) -> Result<(), ConnectionError> {
        self.0.send(Seen::Close(close.code)).map_err(gone)
    }
}

/// A client in one room. Dropped, it hangs up.
pub(super) struct Member {
    to_server: mpsc::UnboundedSender<Inbound>,
    from_server: mpsc::UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
    /// Who it is and where, for those who read that a check failed.
    what: String,
}

impl Member {
    /// Joins the room. What is stored from now on is to be seen.
    pub(super) async fn join(hub: &Hub, name: &str, room: &RoomId) -> Self {
        let (to_server, from_client) = mpsc::unbounded_channel();
        let (to_client, from_server) = mpsc::unbounded_channel();
        let client = Client::v1(User::named(name).unwrap()).room(room.clone());
        let admitted = hub.admit(client).await.expect("the client is let in");
        let pipe = Pipe { from_client, to_client };
        let task = tokio::spawn(async move {
            admitted.serve(pipe).await;
        });
        let mut member = Self {
            to_server,
            from_server,
            task,
            what: format!("{name} in {room}"),
        };
        let hello = member.frame("a hello").await;
        assert_eq!(hello["t"], "hello", "{hello}");
        member
    }

    pub(super) fn say(&self, content: &str) {
        let frame = json!({ "t": "send", "content": content }).to_string();
        // A connection that has ended is noticed when what it should bring is waited for.
        let _ = self.to_server.send(Inbound::Text(frame.into()));
    }

    /// The next frame.
    pub(super) async fn frame(&mut self, what: &str) -> Value {
        self.frame_within(what, SOON).await
    }

    async fn frame_within(&mut self, what: &str, limit: Duration) -> Value {
        match timeout(limit, self.from_server.recv()).await {
            Ok(Some(Seen::Frame(frame))) => frame,
            Ok(Some(Seen::Close(code))) => panic!("{} is closed with {code} instead of seeing {what}", self.what),
            Ok(None) => panic!("{} is cut off instead of seeing {what}", self.what),
            Err(_) => panic!("{} doesn't see {what} within {limit:?}", self.what),
        }
    }

    /// The next frame is a message with this text.
    pub(super) async fn sees(&mut self, content: &str) -> Value {
        self.sees_within(content, SOON).await
    }

    pub(super) async fn sees_within(&mut self, content: &str, limit: Duration) -> Value {
        let what = format!("{:?}", content.chars().take(40).collect::<String>());
        let frame = self.frame_within(&what, limit).await;
        assert_eq!(frame["content"], content, "{}", self.what);
        frame
    }

    /// The next entries are those up to this seq, each once and in order; `seen` are their texts by who said them.
    pub(super) async fn sees_up_to(&mut self, last: u64) -> HashMap<String, Vec<String>> {
        let mut seen: HashMap<String, Vec<String>> = HashMap::new();
        for seq in 1..=last {
            let frame = loop {
                let frame = self.frame(&format!("entry {seq} of {last}")).await;
                if frame["t"] != "ack" {
                    break frame;
                }
            };
            assert_eq!(frame["seq"], seq, "{}: {frame}", self.what);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            seen.entry(text(&frame["user"]["id"]))
                .or_default()
                .push(text(&frame["content"]));
        }
        seen
    }

    pub(super) async fn sees_nothing_for(&mut self, span: Duration) {
        if let Ok(Some(Seen::Frame(frame))) = timeout(span, self.from_server.recv()).await {
            panic!("{} sees {frame}", self.what);
        }
    }

    /// Reads to the end, which comes soon, and gives the code of the close frame.
    pub(super) async fn is_closed(&mut self) -> u16 {
        let closed = async {
            loop {
                match self.from_server.recv().await {
                    Some(Seen::Close(code)) => return code,
                    Some(Seen::Frame(_)) => {}
                    None => panic!("{} is cut off", self.what),
                }
            }
        };
        match timeout(SOON, closed).await {
            Ok(code) => code,
            Err(_) => panic!("{} isn't closed within {SOON:?}", self.what),
        }
    }

    /// Hangs up, and waits until the hub has noticed.
    pub(super) async fn leave(self) {
        drop((self.to_server, self.from_server));
        self.task.await.expect("the connection's task ends well");
    }
}
