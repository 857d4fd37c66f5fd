//! The connection over real sockets and over pipes that hold little.

mod common;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{CLOSE, PING, PONG, TEXT, frame, read_close, read_frame, soon, tcp_pair};
use futures_util::{SinkExt, StreamExt};
use roomcast_core::{
    Bytes, Client, CloseCode, CloseFrame, Connection, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    MemoryStore, OpenPolicy, RoomId, User,
};
use roomcast_ws::{WebSocket, WebSocketReader, WebSocketWriter, WsConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

type Halves<S> = (WebSocketReader<S>, WebSocketWriter<S>);

fn halves<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: S) -> Halves<S> {
    WebSocket::from_upgraded(io, Bytes::new(), &WsConfig::default()).split()
}

async fn over_tcp() -> (Halves<TcpStream>, TcpStream) {
    let (server, client) = tcp_pair().await;
    (halves(server), client)
}

/// A connection whose pipe takes so many bytes while the client doesn't read.
fn over_pipe(bytes: usize) -> (Halves<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(bytes);
    (halves(server), client)
}

fn texts(count: usize, length: usize) -> Vec<Bytes> {
    (0..count)
        .map(|n| Bytes::from(format!("{n:0>length$}").into_bytes()))
        .collect()
}

/// Counts what the stream is asked, and notes the largest write.
struct Counted<S> {
    io: S,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    writes: AtomicUsize,
    flushes: AtomicUsize,
    largest: AtomicUsize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.counts.writes.fetch_add(1, Relaxed);
        self.counts.largest.fetch_max(buf.len(), Relaxed);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.counts.flushes.fetch_add(1, Relaxed);
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_batch_is_one_write_and_one_flush() {
    let (server, mut client) = duplex(1 << 20);
    let counts = Arc::new(Counts::default());
    let (_reader, mut writer) = halves(Counted {
        io: server,
        counts: Arc::clone(&counts),
    });
    let seen = || (counts.writes.load(Relaxed), counts.flushes.load(Relaxed));

    writer.send(&texts(1, 200)).await.unwrap();
    assert_eq!(seen(), (1, 1));
    let batch = texts(256, 200);
    writer.send(&batch).await.unwrap();
    assert_eq!(seen(), (2, 2));
    writer.send(&texts(1000, 200)).await.unwrap();
    assert_eq!(seen(), (2 + 4, 3), "204,000 bytes in chunks of 64 KiB");
    writer.send(&[]).await.unwrap();
    assert_eq!(seen().0, 6, "nothing is nothing");

    read_frame(&mut client).await.unwrap();
    for text in &batch {
        assert_eq!(read_frame(&mut client).await.unwrap(), (TEXT, text.to_vec()));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory_and_is_heard_meanwhile() {
    let (server, mut client) = duplex(1000);
    let counts = Arc::new(Counts::default());
    let (mut reader, mut writer) = halves(Counted {
        io: server,
        counts: Arc::clone(&counts),
    });
    let batch = texts(16, 65_000);
    let mut sending = Box::pin(writer.send(&batch));
    assert!(size_of_val(&*sending) < 256, "{} bytes", size_of_val(&*sending));

    let (mut client_reads, mut client_writes) = tokio::io::split(&mut client);
    for n in 0..100_u32 {
        let text = format!("message {n}");
        client_writes.write_all(&frame(TEXT, text.as_bytes())).await.unwrap();
        client_writes.write_all(&frame(PING, &n.to_be_bytes())).await.unwrap();
        let mut read = async || {
            tokio::select! {
                biased;
                _ = &mut sending => panic!("nobody reads, so it can't be sent"),
                inbound = reader.recv() => inbound.unwrap(),
            }
        };
        assert_eq!(soon(read()).await, Inbound::Text(text.into()));
        assert_eq!(soon(read()).await, Inbound::Ping);
    }
    assert!(counts.largest.load(Relaxed) <= 64 << 10);
    let writes = counts.writes.load(Relaxed);
    assert!(
        writes < 400,
        "a stuck stream is asked when something happened, not in a circle: {writes}"
    );

    let everything = async {
        let mut texts = Vec::new();
        let mut pongs = Vec::new();
        while texts.len() < 16 {
            match read_frame(&mut client_reads).await.unwrap() {
                (TEXT, payload) => texts.push(Bytes::from(payload)),
                (PONG, payload) => pongs.push((texts.len(), payload)),
                other => panic!("{other:?}"),
            }
        }
        (texts, pongs)
    };
    let (sent, (texts, pongs)) = soon(async { tokio::join!(sending, everything) }).await;
    sent.unwrap();
    assert!(texts == batch, "all of it, and no pong within a frame");
    assert_eq!(
        pongs,
        [(1, 99_u32.to_be_bytes().to_vec())],
        "the newest pong, after the frame in hand"
    );
}

#[tokio::test]
async fn pings_are_answered_without_being_asked_again() {
    let ((mut reader, mut writer), mut client) = over_tcp().await;
    client.write_all(&frame(PING, b"hello?")).await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Ping);
    assert_eq!(soon(read_frame(&mut client)).await.unwrap(), (PONG, b"hello?".to_vec()));

    assert!(writer.ping().await.unwrap());
    assert_eq!(soon(read_frame(&mut client)).await.unwrap(), (PING, Vec::new()));
    client.write_all(&frame(PONG, b"")).await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Pong);
}

#[tokio::test]
async fn messages_arrive_whole_from_fragments_and_from_single_bytes() {
    let ((mut reader, _writer), mut client) = over_tcp().await;
    let large = "x".repeat(64 << 10);
    let bytes = [
        frame(0x01, b"{\"content\""),
        frame(PING, b""),
        frame(0x00, b":"),
        frame(0x80, "\"café\"}".as_bytes()),
        frame(TEXT, large.as_bytes()),
        frame(0x82, b"binary"),
        frame(TEXT, b"last"),
    ]
    .concat();
    let sending = async move {
        let (slowly, at_once) = bytes.split_at(60);
        for byte in slowly {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.write_all(at_once).await.unwrap();
        client
    };
    let sending = tokio::spawn(sending);
    let mut got = Vec::new();
    for _ in 0..7 {
        got.push(soon(reader.recv()).await.unwrap());
    }
    let expected = [
        Inbound::Fragment,
        Inbound::Ping,
        Inbound::Fragment,
        Inbound::Text("{\"content\":\"café\"}".into()),
        Inbound::Text(large.into()),
        Inbound::Binary,
        Inbound::Text("last".into()),
    ];
    assert!(got == expected);
    let client = sending.await.unwrap();
    drop(client);
    soon(reader.recv()).await.unwrap_err();
}

#[tokio::test]
async fn bytes_behind_the_request_are_not_lost() {
    let (server, mut client) = tcp_pair().await;
    let bytes = [frame(TEXT, b"first"), frame(TEXT, b"second")].concat();
    let (early, late) = bytes.split_at(13);
    let early = Bytes::copy_from_slice(early);
    let (mut reader, _writer) = WebSocket::from_upgraded(server, early, &WsConfig::default()).split();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Text("first".into()));
    client.write_all(late).await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Text("second".into()));
}

