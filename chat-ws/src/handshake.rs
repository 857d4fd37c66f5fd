//! The way from an HTTP request to a WebSocket: the same for every entrance.

use std::time::Duration;

use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use roomcast_core::{Client, ErrorCode, Hub, Protocol, Refusal, RoomId, Start};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use crate::Visitor;
use crate::origin::{Origins, Page};
use crate::upgraded;

/// The HTTP answer to a request that is turned down: `{"error":"code","message":"…"}` with the status that fits, and
/// `Retry-After` where time helps.
///
/// ```
/// # use roomcast_core::{ErrorCode, Refusal};
/// let answer = roomcast_ws::refusal_response(&Refusal::new(ErrorCode::Unauthenticated, "sign in first"));
/// assert_eq!(answer.status(), 401);
/// ```
#[must_use]
pub fn refusal_response(refusal: &Refusal) -> Response<String> {
    let status = StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(refusal.to_json());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(after) = refusal.retry_after {
        // Whole seconds, and never too early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
    }
    response
}

/// Why a request is no handshake.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// HTTP's own 405.
    Method,
    /// HTTP's own 426, which names the version that is spoken.
    Version,
    Refused(Refusal),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Rejection> for Response<String> {
    fn from(rejection: Rejection) -> Self {
        let (status, (name, value), message): (_, (HeaderName, _), _) = match rejection {
            Rejection::Refused(refusal) => return refusal_response(&refusal),
            Rejection::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                (ALLOW, "GET"),
                "a WebSocket is opened with GET",
            ),
            Rejection::Version => (
                StatusCode::UPGRADE_REQUIRED,
                (SEC_WEBSOCKET_VERSION, "13"),
                "the WebSocket version is 13",
            ),
        };
        let mut response = refusal_response(&bad_request(message));
        *response.status_mut() = status;
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}

pub(crate) fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// The room of `/ws` (none) and `/ws/{room_id}`.
pub(crate) fn room_of_path(path: &str) -> Result<Option<RoomId>, Refusal> {
    match path.strip_prefix("/ws") {
        Some("") => Ok(None),
        Some(rest) if rest.starts_with('/') && !rest[1..].contains('/') => {
            let decoded = percent_decode_str(&rest[1..])
                .decode_utf8()
                .map_err(|_| bad_request("the room id isn't UTF-8"))?;
            room_of_text(&decoded).map(Some)
        }
        _ => Err(Refusal::new(
            ErrorCode::NotFound,
            "there is nothing here; the chat is at /ws/{room_id}",
        )),
    }
}

pub(crate) fn room_of_text(text: &str) -> Result<RoomId, Refusal> {
    RoomId::new(text).map_err(|error| bad_request(error.to_string()))
}

/// A request to open a WebSocket, checked in everything but its origin and its room.
#[derive(Debug)]
pub(crate) struct Opening {
    accept: HeaderValue,
    protocol: Protocol,
    start: Start,
    presence: bool,
    page: Page,
    upgrade: OnUpgrade,
}

