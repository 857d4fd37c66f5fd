//! Starts each example as a process of its own and talks to it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, StatusCode};
use roomcast_core::{Draft, HistoryRange, Hub, MessageStore, OpenPolicy, RoomId, User};
use roomcast_testkit::{StoreHarness, async_trait};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

#[allow(dead_code)]
#[path = "../own_store.rs"]
mod own_store;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// A running example; killed when it is dropped.
struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    /// Starts it on a free port, and reads the address that it prints.
    async fn start(name: &str, more: &[&str]) -> Self {
        // Cargo builds the examples for the tests, beside the folder that the tests are in.
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.pop();
        let path = path
            .join("examples")
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let mut child = Command::new(&path)
            .arg("0")
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        soon(stdout.read_line(&mut line)).await.unwrap();
        let at = line
            .find("127.0.0.1:")
            .unwrap_or_else(|| panic!("no address: {line:?}"));
        let address = line[at..].split(['/', '\n']).next().unwrap().parse().unwrap();
        Self { child, address }
    }

    async fn open(&self, path: &str, headers: &[(HeaderName, &str)]) -> Result<Chat, StatusCode> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match soon(client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Chat(socket)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn enter(&self, query: &str) -> Chat {
        self.open(&format!("/ws/lobby?{query}"), &[]).await.unwrap()
    }

    /// Interrupts it, as Ctrl-C does, and waits until it ended by itself.
    #[cfg(unix)]
    async fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        // It may answer before it listens to signals, and what comes before is ignored where the tests run in the background.
        soon(async {
            while !catches_interrupts(pid) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(soon(self.child.wait()).await.unwrap().success());
    }
}

/// Whether the process has a handler of its own for SIGINT. Where there is no /proc nobody knows.
#[cfg(unix)]
fn catches_interrupts(pid: rustix::process::Pid) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())) else {
        return true;
    };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
    caught.is_none_or(|caught| caught & (1 << (rustix::process::Signal::INT.as_raw() - 1)) != 0)
}

/// A client.
struct Chat(WebSocketStream<TcpStream>);

impl Chat {
    async fn say(&mut self, content: &str) {
        self.send(&json!({ "content": content })).await;
    }