#[tokio::test]
async fn a_client_that_sends_too_much_reads_the_1009_even_while_it_is_sending() {
    let ((mut reader, mut writer), client) = over_tcp().await;
    let serving = async move {
        assert_eq!(reader.recv().await.unwrap(), Inbound::TooLarge);
        let close = CloseFrame {
            code: 1009,
            reason: "too_large".into(),
        };
        writer.close(&close).await.unwrap();
        assert_eq!(reader.recv().await.unwrap(), Inbound::Closed);
    };
    let (mut client_reads, mut client_writes) = client.into_split();
    let talking = async move {
        client_writes
            .write_all(&frame(TEXT, &vec![b'x'; 10 << 20]))
            .await
            .unwrap();
        client_writes.write_all(&frame(TEXT, b"and more")).await.unwrap();
        let close = read_close(&mut client_reads).await;
        client_writes
            .write_all(&frame(CLOSE, &1009_u16.to_be_bytes()))
            .await
            .unwrap();
        let end = client_reads.read_u8().await.unwrap_err().kind();
        (close, end)
    };
    let ((), (close, end)) = soon(async { tokio::join!(serving, talking) }).await;
    assert_eq!(close, (1009, "too_large".into()));
    assert_eq!(end, io::ErrorKind::UnexpectedEof, "an end, not a reset");
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_so() {
    let mut reserved = frame(TEXT, b"x");
    reserved[0] |= 0x40;
    let cases = [
        (b"\x81\x02hi".to_vec(), 1002),
        (reserved, 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(PING, &[0; 126]), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
    ];
    for (bytes, code) in cases {
        let ((mut reader, mut writer), mut client) = over_tcp().await;
        client.write_all(&bytes).await.unwrap();
        // Still unread by the server when it finds the fault.
        client.write_all(&frame(TEXT, &[b'x'; 20_000])).await.unwrap();
        let talking = async {
            let close = read_close(&mut client).await;
            let end = client.read_u8().await.unwrap_err().kind();
            drop(client);
            (close, end)
        };
        let (received, (close, end)) = soon(async { tokio::join!(reader.recv(), talking) }).await;
        let error = received.unwrap_err();
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .contains("protocol")
        );
        assert_eq!(close, (code, String::new()), "{bytes:?}");
        assert_eq!(end, io::ErrorKind::UnexpectedEof);
        writer.send(&texts(1, 10)).await.unwrap_err();
    }
}

#[tokio::test]
async fn whoever_breaks_the_protocol_and_stays_is_cut_off() {
    let ((mut reader, writer), mut client) = over_tcp().await;
    client.write_all(b"\x81\x02hi").await.unwrap();
    let begun = tokio::time::Instant::now();
    soon(reader.recv()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((reader, writer));
    assert_eq!(read_close(&mut client).await.0, 1002);
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    for (payload, code) in [(&b"\x03\xe9bye"[..], 1001), (b"", 0)] {
        let ((mut reader, mut writer), mut client) = over_tcp().await;
        client.write_all(&frame(CLOSE, payload)).await.unwrap();
        assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Closed);
        assert_eq!(read_close(&mut client).await, (code, String::new()));
        writer.send(&texts(1, 10)).await.unwrap_err();
        let close = CloseFrame {
            code: 4000,
            reason: "draining".into(),
        };
        writer.close(&close).await.unwrap();
        assert_eq!(
            client.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof,
            "one close frame is all"
        );
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_behind_the_frame_that_is_stuck() {
    let ((mut reader, mut writer), mut client) = over_pipe(1000);
    let batch = texts(10, 10_000);
    client.write_all(&frame(CLOSE, b"\x03\xe8")).await.unwrap();
    let client = async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (first, payload) = read_frame(&mut client).await.unwrap();
        assert_eq!((first, payload.len()), (TEXT, 10_000));
        assert_eq!(read_frame(&mut client).await.unwrap(), (CLOSE, b"\x03\xe8".to_vec()));
    };
    // The sender first, so that it is within a frame when the close frame is read.
    let both = async { tokio::join!(biased; writer.send(&batch), reader.recv(), client) };
    let (sent, received, ()) = soon(both).await;
    sent.unwrap_err();
    assert_eq!(received.unwrap(), Inbound::Closed);
}

#[tokio::test]
async fn a_connection_whose_sender_was_given_up_ends_all_the_same() {
    let ((mut reader, mut writer), mut client) = over_pipe(1000);
    let batch = texts(1, 10_000);
    let stuck = tokio::time::timeout(Duration::from_millis(20), writer.send(&batch));
    stuck.await.unwrap_err();
    let close = CloseFrame {
        code: 4004,
        reason: "timeout".into(),
    };
    soon(writer.close(&close)).await.unwrap_err();
    client.write_all(&frame(CLOSE, b"\x03\xe8")).await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Closed);
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len(), 1000, "no close frame within the frame that was cut");
}

