//! A WebSocket on a stream in memory: whatever the client sends, in whatever pieces it comes, is what a plain reader makes of all
//! the bytes at once; and what the server sends back is whole frames, with the goodbye that RFC 6455 asks for.

#![no_main]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomcast_core::{CloseFrame, Connection, ConnectionReader, ConnectionWriter, Inbound};
use roomcast_fuzz::peak;
use roomcast_fuzz::websocket::{Frame, Seen, described, split_frames};
use roomcast_ws::{WebSocket, WsConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;

#[derive(Debug, Arbitrary)]
struct Input {
    /// The largest message.
    limit: u16,
    /// What the stream holds in each direction.
    window: u16,
    /// How much of it was read behind the request.
    leftover: u8,
    /// The sizes of the pieces in which the rest comes, over and over.
    pieces: Vec<u8>,
    /// What the server sends meanwhile: the lengths of its texts, in batches.
    batches: Vec<Vec<u16>>,
    ping: bool,
    /// The server gives a batch up after so many turns.
    give_up: Option<u8>,
    /// The server says goodbye after so many things that the client did.
    close_after: Option<u8>,
    sent: Vec<Part>,
}

#[derive(Debug, Arbitrary)]
enum Part {
    /// A frame as it should be: its first byte and its payload.
    Frame {
        first: u8,
        mask: [u8; 4],
        payload: Vec<u8>,
    },
    /// The beginning of one: its second byte and what follows may be anything.
    Head {
        first: u8,
        second: u8,
        length: u64,
    },
    Bytes(Vec<u8>),
}

impl Part {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Frame { first, mask, payload } => {
                out.push(*first);
                match payload.len() {
                    length @ 0..126 => out.push(0x80 | length as u8),
                    length => {
                        out.push(0x80 | 126);
                        out.extend((length as u16).to_be_bytes());
                    }
                }
                out.extend(mask);
                out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            }
            Self::Head { first, second, length } => {
                out.extend([*first, *second]);
                out.extend(length.to_be_bytes());
            }
            Self::Bytes(bytes) => out.extend(bytes),
        }
    }
}

/// What the server's side came to.
#[derive(Default)]
struct Server {
    seen: Vec<Seen>,
    sent: usize,
    pinged: usize,
    said_goodbye: bool,
    given_up: bool,
}

/// One poll allocates no more than what came so far explains.
async fn within_bounds<T>(work: impl Future<Output = T>, came: usize) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let (ready, bytes) = peak(|| work.as_mut().poll(cx));
        assert!(
            bytes <= 2 * came + (16 << 10),
            "{bytes} bytes for the {came} that came at most"
        );
        ready
    })
    .await
}

async fn serve(input: &Input, stream: DuplexStream, leftover: Bytes, texts: &[Vec<Bytes>], came: usize) -> Server {
    let mut config = WsConfig::default();
    config.message_bytes = usize::from(input.limit).max(1);
    config.write_chunk = usize::from(input.window).max(1);
    let (mut reader, mut writer) = WebSocket::from_upgraded(stream, leftover, &config).split();
    let mut server = Server::default();
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let next = within_bounds(reader.recv(), came).await;
            let next = match next {
                Ok(Inbound::Text(text)) => Seen::Text(text.to_vec()),
                Ok(Inbound::Fragment) => Seen::Fragment,
                Ok(Inbound::Binary) => Seen::Binary,
                Ok(Inbound::TooLarge) => Seen::TooLarge,
                Ok(Inbound::Ping) => Seen::Ping,
                Ok(Inbound::Pong) => Seen::Pong,
                Ok(Inbound::Closed) => Seen::Closed,
                Ok(other) => unreachable!("{other:?}"),
                Err(_) => Seen::Broken,
            };
            let ended = matches!(next, Seen::Closed | Seen::Broken);
            seen.push(next);
            if ended {
                return seen;
            }
        }
    };
    let writing = async {
        let (mut sent, mut pinged, mut given_up, mut said_goodbye) = (0, 0, false, false);
        for batch in texts {
            let done = match input.give_up {
                None => writer.send(batch).await,
                Some(turns) => {
                    let turns = async {
                        for _ in 0..turns {
                            yield_now().await;
                        }
                    };
                    tokio::select! {
                        biased;
                        done = writer.send(batch) => done,
                        () = turns => {
                            given_up = true;
                            break;
                        }
                    }
                }
            };
            if done.is_err() {
                break;
            }
            sent += batch.len();
        }
        if input.ping && !given_up {
            pinged += usize::from(writer.ping().await.is_ok());
        }
        if let Some(turns) = input.close_after {
            for _ in 0..turns {
                yield_now().await;
            }
            said_goodbye = true;
            let close = CloseFrame {
                code: 4000,
                reason: "draining".into(),
            };
            let _ = writer.close(&close).await;
        }
        (sent, pinged, given_up, said_goodbye)
    };
    let (seen, (sent, pinged, given_up, said_goodbye)) = tokio::join!(reading, writing);
    server.seen = seen;
    (server.sent, server.pinged, server.given_up, server.said_goodbye) = (sent, pinged, given_up, said_goodbye);
    server
}