    async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame for which there is an answer.
    async fn until<T>(&mut self, wanted: impl Fn(&Value) -> Option<T>) -> T {
        soon(async {
            loop {
                let frame = self.0.next().await.expect("no end").unwrap();
                let Message::Text(text) = frame else { continue };
                if let Some(found) = wanted(&serde_json::from_str(&text).unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    /// Who says the next message, and what.
    async fn heard(&mut self) -> (String, String) {
        self.until(|frame| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some((text(&frame["user"]["name"])?, text(&frame["content"])?))
        })
        .await
    }

    /// The code that the server closes with.
    async fn closed(&mut self) -> u16 {
        soon(async {
            loop {
                if let Message::Close(close) = self.0.next().await.expect("a goodbye").unwrap() {
                    return close.unwrap().code.into();
                }
            }
        })
        .await
    }
}

fn said(name: &str, content: &str) -> (String, String) {
    (name.to_owned(), content.to_owned())
}

#[tokio::test]
async fn ten_lines() {
    let server = Example::start("ten_lines", &[]).await;
    let mut bob = server.enter("user=bob").await;
    bob.say("anybody here?").await;
    // Now he is in the room: that comes a moment after the answer to the request.
    assert_eq!(bob.heard().await, said("bob", "anybody here?"));
    let mut ann = server.enter("user=ann").await;
    ann.say("hello").await;
    assert_eq!(ann.heard().await, said("ann", "hello"));
    assert_eq!(bob.heard().await, said("ann", "hello"));
    assert_eq!(
        server.open("/ws/lobby", &[]).await.err(),
        Some(StatusCode::UNAUTHORIZED)
    );
    #[cfg(unix)]
    {
        let (code, ()) = tokio::join!(bob.closed(), server.stop());
        assert_eq!(code, 4000);
    }
}

/// Signs in, and gives the status and the cookie.
async fn sign_in(server: &Example, password: &str) -> (String, Option<String>) {
    let body = format!("name=ann&password={password}");
    let head =
        "POST /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned());
    (answer.split(' ').nth(1).unwrap().to_owned(), cookie)
}

#[tokio::test]
async fn axum_login() {
    let server = Example::start("axum_login", &[]).await;
    assert_eq!(sign_in(&server, "wrong").await, ("401".to_owned(), None));
    let (status, cookie) = sign_in(&server, "apple").await;
    let cookie = cookie.unwrap();
    assert_eq!(status, "303");

    let path = "/rooms/lobby/live";
    let unauthorized = Some(StatusCode::UNAUTHORIZED);
    assert_eq!(server.open(path, &[]).await.err(), unauthorized);
    let forged = cookie.replace("ann", "bob");
    assert_ne!(forged, cookie);
    assert_eq!(server.open(path, &[(COOKIE, &forged)]).await.err(), unauthorized);

    let mut ann = server.open(path, &[(COOKIE, &cookie)]).await.unwrap();
    ann.say("signed in").await;
    assert_eq!(ann.heard().await, said("ann", "signed in"));
    #[cfg(unix)]
    {
        let (code, ()) = tokio::join!(ann.closed(), server.stop());
        assert_eq!(code, 4000);
    }
}

/// A request of which half has come must not keep the server from ending.
#[cfg(unix)]
#[tokio::test]
async fn axum_login_ends_beside_half_a_request() {
    let server = Example::start("axum_login", &[]).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded";
    let text = format!("{head}\r\ncontent-length: 100\r\n\r\nname=");
    half.write_all(text.as_bytes()).await.unwrap();
    // When this one is answered, the server has taken the connection above too.
    assert_eq!(sign_in(&server, "wrong").await.0, "401");
    server.stop().await;
}

#[tokio::test]
async fn own_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.jsonl");
    let path = path.to_str().unwrap();
    let mut server = Example::start("own_store", &[path]).await;
    let mut ann = server.enter("user=ann").await;
    ann.say("keep this").await;
    assert_eq!(ann.heard().await, said("ann", "keep this"));
    // Without a goodbye: what was sent out is stored.
    server.child.kill().await.unwrap();

    let server = Example::start("own_store", &[path]).await;
    let mut bob = server.enter("user=bob&last=10").await;
    assert_eq!(bob.heard().await, said("ann", "keep this"));
}

/// A crash may cut a line anywhere, inside of a character too.
#[tokio::test]
async fn own_store_opens_after_a_line_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.jsonl");
    let room = RoomId::new("lobby").unwrap();
    let publish = async |text: &str| {
        let store = own_store::FileStore::open(&path).await.unwrap();
        let hub = Hub::builder(store, OpenPolicy).build().unwrap();
        let bob = User::named("bob").unwrap();
        hub.publish(&room, &bob, Draft::text(text)).await.unwrap();
        assert!(hub.shutdown(Duration::from_secs(10)).await.is_clean());
    };
    publish("whole").await;
    publish("cut in the é here").await;
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(2).position(|pair| pair == "é".as_bytes()).unwrap();
    std::fs::write(&path, &bytes[..=at]).unwrap();
    publish("after").await;

    let store = own_store::FileStore::open(&path).await.unwrap();
    let page = store.history(&room, HistoryRange::Newest, 10).await.unwrap();
    let said: Vec<_> = page.messages.iter().map(|message| message.content.as_deref()).collect();
    assert_eq!(said, [Some("whole"), Some("after")]);
}

struct InFile(tempfile::TempDir);

#[async_trait]
impl StoreHarness for InFile {
    async fn open(&self) -> Arc<dyn MessageStore> {
        Arc::new(
            own_store::FileStore::open(self.0.path().join("chat.jsonl"))
                .await
                .unwrap(),
        )
    }
    async fn reopen(&self) -> Option<Arc<dyn MessageStore>> {
        Some(self.open().await)
    }
    async fn open_bounded(&self, _: usize) -> Option<Arc<dyn MessageStore>> {
        None
    }
}

mod contract {
    roomcast_testkit::store_tests!(super::InFile(tempfile::tempdir().unwrap()));
}

#[tokio::test]
async fn lines_over_tcp() {
    let server = Example::start("lines_over_tcp", &[]).await;
    let enter = async |name: &str| {
        let mut stream = BufReader::new(TcpStream::connect(server.address).await.unwrap());
        stream.write_all(format!("{name}\n").as_bytes()).await.unwrap();
        stream
    };
    let read = async |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        soon(stream.read_line(&mut line)).await.unwrap();
        line
    };
    let mut ann = enter("ann").await;
    ann.write_all(b"hello\r\n\n\x1b[2Jtricks\n").await.unwrap();
    assert_eq!(read(&mut ann).await, "ann: hello\n");
    assert_eq!(read(&mut ann).await, "ann:  [2Jtricks\n");
    let mut bob = enter("bob").await;
    assert_eq!(read(&mut bob).await, "ann: hello\n", "what was said before");

    let mut chatty = enter("chatty").await;
    for said in ["ann: hello\n", "ann:  [2Jtricks\n"] {
        assert_eq!(read(&mut chatty).await, said);
    }
    chatty.write_all(&[b'x'; 5000]).await.unwrap();
    assert_eq!(read(&mut chatty).await, "* goodbye: too_large\n");
    assert_eq!(read(&mut enter("").await).await.chars().next(), Some('!'));
    #[cfg(unix)]
    {
        server.stop().await;
        assert_eq!(read(&mut ann).await, "* goodbye: draining\n");
    }
}

#[tokio::test]
async fn bot() {
    let server = Example::start("bot", &["1"]).await;
    let mut ann = server.enter("user=ann").await;
    ann.say("!who").await;
    let content = |bot: &'static str| {
        move |frame: &Value| (frame["user"]["name"] == bot).then(|| frame["content"].as_str().unwrap().to_owned())
    };
    assert_eq!(ann.until(content("who-bot")).await, "ann, who-bot");
    assert_eq!(ann.until(content("count-bot")).await, "2 connections are in this room");
    #[cfg(unix)]
    server.stop().await;
}

