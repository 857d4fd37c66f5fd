//! Names, cursors, the path and the query of a request, and the page that it comes from: each compared with its rule, and what
//! is accepted written and read once more. Each line of the input is one text; the `Origin` and `Host` headers are two.

#![no_main]

use std::fmt::Debug;
use std::str::FromStr;

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use http::uri::{Authority, Uri};
use libfuzzer_sys::fuzz_target;
use roomcast_core::{
    Cursor, Epoch, ErrorCode, InvalidName, MAX_SEQ, MessageId, Nonce, Refusal, RoomId, Start, Timestamp, UserId,
    UserName,
};
use roomcast_ws::{Origins, fuzz};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n') {
        names(line);
        cursor(line);
        query(line);
        presence(line);
        path(line);
    }
    let (origin, host) = text.split_once('\n').unwrap_or((&text, ""));
    page(origin, host);
});

/// What is written of a value is read as the same, and what is said of a wrong text is short.
fn round_trip<T: FromStr<Err = InvalidName> + ToString + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse().as_ref(), Ok(&value), "{text:?}");
            Some(value)
        }
        Err(error) => {
            // Quoting may write one character as ten.
            assert!((1..=1000).contains(&error.to_string().chars().count()), "{error}");
            None
        }
    }
}

fn names(text: &str) {
    let count = text.chars().count();
    let rule = |most: usize, allowed: &dyn Fn(char) -> bool| (1..=most).contains(&count) && text.chars().all(allowed);
    let printable = |c: char| !c.is_control();
    let room = |c: char| printable(c) && !c.is_whitespace() && !"/\\?#%".contains(c);
    let epoch = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert_eq!(
        round_trip::<RoomId>(text).is_some(),
        rule(128, &room),
        "{text:?} as a room"
    );
    assert_eq!(
        round_trip::<UserId>(text).is_some(),
        rule(128, &printable),
        "{text:?} as a user"
    );
    assert_eq!(
        round_trip::<UserName>(text).is_some(),
        rule(128, &printable),
        "{text:?} as a name"
    );
    assert_eq!(
        round_trip::<Nonce>(text).is_some(),
        rule(64, &|_| true),
        "{text:?} as a nonce"
    );
    assert_eq!(
        round_trip::<Epoch>(text).is_some(),
        rule(32, &epoch),
        "{text:?} as an epoch"
    );
    if let Some(id) = round_trip::<MessageId>(text) {
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        assert_eq!(MessageId::from_u128(id.as_u128()), id);
        assert!(
            hex.to_lowercase().ends_with(&format!("{:032x}", id.as_u128())),
            "{text:?} is {id}"
        );
    }
    if let Some(time) = round_trip::<Timestamp>(text) {
        assert_eq!(Timestamp::from_millis(time.as_millis()), time);
    }
}

/// A number in digits, up to a bound, however many zeros come first.
fn number(digits: &str, most: u64) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let significant = digits.trim_start_matches('0');
    if !all || significant.len() > 20 {
        return None;
    }
    let number = significant
        .bytes()
        .fold(0_u128, |number, digit| number * 10 + u128::from(digit - b'0'));
    u64::try_from(number).ok().filter(|number| *number <= most)
}

fn described_cursor(text: &str) -> Option<Cursor> {
    let (epoch, seq) = text.split_once(':')?;
    Some(Cursor {
        epoch: Epoch::new(epoch).ok()?,
        seq: number(seq, MAX_SEQ)?,
    })
}

fn cursor(text: &str) {
    assert_eq!(
        round_trip::<Cursor>(text),
        described_cursor(text),
        "{text:?} as a cursor"
    );
}

/// Takes percent-encoding off, as URLs have it: what is no two hexadecimal digits stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes
            .get(at + 1..at + 3)
            .filter(|pair| bytes[at] == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        match pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn is_refused<T: Debug>(found: Result<T, Refusal>, codes: &[ErrorCode], text: &str) {
    let refusal = found.expect_err(text);
    assert!(codes.contains(&refusal.code), "{text:?}: {refusal:?}");
    assert!(
        !refusal.message.is_empty() && refusal.message.chars().count() <= 1000,
        "{refusal:?}"
    );
    serde_json::from_str::<serde_json::Value>(&refusal.to_json()).expect("the answer's body is JSON");
}

fn query(text: &str) {
    let mut described = Some(Vec::new());
    for pair in text.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        let value = String::from_utf8_lossy(&value);
        let start = match key {
            "since" => described_cursor(&value).map(Start::Since),
            // An empty count is none.
            "last" => number(&value, u64::MAX).map(|count| Start::Last(count as usize)),
            _ => continue,
        };
        described = described.zip(start).map(|(mut starts, start)| {
            starts.push(start);
            starts
        });
    }
    let found = fuzz::start(text);
    match described {
        Some(starts) if starts.len() < 2 => {
            let start = starts.into_iter().next().unwrap_or_default();
            assert_eq!(found.as_ref(), Ok(&start), "{text:?} as a query");
            let again = match &start {
                Start::Live => String::new(),
                Start::Since(cursor) => format!("a&since={}", encoded(&cursor.to_string())),
                Start::Last(count) => format!("last={count}"),
            };
            assert_eq!(fuzz::start(&again), Ok(start), "{again}");
        }
        _ => is_refused(found, &[ErrorCode::BadRequest], text),
    }
}