impl Opening {
    /// Takes what is needed out of a request, the right to upgrade it included.
    pub(crate) fn of_request<B>(request: &mut Request<B>) -> Result<Self, Rejection> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        Self::new(
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
            upgrade,
        )
    }

    /// The same for a request that is already without its body.
    #[cfg(any(feature = "axum", feature = "listener"))]
    pub(crate) fn of_parts(parts: &mut http::request::Parts) -> Result<Self, Rejection> {
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        Self::new(&parts.method, &parts.uri, parts.version, &parts.headers, upgrade)
    }

    fn new(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Self, Rejection> {
        if method != Method::GET {
            return Err(Rejection::Method);
        }
        if version != Version::HTTP_11 {
            return Err(bad_request("a WebSocket is opened over HTTP/1.1").into());
        }
        if headers.get_all(HOST).iter().count() != 1 {
            return Err(bad_request("a request has one Host header").into());
        }
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
            return Err(bad_request("this is a WebSocket, and the request doesn't ask for the upgrade").into());
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Rejection::Version);
        }
        let key = match headers.get(SEC_WEBSOCKET_KEY) {
            Some(key) if is_key(key.as_bytes()) => key,
            _ => return Err(bad_request("Sec-WebSocket-Key isn't 16 bytes in base64").into()),
        };
        let Some(upgrade) = upgrade else {
            return Err(bad_request("this connection can't be upgraded").into());
        };
        let v1 = items(headers, &SEC_WEBSOCKET_PROTOCOL).any(|name| name == Protocol::V1_NAME);
        Ok(Self {
            accept: HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
                .map_err(|_| bad_request("Sec-WebSocket-Key makes no sense"))?,
            protocol: if v1 { Protocol::V1 } else { Protocol::Plain },
            start: start(uri.query().unwrap_or_default())?,
            presence: presence(uri.query().unwrap_or_default())?,
            page: Page::of(headers),
            upgrade,
        })
    }

    /// Checks the page's origin; `tls` says whether this server itself speaks it. Apart from the rest, so that nobody has to sign in first to be told.
    pub(crate) fn check_origin(&self, origins: &Origins, tls: bool) -> Result<(), Refusal> {
        if origins.allow(&self.page, tls) {
            Ok(())
        } else {
            let text = "pages of this origin may not connect";
            Err(Refusal::new(ErrorCode::BadOrigin, text))
        }
    }

    /// Lets the visitor in and answers with the 101, behind which the hub serves the connection in a task of its own; or
    /// answers with what was wrong.
    pub(crate) async fn enter(
        self,
        hub: &Hub,
        visitor: Visitor,
        room: Option<RoomId>,
        deadline: Instant,
    ) -> Response<String> {
        match self.try_enter(hub, visitor, room, deadline).await {
            Ok(response) => response,
            Err(refusal) => {
                debug!(code = refusal.code.as_str(), %refusal, "a client was turned down");
                refusal_response(&refusal)
            }
        }
    }

    async fn try_enter(
        self,
        hub: &Hub,
        visitor: Visitor,
        room: Option<RoomId>,
        deadline: Instant,
    ) -> Result<Response<String>, Refusal> {
        let limits = hub.limits();
        let most = limits.history_page_max;
        if matches!(self.start, Start::Last(count) if count > most) {
            return Err(bad_request(format!("last is at most {most}")));
        }
        let mut client = match (self.protocol, room) {
            (Protocol::Plain, Some(room)) => Client::plain(visitor.user, room),
            (Protocol::Plain, None) => {
                let text = "without a room, the subprotocol chat.v1.json is needed";
                return Err(bad_request(text));
            }
            (Protocol::V1, Some(room)) => Client::v1(visitor.user).room(room),
            (Protocol::V1, None) => Client::v1(visitor.user),
        };
        client = client.start(self.start).presence(self.presence);
        if let Some(address) = visitor.remote {
            client = client.remote(address);
        }
        if let Some(span) = visitor.expires_in {
            client = client.expires_in(span);
        }
        let admission = timeout_at(deadline, hub.admit(client))
            .await
            .map_err(|_| too_late())??;

        let (upgrade, patience, waiting) = (self.upgrade, limits.handshake, hub.clone());
        hub.spawn(async move {
            match timeout(patience, upgrade).await {
                Ok(Ok(upgraded)) => upgraded::serve(&waiting, admission, upgraded),
                Ok(Err(error)) => debug!(%error, "the upgrade failed"),
                Err(_) => debug!("the upgrade never came"),
            }
        });

        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.protocol == Protocol::V1 {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(Protocol::V1_NAME));
        }
        Ok(response)
    }
}

/// The answer where somebody who was asked didn't answer in time.
pub(crate) fn too_late() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the server took too long").retry_after(Duration::from_secs(1))
}

/// The items of a header that holds a list, over all its lines.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// 16 bytes in base64: 22 characters and two signs of padding.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_base64) && key.ends_with(b"==")
}