#[tokio::test]
async fn moderation() {
    let server = Example::start("moderation", &[]).await;
    let forbidden = Some(StatusCode::FORBIDDEN);
    assert_eq!(server.open("/ws/lobby?user=mallory", &[]).await.err(), forbidden);
    assert_eq!(server.open("/ws/lobby?user=guest&last=9", &[]).await.err(), forbidden);

    let full = [(SEC_WEBSOCKET_PROTOCOL, "chat.v1.json")];
    let mut moderator = server.open("/ws/lobby?user=mo", &full).await.unwrap();
    // From now on it hears what is said.
    moderator.until(|frame| (frame["t"] == "hello").then_some(())).await;
    let mut guest = server.open("/ws/lobby?user=guest", &full).await.unwrap();
    let send = json!({ "t": "send", "room_id": "lobby", "content": "what a Darn day, darned" });
    guest.send(&send).await;
    let cleaned = said("guest", "what a **** day, darned");
    assert_eq!(guest.heard().await, cleaned);
    assert_eq!(server.enter("user=ann&last=9").await.heard().await, cleaned);

    moderator
        .send(&json!({ "t": "send", "room_id": "lobby", "content": "mind your words" }))
        .await;
    let by = |name: &'static str| {
        move |frame: &Value| {
            let message = frame["user"]["name"] == name && frame["content"].is_string();
            message.then(|| frame["id"].clone())
        }
    };
    let of_moderator = guest.until(by("mo")).await;
    guest
        .send(&json!({ "t": "delete", "room_id": "lobby", "msg": of_moderator }))
        .await;
    let code = guest
        .until(|frame| (frame["t"] == "err").then(|| frame["code"].clone()))
        .await;
    assert_eq!(code, "forbidden");

    let of_guest = moderator.until(by("guest")).await;
    moderator
        .send(&json!({ "t": "delete", "room_id": "lobby", "msg": of_guest }))
        .await;
    let deleted = guest
        .until(|frame| (frame["t"] == "delete").then(|| frame["msg"].clone()))
        .await;
    assert_eq!(deleted, of_guest);
}
