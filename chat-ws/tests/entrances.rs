//! Each entrance with a real server behind it, and what all of them answer.

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use common::{CLOSE, TEXT, ask, frame, read_close, read_frame, request, soon};
use http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roomcast_core::{Denied, Draft, ErrorCode, Hub, Limits, MemoryStore, Message, Policy, Refusal, RoomId, User};
use roomcast_ws::{ChatUpgrade, Listener, Origins, Tls, Upgrader, Visitor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::rustls;

/// Everybody may do everything, except in some rooms.
struct Rooms;

#[async_trait]
impl Policy for Rooms {
    async fn join(&self, _: &User, room: &RoomId) -> Result<(), Denied> {
        match room.as_str() {
            "private" => Err(Denied::forbidden("members only")),
            "nowhere" => Err(Denied::unknown_room()),
            "slow" => std::future::pending().await,
            _ => Ok(()),
        }
    }
    async fn send(&self, _: &User, _: &RoomId, _: &mut Draft) -> Result<(), Denied> {
        Ok(())
    }
    async fn edit(&self, _: &User, _: &Message, _: &mut String) -> Result<(), Denied> {
        Ok(())
    }
    async fn delete(&self, _: &User, _: &Message) -> Result<(), Denied> {
        Ok(())
    }
    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
    async fn presence(&self, _: &User, room: &RoomId) -> Result<(), Denied> {
        match room.as_str() {
            "discreet" => Err(Denied::forbidden("nobody is told who is here")),
            _ => Ok(()),
        }
    }
}

fn hub(handshake: Duration) -> Hub {
    let mut limits = Limits::default();
    limits.handshake = handshake;
    limits.message_bytes = 1000;
    limits.connections_per_user = 2;
    Hub::builder(MemoryStore::new(), Rooms).limits(limits).build().unwrap()
}

fn user(name: &str) -> User {
    User::named(name).unwrap()
}

/// Who the header `x-user` names: ann if it is missing, nobody if it says so.
async fn sign_in(name: Option<String>) -> Result<User, Refusal> {
    match name.as_deref() {
        None => Ok(user("ann")),
        Some("nobody") => Err(Refusal::new(ErrorCode::Unauthenticated, "sign in first")),
        Some("slow") => std::future::pending().await,
        Some(name) => Ok(user(name)),
    }
}

fn name_of(headers: &http::HeaderMap) -> Option<String> {
    headers.get("x-user").map(|name| name.to_str().unwrap().to_owned())
}

async fn listener(hub: &Hub) -> Listener {
    let auth = |request: &Parts| {
        assert!(request.extensions.get::<SocketAddr>().is_some());
        sign_in(name_of(&request.headers))
    };
    Listener::bind("127.0.0.1:0", hub.clone(), auth).await.unwrap()
}

async fn start(listener: Listener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.serve());
    address
}

async fn start_listener(hub: &Hub) -> SocketAddr {
    start(listener(hub).await).await
}

async fn start_hyper(hub: &Hub) -> SocketAddr {
    let chat = Upgrader::new(hub.clone());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            let chat = chat.clone();
            let service = service_fn(move |mut request| {
                let chat = chat.clone();
                async move {
                    Ok::<_, Infallible>(match sign_in(name_of(request.headers())).await {
                        Ok(user) => chat.upgrade(&mut request, user).await,
                        Err(refusal) => roomcast_ws::refusal_response(&refusal),
                    })
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    });
    address
}

async fn room(
    State(hub): State<Hub>,
    Path(room): Path<String>,
    headers: http::HeaderMap,
    chat: ChatUpgrade,
) -> Response {
    match sign_in(name_of(&headers)).await {
        Ok(user) => chat.room(room).serve(&hub, user).await,
        Err(refusal) => roomcast_ws::refusal_response(&refusal).map(Into::into),
    }
}

async fn no_room(State(hub): State<Hub>, chat: ChatUpgrade) -> Response {
    chat.serve(&hub, user("ann")).await
}

async fn start_axum(hub: &Hub) -> SocketAddr {
    let routes = axum::Router::new()
        .route("/ws", get(no_room))
        .route("/ws/{room}", get(room))
        .with_state(hub.clone());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, routes).await });
    address
}

