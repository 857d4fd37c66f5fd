//! The listener's side of a connection on a stream in memory, from the first byte of the request on: it is answered in HTTP as the
//! protocol says, and upgraded only if it asks for all that an upgrade takes.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use roomcast_core::{ErrorCode, Hub, MemoryStore, OpenPolicy, Refusal, User};
use roomcast_fuzz::websocket::split_frames;
use roomcast_ws::{Origins, fuzz};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;
use tokio::time::timeout;

#[derive(Debug, Arbitrary)]
struct Input {
    any_origin: bool,
    request: Request,
    /// What comes behind it at once.
    behind: Vec<u8>,
    pieces: Vec<u8>,
    /// The client waits for an end, instead of ending by itself.
    waits: bool,
}

#[derive(Debug, Arbitrary)]
enum Request {
    /// One that is right, but for this.
    Spoilt {
        v1: bool,
        wrong: Vec<Wrong>,
        more: Vec<(Name, Vec<u8>)>,
    },
    Bytes(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Wrong {
    line: u8,
    how: How,
}

#[derive(Debug, Arbitrary)]
enum How {
    Left,
    Twice,
    Value(Vec<u8>),
    Byte { at: u8, byte: u8 },
}

#[derive(Debug, Arbitrary)]
enum Name {
    Origin,
    Protocol,
    Length,
    Encoding,
    User,
    Other(u8),
}

/// `true` if nothing is wrong.
fn written(request: &Request) -> (Vec<u8>, bool) {
    let (v1, wrong, more) = match request {
        Request::Bytes(bytes) => return (bytes.clone(), false),
        Request::Spoilt { v1, wrong, more } => (*v1, wrong, more),
    };
    let mut lines: Vec<Vec<u8>> = [
        "GET /ws/lobby?last=3 HTTP/1.1",
        "Host: chat.example",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: https://chat.example",
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    if v1 {
        lines.push(b"Sec-WebSocket-Protocol: other, chat.v1.json".to_vec());
    }
    for Wrong { line, how } in wrong {
        let at = usize::from(*line) % lines.len();
        match how {
            How::Left => lines[at].clear(),
            How::Twice => lines.push(lines[at].clone()),
            How::Value(value) => {
                let name = lines[at].iter().position(|byte| *byte == b' ').unwrap_or_default();
                lines[at].truncate(name + 1);
                lines[at].extend(value);
            }
            How::Byte { at: column, byte } => {
                let column = usize::from(*column) % lines[at].len().max(1);
                if let Some(place) = lines[at].get_mut(column) {
                    *place = *byte;
                }
            }
        }
    }
    for (name, value) in more {
        let name = match name {
            Name::Origin => "Origin".to_owned(),
            Name::Protocol => "Sec-WebSocket-Protocol".to_owned(),
            Name::Length => "Content-Length".to_owned(),
            Name::Encoding => "Transfer-Encoding".to_owned(),
            Name::User => "X-User".to_owned(),
            Name::Other(which) => format!("X-{which}"),
        };
        lines.push([name.as_bytes(), b": ", value].concat());
    }
    // A line without anything would be the end of the head.
    lines.retain(|line| !line.is_empty());
    let mut bytes = lines.join(&b"\r\n"[..]);
    bytes.extend(b"\r\n\r\n");
    (bytes, wrong.is_empty() && more.is_empty())
}

/// What of a request's head an upgrade takes, as a plain look at its lines has it.
fn asks_for_upgrade(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    // Empty lines before a request don't count.
    let text = text.trim_start_matches(['\r', '\n']);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let first = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .collect();
    let values = |name: &'static str| {
        headers
            .iter()
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    let has = |name, token| {
        values(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim() == token)
    };
    first.starts_with("get ")
        && first.trim_end().ends_with("http/1.1")
        && values("host").count() == 1
        && has("connection", "upgrade")
        && has("upgrade", "websocket")
        && values("sec-websocket-version").next() == Some("13")
        && values("sec-websocket-key").next().is_some_and(|key| key.len() == 24)
}

async fn visit(mut stream: DuplexStream, bytes: &[u8], input: &Input) -> Vec<u8> {
    let mut rest = bytes;
    for size in input
        .pieces
        .iter()
        .map(|size| usize::from(*size) + 1)
        .chain([usize::MAX])
        .cycle()
    {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        if stream.write_all(piece).await.is_err() {
            break;
        }
        rest = after;
        yield_now().await;
    }
    let mut came = Vec::new();
    if !input.waits {
        // Whatever comes at once; then the client is gone.
        let _ = timeout(Duration::from_millis(100), stream.read_to_end(&mut came)).await;
        let _ = stream.shutdown().await;
    }
    // A client that says nothing is pinged, and sent away.
    let end = timeout(Duration::from_secs(120), stream.read_to_end(&mut came)).await;
    assert!(end.is_ok(), "the connection doesn't end");
    came
}

fn who(request: &Parts) -> impl Future<Output = Result<User, Refusal>> + use<> {
    let name = request
        .headers
        .get("x-user")
        .map(|name| name.to_str().unwrap_or_default().to_owned());
    async move {
        User::named(name.as_deref().unwrap_or("ann"))
            .map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string()))
    }
}

fuzz_target!(|input: Input| {
    let (head, right) = written(&input.request);
    let bytes = [&head[..], &input.behind].concat();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let came = runtime.expect("a runtime").block_on(async {
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy)
            .seed(1)
            .build()
            .expect("the default limits");
        let origins = if input.any_origin {
            Origins::any()
        } else {
            Origins::same()
        };
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        hub.spawn(fuzz::accept(hub.clone(), who, origins, ours));
        let came = visit(theirs, &bytes, &input).await;
        let report = hub.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean(), "{report:?}");
        came
    });
    check(&came, &bytes, right);
});

fn check(came: &[u8], request: &[u8], right: bool) {
    if came.is_empty() {
        assert!(!right, "no answer");
        return;
    }
    let end = came
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("the head of an answer is whole");
    let head = std::str::from_utf8(&came[..end])
        .expect("the head of an answer is ASCII")
        .to_ascii_lowercase();
    let body = &came[end + 4..];
    let status: u16 = head
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{head}"));
    assert!(head.starts_with("http/1.1 ") || head.starts_with("http/1.0 "), "{head}");
    if status == 101 {
        assert!(
            asks_for_upgrade(request),
            "upgraded: {}",
            String::from_utf8_lossy(request)
        );
        assert!(head.contains("sec-websocket-accept: "), "{head}");
        let (frames, cut) = split_frames(body);
        assert!(cut.is_empty(), "a frame was cut off");
        if head.contains("sec-websocket-protocol: chat.v1.json") {
            // A ping that came with the request is answered before it, and one that broke the
            // WebSocket protocol gets the close frame alone.
            let first = frames.iter().find(|frame| frame.first == 0x81);
            assert!(
                first.is_none_or(|first| first.payload.starts_with(br#"{"t":"hello""#)),
                "{frames:?}"
            );
        }
        return;
    }
    assert!(!right, "{head}");
    assert!(
        matches!(status, 400 | 401 | 403 | 404 | 405 | 414 | 426 | 429 | 431 | 503),
        "{head}"
    );
    // What isn't HTTP at all is answered by hyper, without words. A HEAD has no body.
    if !body.is_empty() {
        let body: Value = serde_json::from_slice(body).expect("the body is JSON");
        assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
    }
}
