//! The routes: the chat's WebSocket, the HTTP API, health and metrics, and the page.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router, body::Bytes};
use metrics_exporter_prometheus::PrometheusHandle;
use roomcast_core::{
    Draft, ErrorCode, HistoryPage, HistoryRange, Hub, JsonObject, Message, MessageId, Nonce, Receipt, Refusal, RoomId,
    User,
};
use roomcast_ws::{ChatUpgrade, Origins};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answers::Answers;
use crate::health;
use crate::identity::Visitor;
use crate::meter::Meter;

#[derive(Clone)]
struct Server {
    hub: Hub,
    origins: Origins,
    metrics: PrometheusHandle,
    meter: Arc<Meter>,
    answers: Answers,
}

pub(crate) fn routes(hub: Hub, origins: Origins, metrics: PrometheusHandle) -> Router {
    let meter = Arc::new(Meter::new(hub.limits().rate));
    // Escapes in JSON take up to six bytes a character.
    let body = 6 * hub.limits().message_bytes + 4096;
    Router::new()
        // Any method: what a handshake needs, the handshake says, and always alike.
        .route("/ws", any(enter))
        .route("/ws/{room}", any(enter_room))
        .route("/api/rooms", get(rooms))
        .route("/api/rooms/{room}/messages", get(history).post(send))
        .route("/api/rooms/{room}/members", get(members))
        .route("/api/rooms/{room}/search", get(search))
        .route("/livez", get(health::live))
        .route(
            "/readyz",
            get(async |State(server): State<Server>| health::ready(server.hub).await),
        )
        .route(
            "/healthz",
            get(async |State(server): State<Server>| health::health(server.hub).await),
        )
        .route(
            "/metrics",
            get(async |State(server): State<Server>| server.render_metrics()),
        )
        .merge(crate::page::routes(&hub, &origins))
        .fallback(async || Refused(Refusal::new(ErrorCode::NotFound, "there is nothing at this path")))
        .method_not_allowed_fallback(async || {
            let refusal = Refusal::new(ErrorCode::BadRequest, "this path doesn't know that method");
            (
                StatusCode::METHOD_NOT_ALLOWED,
                Json(json!({ "error": "bad_request", "message": refusal.message })),
            )
        })
        .layer(DefaultBodyLimit::max(body))
        .with_state(Server {
            hub,
            origins,
            metrics,
            meter,
            answers: Answers::new(),
        })
}

impl Server {
    fn count(&self, visitor: Visitor) -> Result<Asking, Refused> {
        self.meter.count(visitor.caller, Instant::now())?;
        Ok(Asking(visitor.user))
    }

    fn render_metrics(&self) -> impl IntoResponse + use<> {
        // Only the runtime knows it, and says so when it is asked.
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        metrics::gauge!("chat_server_tasks").set(tasks as f64);
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            self.metrics.render(),
        )
    }
}

/// Who asks, if it isn't too often.
struct Asking(User);

impl FromRequestParts<Server> for Asking {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refused> {
        server.count(Visitor::from_request_parts(parts, server).await?)
    }
}

async fn enter(State(server): State<Server>, chat: ChatUpgrade, visitor: Visitor) -> Response {
    chat.origins(server.origins).serve(&server.hub, visitor.user).await
}

async fn enter_room(
    State(server): State<Server>,
    chat: ChatUpgrade,
    visitor: Visitor,
    RoomPath(room): RoomPath,
) -> Response {
    chat.room(room.as_str())
        .origins(server.origins)
        .serve(&server.hub, visitor.user)
        .await
}

#[derive(Deserialize)]
struct RoomsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn rooms(
    State(server): State<Server>,
    Asking(_): Asking,
    query: Result<Query<RoomsQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    const MOST: usize = 1000;
    let Query(query) = query?;
    let after = query.after.map(room_id).transpose()?;
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(bad(format!("limit is {limit}; allowed are 1 to {MOST}")));
    }
    // One more than asked for tells whether there are more.
    let found = server.hub.rooms(after.as_ref(), limit + 1).await?;
    let more = found.len() > limit;
    let rooms: Vec<_> = found
        .into_iter()
        .take(limit)
        .map(|room| {
            let online = server.hub.room(room.id.clone()).online();
            json!({ "id": room.id, "head": room.head.head, "online": online })
        })
        .collect();
    Ok(server.answers.json(&json!({ "rooms": rooms, "more": more }))?)
}