fn presence(text: &str) {
    let given: Vec<_> = text
        .split('&')
        .filter_map(|pair| match pair.split_once('=').unwrap_or((pair, "")) {
            ("presence", value) => Some(value),
            _ => None,
        })
        .collect();
    match (fuzz::presence(text), &given[..]) {
        (found, [] | ["0"]) => assert_eq!(found, Ok(false), "{text:?}"),
        (found, ["1"]) => assert_eq!(found, Ok(true), "{text:?}"),
        (Ok(_), _) => panic!("{text:?} says {given:?}"),
        (Err(refusal), _) => assert_eq!(refusal.code, ErrorCode::BadRequest, "{text:?}"),
    }
}

fn path(text: &str) {
    let found = fuzz::room_of_path(text);
    let described = match text.strip_prefix("/ws") {
        Some("") => Some(None),
        Some(rest) if rest.starts_with('/') => {
            let room = String::from_utf8(decoded(&rest[1..])).ok();
            room.and_then(|room| RoomId::new(room).ok())
                .filter(|_| !rest[1..].contains('/'))
                .map(Some)
        }
        _ => None,
    };
    match described {
        Some(room) => {
            if let Some(room) = &room {
                let again = fuzz::room_of_path(&format!("/ws/{}", encoded(room.as_str())));
                assert_eq!(again.as_ref(), Ok(&Some(room.clone())));
            }
            assert_eq!(found, Ok(room), "{text:?} as a path");
        }
        None => is_refused(found, &[ErrorCode::BadRequest, ErrorCode::NotFound], text),
    }
}

/// Host and port as a library for URLs reads them; the port that the scheme has by itself counts as none.
fn host_and_port(authority: &Authority, scheme: &str) -> (String, Option<u16>) {
    let default = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => 0,
    };
    let port = authority.port_u16().filter(|port| *port != default);
    (authority.host().to_ascii_lowercase(), port)
}

fn page(origin: &str, host: &str) {
    let listed = Origins::only([origin]);
    let (Ok(origin_header), Ok(host_header)) = (HeaderValue::from_str(origin.trim()), HeaderValue::from_str(host))
    else {
        return;
    };
    let headers = HeaderMap::from_iter([(ORIGIN, origin_header), (HOST, host_header)]);
    assert!(Origins::any().allows(&headers));
    match listed {
        Ok(list) => {
            assert!(list.allows(&headers), "{origin:?} is listed");
            let other = Origins::only(["https://no-page-has-this-name.example"]).expect("an origin");
            assert!(!other.allows(&headers) || origin.to_ascii_lowercase().contains("no-page-has-this-name.example"));
        }
        Err(error) => {
            assert!(error.to_string().contains("is no origin"), "{error}");
            assert!(
                !Origins::same().allows(&headers),
                "{origin:?} is no origin, and let in at {host:?}"
            );
        }
    }
    if Origins::same().allows(&headers) {
        let (page, server) = (origin.trim().parse::<Uri>(), host.parse::<Authority>());
        if let (Ok(page), Ok(server)) = (page, server)
            && let (Some(authority), Some(scheme)) = (page.authority(), page.scheme_str())
        {
            let scheme = scheme.to_ascii_lowercase();
            let (page, server) = (host_and_port(authority, &scheme), host_and_port(&server, &scheme));
            assert_eq!(page, server, "a page of {origin:?} is let in at {host:?}");
        }
    }
    if Origins::same_at(["localhost", "[::1]"]).allows(&headers) {
        let host = host.to_ascii_lowercase();
        assert!(
            host.starts_with("localhost") || host.starts_with("[::1]"),
            "{host:?} is none of the names"
        );
        assert!(
            Origins::same().allows(&headers),
            "the names only bound what is the same"
        );
    }
}