/// Sends all of it, and takes everything that the server sends to its end.
async fn visit(stream: DuplexStream, bytes: &[u8], pieces: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let send = async {
        let mut rest = bytes;
        for size in pieces
            .iter()
            .map(|size| usize::from(*size).max(1))
            .chain([usize::MAX])
            .cycle()
        {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            if to.write_all(piece).await.is_err() {
                return;
            }
            rest = after;
            yield_now().await;
        }
        let _ = to.shutdown().await;
    };
    let take = async {
        let mut came = Vec::new();
        let _ = from.read_to_end(&mut came).await;
        came
    };
    tokio::join!(send, take).1
}

fuzz_target!(|input: Input| {
    let mut bytes = Vec::new();
    for part in &input.sent {
        part.write(&mut bytes);
    }
    let leftover = usize::from(input.leftover).min(bytes.len());
    // Few and short, since a narrow stream takes each byte by itself.
    let batches = input.batches.iter().take(4);
    let texts: Vec<Vec<Bytes>> = batches.map(|batch| batch.iter().take(4).map(text).collect()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let (server, came) = runtime.expect("a runtime").block_on(async {
        let (ours, theirs) = tokio::io::duplex(usize::from(input.window).max(1));
        let first = Bytes::copy_from_slice(&bytes[..leftover]);
        let serve = serve(&input, ours, first, &texts, bytes.len());
        let visit = visit(theirs, &bytes[leftover..], &input.pieces);
        let both = async { tokio::join!(serve, visit) };
        tokio::time::timeout(Duration::from_secs(60), both)
            .await
            .expect("the connection ends")
    });
    let description = described(&bytes, usize::from(input.limit).max(1));
    if server.said_goodbye {
        // From then on only the client's goodbye is looked for; before, all is as ever.
        let same = server
            .seen
            .iter()
            .zip(&description.seen)
            .take_while(|(seen, described)| seen == described)
            .count();
        let rest = &server.seen[same..];
        let quiet = |seen: &Seen| matches!(seen, Seen::Ping | Seen::Pong | Seen::Closed | Seen::Broken);
        assert!(rest.iter().all(quiet), "{rest:?} after {:?}", &description.seen[..same]);
    } else {
        assert_eq!(server.seen, description.seen);
    }
    check_sent(&input, &server, &description, &came, &texts.concat());
});

fn text(length: &u16) -> Bytes {
    vec![b'a' + (length % 26) as u8; usize::from(length % 600)].into()
}

/// What the client got: whole frames, all that was sent in order, answers to pings, and one goodbye behind all else.
fn check_sent(
    input: &Input,
    server: &Server,
    description: &roomcast_fuzz::websocket::Description,
    came: &[u8],
    texts: &[Bytes],
) {
    let (frames, cut) = split_frames(came);
    // An answer to a ping may be under way when the client ends without a word.
    let answering = description.goodbye.is_none() && cut.first() == Some(&0x8a);
    assert!(
        cut.is_empty() || server.given_up || answering,
        "a frame was cut off: {cut:?}"
    );
    let mut texts = texts.iter();
    let (mut got, mut pongs, mut pings, mut closes) = (0, Vec::new(), 0, Vec::new());
    for frame in &frames {
        assert!(closes.is_empty(), "{frame:?} behind the goodbye");
        match frame {
            Frame { first: 0x81, payload } => {
                assert_eq!(Some(&payload[..]), texts.next().map(|text| &text[..]));
                got += 1;
            }
            Frame { first: 0x89, payload } => {
                assert!(payload.is_empty());
                pings += 1;
            }
            Frame { first: 0x8a, payload } => pongs.push(payload.clone()),
            Frame { first: 0x88, payload } => closes.push(payload.clone()),
            frame => panic!("a server sends no {frame:?}"),
        }
    }
    assert!(got >= server.sent, "{got} of {} texts came", server.sent);
    // Behind a goodbye nobody is pinged any more.
    assert!(pings == server.pinged || !closes.is_empty(), "{pings} pings");
    // Some may be skipped for newer ones; none is made up or comes twice.
    let mut asked = description.pings.iter();
    for pong in &pongs {
        assert!(
            asked.any(|ping| ping == pong),
            "{pong:?} is no answer to {:?}",
            description.pings
        );
    }
    let idle = input.batches.is_empty() && !input.ping && input.close_after.is_none();
    if idle && usize::from(input.window) > 130 * description.pings.len() + 130 {
        assert_eq!(pongs, description.pings, "an idle server answers each");
    }
    if !server.said_goodbye && !server.given_up {
        assert_eq!(closes.pop(), description.goodbye, "the goodbye");
    }
}