/// All three, each with a hub of its own.
async fn entrances(handshake: Duration) -> Vec<(&'static str, SocketAddr)> {
    let hub = || hub(handshake);
    vec![
        ("listener", start_listener(&hub()).await),
        ("hyper", start_hyper(&hub()).await),
        ("axum", start_axum(&hub()).await),
    ]
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn talk(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    client.write_all(&frame(TEXT, br#"{"content":"hi"}"#)).await.unwrap();
    let (first, payload) = soon(read_frame(client)).await.unwrap();
    let text = String::from_utf8(payload).unwrap();
    assert!(first == TEXT && text.contains(r#""content":"hi""#), "{text}");
    client.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(soon(read_close(client)).await.0, 1000);
    assert!(client.read_u8().await.is_err(), "the server ends the connection");
}

#[tokio::test]
async fn every_entrance_opens_plain_connections() {
    for (name, address) in entrances(Duration::from_secs(10)).await {
        for lines in [
            "",
            "Sec-WebSocket-Protocol: other, chat.v2.json\r\n",
            "Origin: https://chat.example\r\n",
        ] {
            let mut client = connect(address).await;
            let answer = soon(ask(&mut client, &request("/ws/lobby?last=10&token=x", lines))).await;
            assert_eq!(answer.status, 101, "{name} {answer:?}");
            assert_eq!(
                answer.header("sec-websocket-accept"),
                Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            );
            assert_eq!(answer.header("upgrade"), Some("websocket"));
            assert_eq!(answer.header("connection"), Some("Upgrade"), "{name} {answer:?}");
            assert!(!answer.head.contains("close"), "{name} {answer:?}");
            assert_eq!(answer.header("sec-websocket-protocol"), None);
            talk(&mut client).await;
        }
    }
}

#[tokio::test]
async fn a_client_of_another_make_gets_in() {
    for (name, address) in entrances(Duration::from_secs(10)).await {
        let url = format!("ws://{address}/ws/lobby");
        let (mut client, _) = tokio_tungstenite::client_async(url, connect(address).await)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        client.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn every_entrance_opens_the_full_protocol() {
    for (name, address) in entrances(Duration::from_secs(10)).await {
        for path in ["/ws", "/ws/lobby"] {
            let mut client = connect(address).await;
            let lines = "Sec-WebSocket-Protocol: other, chat.v1.json\r\n";
            let answer = soon(ask(&mut client, &request(path, lines))).await;
            assert_eq!(answer.status, 101, "{name} {answer:?}");
            assert_eq!(answer.header("sec-websocket-protocol"), Some("chat.v1.json"));
            let (_, hello) = soon(read_frame(&mut client)).await.unwrap();
            assert!(hello.starts_with(br#"{"t":"hello""#));
        }
    }
}

#[tokio::test]
async fn every_entrance_tells_who_is_there_if_it_is_asked() {
    for (name, address) in entrances(Duration::from_secs(10)).await {
        let mut client = connect(address).await;
        let lines = "Sec-WebSocket-Protocol: chat.v1.json\r\n";
        let answer = soon(ask(&mut client, &request("/ws/lobby?last=1&presence=1", lines))).await;
        assert_eq!(answer.status, 101, "{name} {answer:?}");
        let (_, hello) = soon(read_frame(&mut client)).await.unwrap();
        assert!(hello.starts_with(br#"{"t":"hello""#));
        let (_, presence) = soon(read_frame(&mut client)).await.unwrap();
        let presence = String::from_utf8(presence).unwrap();
        let expected =
            r#"{"t":"presence","room_id":"lobby","online":1,"users":[{"id":"ann","name":"ann"}],"more":false}"#;
        assert_eq!(presence, expected, "{name}");
    }
}

#[tokio::test]
async fn frames_behind_the_request_arrive() {
    for (_, address) in entrances(Duration::from_secs(10)).await {
        let mut client = connect(address).await;
        let mut bytes = request("/ws/lobby", "").into_bytes();
        bytes.extend(frame(TEXT, br#"{"content":"early"}"#));
        client.write_all(&bytes).await.unwrap();
        assert_eq!(soon(ask(&mut client, "")).await.status, 101);
        let (_, text) = soon(read_frame(&mut client)).await.unwrap();
        assert!(String::from_utf8(text).unwrap().contains("early"));
    }
}

#[tokio::test]
async fn every_entrance_turns_down_alike() {
    let without = |line: &str| request("/ws/lobby", "").replace(&format!("{line}\r\n"), "");
    let instead = |old: &str, new: &str| request("/ws/lobby", "").replace(old, new);
    let v1 = "Sec-WebSocket-Protocol: chat.v1.json\r\n";
    let cases = [
        (without("Upgrade: websocket"), (400, "bad_request")),
        (without("Connection: keep-alive, Upgrade"), (400, "bad_request")),
        (
            without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            (400, "bad_request"),
        ),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", "short"), (400, "bad_request")),
        (instead("HTTP/1.1", "HTTP/1.0"), (400, "bad_request")),
        (without("Host: chat.example"), (400, "bad_request")),
        (request("/ws/lobby", "Host: chat.example\r\n"), (400, "bad_request")),
        (instead("Version: 13", "Version: 8"), (426, "bad_request")),
        (without("Sec-WebSocket-Version: 13"), (426, "bad_request")),
        (request("/ws", ""), (400, "bad_request")),
        (request("/ws/a%20b", ""), (400, "bad_request")),
        (request("/ws/lobby?last=201", ""), (400, "bad_request")),
        (request("/ws/lobby?last=x", ""), (400, "bad_request")),
        (request("/ws/lobby?presence=1", ""), (400, "bad_request")),
        (request("/ws/lobby?presence=yes", v1), (400, "bad_request")),
        (request("/ws/discreet?presence=1", v1), (403, "forbidden")),
        (request("/ws?presence=1", v1), (400, "bad_request")),
        (request("/ws/lobby?since=e1", ""), (400, "bad_request")),
        (request("/ws/lobby?since=e1:1&last=1", ""), (400, "bad_request")),
        (
            request("/ws/lobby", "Origin: https://evil.example\r\n"),
            (403, "bad_origin"),
        ),
        (request("/ws/lobby", "Origin: null\r\n"), (403, "bad_origin")),
        (request("/ws/lobby", "Origin: \r\n"), (403, "bad_origin")),
        (
            request(
                "/ws/lobby",
                "Origin: https://chat.example\r\nOrigin: https://chat.example\r\n",
            ),
            (403, "bad_origin"),
        ),
        (request("/ws/lobby", "x-user: nobody\r\n"), (401, "unauthenticated")),
        (request("/ws/private", ""), (403, "forbidden")),
        (request("/ws/nowhere", ""), (404, "unknown_room")),
    ];
    for (name, address) in entrances(Duration::from_secs(10)).await {
        for (request, expected) in &cases {
            let answer = soon(ask(&mut connect(address).await, request)).await;
            assert_eq!(answer.refusal(), *expected, "{name} {request}");
            if answer.status == 426 {
                assert_eq!(answer.header("sec-websocket-version"), Some("13"));
            }
        }
    }
}

#[tokio::test]
async fn too_many_connections_are_told_when_to_come_again() {
    for (name, address) in entrances(Duration::from_secs(10)).await {
        let mut kept = Vec::new();
        for _ in 0..2 {
            let mut client = connect(address).await;
            assert_eq!(soon(ask(&mut client, &request("/ws/lobby", ""))).await.status, 101);
            kept.push(client);
        }
        let answer = soon(ask(&mut connect(address).await, &request("/ws/lobby", ""))).await;
        assert_eq!(answer.refusal(), (429, "rate_limited"), "{name}");
        let other = request("/ws/lobby", "x-user: bob\r\n");
        assert_eq!(soon(ask(&mut connect(address).await, &other)).await.status, 101);
    }
}

#[tokio::test]
async fn a_policy_that_does_not_answer_is_503() {
    for (name, address) in entrances(Duration::from_millis(200)).await {
        let answer = soon(ask(&mut connect(address).await, &request("/ws/slow", ""))).await;
        assert_eq!(answer.refusal(), (503, "unavailable"), "{name}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_closed_with_1009() {
    for (_, address) in entrances(Duration::from_secs(10)).await {
        let mut client = connect(address).await;
        soon(ask(&mut client, &request("/ws/lobby", ""))).await;
        let (mut reads, mut writes) = client.split();
        let large = frame(TEXT, &[b'x'; 10 << 20]);
        let (sent, close) = soon(async { tokio::join!(writes.write_all(&large), read_close(&mut reads)) }).await;
        sent.unwrap();
        assert_eq!(close, (1009, "too_large".into()));
    }
}

#[tokio::test]
async fn the_listener_answers_nothing_else() {
    let address = start_listener(&hub(Duration::from_secs(10))).await;
    for (text, expected) in [
        (request("/", ""), (404, "not_found")),
        (request("/ws/a/b", ""), (404, "not_found")),
        (request("/wss", ""), (404, "not_found")),
        (request("/ws/lobby", "").replace("GET", "DELETE"), (405, "bad_request")),
    ] {
        let mut client = connect(address).await;
        let answer = soon(ask(&mut client, &text)).await;
        assert_eq!(answer.refusal(), expected, "{text}");
        assert_eq!(answer.header("allow").is_some(), answer.status == 405);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(soon(client.read_u8()).await.is_err(), "one request a connection");
    }
    let mut client = connect(address).await;
    client.write_all(b"garbage\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    let mut client = connect(address).await;
    let long = request("/ws/lobby", &format!("x-long: {}\r\n", "x".repeat(20_000)));
    let _ = client.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = soon(client.read_to_end(&mut answer)).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test]
async fn a_login_that_does_not_answer_is_503() {
    let address = start_listener(&hub(Duration::from_millis(200))).await;
    let answer = soon(ask(
        &mut connect(address).await,
        &request("/ws/lobby", "x-user: slow\r\n"),
    ))
    .await;
    assert_eq!(answer.refusal(), (503, "unavailable"));
}

#[tokio::test]
async fn a_list_of_origins_replaces_the_rule() {
    let origins = Origins::only(["https://app.example"]).unwrap();
    let address = start(listener(&hub(Duration::from_secs(10))).await.origins(origins)).await;
    for (origin, status) in [("https://app.example", 101), ("https://chat.example", 403)] {
        let text = request("/ws/lobby", &format!("Origin: {origin}\r\n"));
        let answer = soon(ask(&mut connect(address).await, &text)).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn slow_handshakes_are_cut_off_and_do_not_pile_up() {
    let hub = hub(Duration::from_millis(300));
    let address = start(listener(&hub).await.handshakes(2)).await;
    let mut silent = connect(address).await;
    let mut slow = connect(address).await;
    let begun = Instant::now();
    let dripping = async {
        let text = request("/ws/lobby", "");
        for byte in text.as_bytes().iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waiting = async {
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
    };
    // Both places are taken, so this one waits until they are cut off.
    let third = async {
        let mut client = connect(address).await;
        assert_eq!(ask(&mut client, &request("/ws/lobby", "")).await.status, 101);
        talk(&mut client).await;
    };
    soon(async { tokio::join!(dripping, waiting, third) }).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Far behind, it takes 150 KB a second, and is given 3 s for each piece: the system mustn't let a megabyte go first.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_slow_client_that_is_far_behind_is_not_taken_for_dead() {
    const RATE: usize = 150_000;
    const MESSAGES: usize = 3000;
    let mut limits = Limits::default();
    limits.rate = None;
    limits.write = Duration::from_secs(3);
    let hub = Hub::builder(MemoryStore::new(), Rooms).limits(limits).build().unwrap();
    let address = start_listener(&hub).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    assert_eq!(ask(&mut client, &request("/ws/lobby", "")).await.status, 101);
    let room = hub.room(RoomId::new("lobby").unwrap());
    tokio::spawn(async move {
        let text = "x".repeat(3000);
        for _ in 0..MESSAGES {
            room.publish(&user("bot"), Draft::text(text.as_str())).await.unwrap();
        }
    });

    let begun = Instant::now();
    let (mut seen, mut bytes) = (0, 0);
    while seen < MESSAGES {
        // By the clock: a moment in which it doesn't run is made up for. After 8 s it is in a hurry.
        let due = begun + Duration::from_secs_f64(bytes as f64 / RATE as f64);
        tokio::time::sleep_until(due.min(begun + Duration::from_secs(8))).await;
        let (first, payload) = soon(read_frame(&mut client)).await.expect("it isn't cut off");
        assert_eq!(first, TEXT, "{}", String::from_utf8_lossy(&payload));
        bytes += payload.len();
        seen += 1;
    }
}

#[tokio::test]
async fn the_listener_stops_when_the_hub_drains() {
    let hub = hub(Duration::from_secs(10));
    let listener = listener(&hub).await;
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(listener.serve());
    let mut silent = connect(address).await;
    // Accepted, with the request still to come.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let draining = tokio::spawn({
        let hub = hub.clone();
        async move {
            assert!(hub.shutdown(Duration::from_secs(10)).await.is_clean());
        }
    });
    soon(serving).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    let begun = Instant::now();
    assert!(
        soon(silent.read_u8()).await.is_err(),
        "half a handshake doesn't hold up the end"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    soon(draining).await.unwrap();
}

#[tokio::test]
async fn a_draining_hub_says_goodbye_through_every_entrance() {
    type Start = fn(&Hub) -> std::pin::Pin<Box<dyn Future<Output = SocketAddr> + '_>>;
    let starts: [Start; 3] = [
        |hub| Box::pin(start_listener(hub)),
        |hub| Box::pin(start_hyper(hub)),
        |hub| Box::pin(start_axum(hub)),
    ];
    for start in starts {
        let hub = hub(Duration::from_secs(10));
        let address = start(&hub).await;
        let mut client = connect(address).await;
        let lines = "Sec-WebSocket-Protocol: chat.v1.json\r\n";
        assert_eq!(soon(ask(&mut client, &request("/ws/lobby", lines))).await.status, 101);
        let client = async {
            let (_, hello) = read_frame(&mut client).await.unwrap();
            assert!(hello.starts_with(br#"{"t":"hello""#));
            let (_, bye) = read_frame(&mut client).await.unwrap();
            assert!(bye.starts_with(br#"{"t":"bye","code":4000"#));
            assert_eq!(read_close(&mut client).await, (4000, "draining".into()));
            client.write_all(&frame(CLOSE, &4000_u16.to_be_bytes())).await.unwrap();
            assert!(client.read_u8().await.is_err());
        };
        let shutdown = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            hub.shutdown(Duration::from_secs(10)).await
        };
        let (report, ()) = soon(async { tokio::join!(shutdown, client) }).await;
        assert!(report.is_clean(), "{report:?}");
        if let Ok(mut late) = TcpStream::connect(address).await {
            let answer = soon(ask(&mut late, &request("/ws/lobby", ""))).await;
            assert_eq!(answer.refusal(), (503, "unavailable"));
        }
    }
}

#[tokio::test]
async fn tls_goes_all_the_way() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(own.cert.pem().as_bytes(), own.signing_key.serialize_pem().as_bytes()).unwrap();
    let hub = hub(Duration::from_millis(500));
    let address = start(listener(&hub).await.tls(tls)).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name.clone(), connect(address).await).await.unwrap();
    assert_eq!(soon(ask(&mut client, &request("/ws/lobby", ""))).await.status, 101);
    talk(&mut client).await;
    // A page that came without TLS may have been changed by anybody on the way.
    for (origin, status) in [("https://chat.example", 101), ("http://chat.example", 403)] {
        let mut client = connector.connect(name.clone(), connect(address).await).await.unwrap();
        let text = request("/ws/lobby", &format!("Origin: {origin}\r\n"));
        assert_eq!(soon(ask(&mut client, &text)).await.status, status, "{origin}");
    }

    let mut silent = connect(address).await;
    let begun = Instant::now();
    assert!(soon(silent.read_u8()).await.is_err(), "no TLS handshake comes");
    assert!(begun.elapsed() >= Duration::from_millis(400));
    let mut plain = connect(address).await;
    plain.write_all(request("/ws/lobby", "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn rooms_of_other_routes_are_given_by_the_handler() {
    let hub = hub(Duration::from_secs(10));
    let chat = async |State(hub): State<Hub>, Path((team, room)): Path<(String, String)>, chat: ChatUpgrade| {
        let visitor = Visitor::new(user("ann")).expires_in(Duration::from_secs(3600));
        let room = format!("{team}:{room}");
        chat.room(room).origins(Origins::any()).serve(&hub, visitor).await
    };
    let routes = axum::Router::new()
        .route("/teams/{team}/rooms/{room}", get(chat))
        .with_state(hub);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, routes).await });
    for (path, status) in [("/teams/a/rooms/b", 101), ("/teams/a%2Fb/rooms/c", 400)] {
        let mut client = connect(address).await;
        let text = request(path, "Origin: https://elsewhere.example\r\n");
        let answer = soon(ask(&mut client, &text)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// When a server comes back, so do its clients, all at the same time: whom it doesn't answer tries again after a second.
#[tokio::test]
async fn many_may_wait_to_be_accepted() {
    // What the system allows; elsewhere than on Linux, as many as tokio itself lets wait.
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let allowed = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(100);
    let listener = listener(&hub(Duration::from_secs(5))).await;
    let address = listener.local_addr().unwrap();
    // Nobody accepts them.
    let mut waiting = Vec::new();
    for _ in 0..allowed.min(300) {
        waiting.push(
            soon(TcpStream::connect(address))
                .await
                .expect("there is room for one more"),
        );
    }
    drop(listener);
}