/// Where the first room begins: `since=EPOCH:SEQ`, `last=N` or neither. Other keys belong to the embedding server.
pub(crate) fn start(query: &str) -> Result<Start, Refusal> {
    let mut start = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        let found = match key {
            "since" => value.parse().map(Start::Since).map_err(|error| error.to_string()),
            "last" => count(&value)
                .map(Start::Last)
                .ok_or_else(|| "last is not a number".to_owned()),
            _ => continue,
        };
        if start.replace(found.map_err(bad_request)?).is_some() {
            return Err(bad_request(
                "since and last are given at most once, and only one of them",
            ));
        }
    }
    Ok(start.unwrap_or_default())
}

/// Whether the client is told who is in the first room: `presence=1`, or `presence=0`.
pub(crate) fn presence(query: &str) -> Result<bool, Refusal> {
    let mut presence = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != "presence" {
            continue;
        }
        let wanted = match value {
            "0" => false,
            "1" => true,
            _ => return Err(bad_request("presence is 0 or 1")),
        };
        if presence.replace(wanted).is_some() {
            return Err(bad_request("presence is given at most once"));
        }
    }
    Ok(presence.unwrap_or_default())
}

/// A count in digits alone; `usize::from_str` would take a sign.
fn count(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_from_the_path() {
        let room = |path| room_of_path(path).map(|room| room.map(|room| room.to_string()));
        assert_eq!(room("/ws"), Ok(None));
        assert_eq!(room("/ws/lobby"), Ok(Some("lobby".into())));
        assert_eq!(room("/ws/caf%C3%A9%40x"), Ok(Some("café@x".into())));
        for path in ["/", "/wsx", "/ws/a/b", "/ws//", "/chat/ws/a"] {
            assert_eq!(room(path).unwrap_err().code, ErrorCode::NotFound, "{path}");
        }
        let long = format!("/ws/{}", "a".repeat(129));
        for path in ["/ws/", "/ws/a%2Fb", "/ws/a%20b", "/ws/%ff", "/ws/%zz", long.as_str()] {
            assert_eq!(room(path).unwrap_err().code, ErrorCode::BadRequest, "{path}");
        }
    }

    #[test]
    fn the_query_says_where_to_begin() {
        assert_eq!(start(""), Ok(Start::Live));
        assert_eq!(start("token=abc&x"), Ok(Start::Live));
        assert_eq!(start("last=0"), Ok(Start::Last(0)));
        assert_eq!(start("a=b&last=200"), Ok(Start::Last(200)));
        let cursor = Start::Since("e1:41".parse().unwrap());
        assert_eq!(start("since=e1:41"), Ok(cursor.clone()));
        assert_eq!(start("since=e1%3A41&z"), Ok(cursor));
        for query in [
            "last=",
            "last",
            "last=-1",
            "last=+1",
            "last=x",
            "last=99999999999999999999",
            "since=",
            "since=e1",
            "since=%ff:1",
            "since=e1:1&last=1",
            "last=1&last=1",
        ] {
            assert_eq!(start(query).unwrap_err().code, ErrorCode::BadRequest, "{query}");
        }
    }

    #[test]
    fn the_query_says_whether_presence_is_wanted() {
        for (query, wanted) in [("", false), ("last=1&presence=0", false), ("a&presence=1&b", true)] {
            assert_eq!(presence(query), Ok(wanted), "{query}");
        }
        for query in [
            "presence",
            "presence=",
            "presence=true",
            "presence=2",
            "presence=1&presence=1",
        ] {
            assert_eq!(presence(query).unwrap_err().code, ErrorCode::BadRequest, "{query}");
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let refusal = Refusal::new(ErrorCode::RateLimited, "slowly").retry_after(Duration::from_millis(1200));
        let response = refusal_response(&refusal);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.body(), r#"{"error":"rate_limited","message":"slowly"}"#);
    }
}