#[tokio::test]
async fn reasons_fit_and_no_code_panics() {
    let long = "é".repeat(100);
    let cases = [
        (4000, "draining".to_owned(), (4000, "draining".to_owned())),
        (4000, long.clone(), (4000, long[..122].to_owned())),
        (1009, "x".repeat(123), (1009, "x".repeat(123))),
        (1009, "x".repeat(124), (1009, "x".repeat(123))),
        (1006, "never sent".to_owned(), (0, String::new())),
        (0, String::new(), (0, String::new())),
        (u16::MAX, String::new(), (0, String::new())),
    ];
    for (code, reason, expected) in cases {
        let ((mut reader, mut writer), mut client) = over_tcp().await;
        let close = CloseFrame {
            code,
            reason: reason.into(),
        };
        writer.close(&close).await.unwrap();
        assert_eq!(read_close(&mut client).await, expected);
        client.write_all(&frame(TEXT, b"sent before I read it")).await.unwrap();
        drop(client);
        assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Closed);
    }
}

/// A write is given up after half a frame, and then the client reads again. Whatever is tried after must not be taken for a
/// part of that frame: the client sees the half, and the end.
#[tokio::test]
async fn nothing_is_written_into_the_middle_of_a_frame() {
    let ((_reader, mut writer), mut client) = over_pipe(100);
    let long = texts(1, 2000);
    tokio::select! {
        biased;
        _ = writer.send(&long) => panic!("it doesn't fit"),
        () = tokio::task::yield_now() => {}
    }
    writer.send(&texts(1, 3)).await.unwrap_err();
    writer.ping().await.unwrap_err();
    let close = CloseFrame {
        code: 4004,
        reason: "timeout".into(),
    };
    writer.close(&close).await.unwrap_err();
    let mut seen = Vec::new();
    soon(client.read_to_end(&mut seen)).await.unwrap();
    assert_eq!(seen.len(), 100);
    assert!(seen[4..].iter().all(|byte| *byte == b'0'), "{seen:?}");
}