async fn members(
    State(server): State<Server>,
    Asking(user): Asking,
    RoomPath(room): RoomPath,
) -> Result<Response, Refused> {
    let presence = server.hub.room(room).as_user(user).presence().await?;
    let (online, users, more) = (presence.online, presence.users, presence.more);
    Ok(server
        .answers
        .json(&json!({ "online": online, "users": users, "more": more }))?)
}

#[derive(Deserialize)]
struct HistoryQuery {
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn history(
    State(server): State<Server>,
    Asking(user): Asking,
    RoomPath(room): RoomPath,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query?;
    let range = match (query.before, query.after) {
        (None, None) => HistoryRange::Newest,
        (Some(before), None) => HistoryRange::Before(before),
        (None, Some(after)) => HistoryRange::After(after),
        (Some(_), Some(_)) => return Err(bad("at most one of before and after may be given")),
    };
    let room = server.hub.room(room).as_user(user);
    let page = room.history(range, query.limit).await?;
    Ok(server.answers.json(&Page::from(page))?)
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    before: Option<u64>,
    limit: Option<usize>,
}

async fn search(
    State(server): State<Server>,
    Asking(user): Asking,
    RoomPath(room): RoomPath,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query?;
    let room = server.hub.room(room).as_user(user);
    let page = room.search(&query.q, query.before, query.limit).await?;
    Ok(server.answers.json(&Page::from(page))?)
}

/// What may be posted: what a `send` frame holds. A field of another name would be lost without a word, so it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Post {
    content: Option<String>,
    data: Option<JsonObject>,
    reply_to: Option<MessageId>,
    nonce: Option<Nonce>,
}

impl From<Post> for Draft {
    fn from(post: Post) -> Self {
        let mut draft = Self::new();
        draft.content = post.content;
        draft.data = post.data;
        draft.reply_to = post.reply_to;
        draft.nonce = post.nonce;
        draft
    }
}

async fn send(
    State(server): State<Server>,
    visitor: Visitor,
    RoomPath(room): RoomPath,
    request: Request,
) -> Result<Response, Refused> {
    let json = is_json(request.headers());
    // The body first, whatever the answer will be: a connection with an unread body can't be used again.
    let body = tokio::time::timeout(server.hub.limits().handshake, Bytes::from_request(request, &()))
        .await
        .map_err(|_| bad("the body takes too long to come"))?
        .map_err(|rejection| {
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Refused(Refusal::new(code, rejection.body_text()))
        })?;
    let Asking(user) = server.count(visitor)?;
    // A page of another origin can't send this type without asking first, and is then not answered.
    if !json {
        return Ok(wrong_type());
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body must be a JSON object"));
    }
    let post: Post = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let author = server.hub.room(room.clone()).as_user(user);
    let Receipt { id, seq, duplicate, .. } = author.send(post.into()).await?;
    let ack = json!({ "t": "ack", "room_id": room, "msg": id, "seq": seq, "dup": duplicate });
    Ok((StatusCode::CREATED, Json(ack)).into_response())
}

/// Whether the body is said to be JSON. Types have no letter case, and may have parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// HTTP's own 415, with the body that all errors have.
fn wrong_type() -> Response {
    let mut response = bad("the content type must be application/json").into_response();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// A page of messages as JSON.
#[derive(Serialize)]
struct Page {
    messages: Vec<Message>,
    more: bool,
}

impl From<HistoryPage> for Page {
    fn from(page: HistoryPage) -> Self {
        Self {
            messages: page.messages,
            more: page.more,
        }
    }
}

/// A refusal as an HTTP answer.
pub(crate) struct Refused(pub(crate) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        bad(rejection.body_text())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        roomcast_ws::refusal_response(&self.0).into_response()
    }
}

/// The room that the path names.
struct RoomPath(RoomId);

impl<S: Send + Sync> FromRequestParts<S> for RoomPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let room = Path::<String>::from_request_parts(parts, state).await;
        let Path(room) = room.map_err(|rejection| bad(rejection.body_text()))?;
        room_id(room).map(Self)
    }
}

fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Refused {
    Refused(Refusal::new(ErrorCode::BadRequest, message))
}

fn room_id(text: String) -> Result<RoomId, Refused> {
    RoomId::new(text).map_err(|error| bad(error.to_string()))
}