/// The same through the hub: the client pauses for longer than a write may take, and then reads on.
#[tokio::test(start_paused = true)]
async fn a_goodbye_is_not_written_into_the_middle_of_a_frame() {
    let hub = Hub::builder(MemoryStore::new(), OpenPolicy).build().unwrap();
    let (server, mut client) = duplex(2000);
    let ws = WebSocket::from_upgraded(server, Bytes::new(), &WsConfig::default());
    let (ann, room) = (User::named("ann").unwrap(), RoomId::new("r").unwrap());
    let task = tokio::spawn({
        let (hub, ann, room) = (hub.clone(), ann.clone(), room.clone());
        async move { hub.serve(Client::v1(ann).room(room), ws).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(read_frame(&mut client).await.unwrap().0, TEXT);
    hub.publish(&room, &ann, Draft::text("m".repeat(2000))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut seen = Vec::new();
    soon(client.read_to_end(&mut seen)).await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().code, Some(CloseCode::Timeout));
    let text = String::from_utf8_lossy(&seen);
    assert!(text.ends_with("mmm") && !text.contains("bye"), "{text}");
}

#[tokio::test]
async fn an_end_without_a_goodbye_is_an_error() {
    let ((mut reader, _writer), client) = over_tcp().await;
    drop(client);
    soon(reader.recv()).await.unwrap_err();
}

#[tokio::test]
async fn a_client_of_another_make_understands_everything() {
    let (server, client) = tcp_pair().await;
    let (mut reader, mut writer) = halves(server);
    let echo = tokio::spawn(async move {
        loop {
            match reader.recv().await.unwrap() {
                Inbound::Text(text) => writer.send(&[text.clone(), text]).await.unwrap(),
                Inbound::Closed => return,
                _ => {}
            }
        }
    });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    for length in [0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536] {
        let text = Message::text("é".repeat(length / 2));
        client.send(text.clone()).await.unwrap();
        client.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
        let mut texts = 0;
        while texts < 2 {
            match soon(client.next()).await.unwrap().unwrap() {
                Message::Pong(payload) => assert_eq!(payload, vec![1, 2, 3]),
                got => {
                    assert_eq!(got, text);
                    texts += 1;
                }
            }
        }
    }
    client.close(None).await.unwrap();
    while let Some(message) = soon(client.next()).await {
        message.unwrap();
    }
    echo.await.unwrap();
}

#[tokio::test]
async fn a_message_without_an_end_is_heard_piece_by_piece() {
    let ((mut reader, _writer), mut client) = over_tcp().await;
    client.write_all(&frame(0x01, b"")).await.unwrap();
    client.write_all(&frame(0x00, b"").repeat(5000)).await.unwrap();
    for _ in 0..5001 {
        // Whoever waits for a message can count what comes in its place, and act.
        assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Fragment);
    }
    client.write_all(&frame(0x80, b"the end")).await.unwrap();
    assert_eq!(soon(reader.recv()).await.unwrap(), Inbound::Text("the end".into()));
}
