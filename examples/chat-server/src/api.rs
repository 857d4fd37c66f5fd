//! The routes: the chat's WebSocket, the HTTP API, health and metrics, and the page.

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, body::Bytes};
use metrics_exporter_prometheus::PrometheusHandle;
use roomcast_core::{Draft, ErrorCode, HistoryPage, HistoryRange, Hub, Message, Nonce, Receipt, Refusal, RoomId, User};
use roomcast_ws::{ChatUpgrade, Origins};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::identity::Visitor;

#[derive(Clone)]
struct Server {
    hub: Hub,
    origins: Origins,
    metrics: PrometheusHandle,
}

pub(crate) fn routes(hub: Hub, origins: Origins, metrics: PrometheusHandle) -> Router {
    // Escapes in JSON take up to six bytes a character.
    let body = 6 * hub.limits().message_bytes + 4096;
    Router::new()
        .route("/ws", get(enter))
        .route("/ws/{room}", get(enter_room))
        .route("/api/rooms", get(rooms))
        .route("/api/rooms/{room}/messages", get(history).post(send))
        .route("/api/rooms/{room}/members", get(members))
        .route("/api/rooms/{room}/search", get(search))
        .route("/healthz", get(health))
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
        .with_state(Server { hub, origins, metrics })
}

impl Server {
    fn render_metrics(&self) -> impl IntoResponse + use<> {
        self.metrics.run_upkeep();
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            self.metrics.render(),
        )
    }
}

async fn enter(State(server): State<Server>, Visitor(user): Visitor, chat: ChatUpgrade) -> Response {
    chat.origins(server.origins).serve(&server.hub, user).await
}

async fn enter_room(
    State(server): State<Server>,
    Visitor(user): Visitor,
    RoomPath(room): RoomPath,
    chat: ChatUpgrade,
) -> Response {
    chat.room(room.as_str())
        .origins(server.origins)
        .serve(&server.hub, user)
        .await
}

#[derive(Deserialize)]
struct RoomsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn rooms(
    State(server): State<Server>,
    Visitor(_): Visitor,
    query: Result<Query<RoomsQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    const MOST: usize = 1000;
    let Query(query) = query?;
    let after = query.after.map(room_id).transpose()?;
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(bad(format!("limit is {limit}; allowed are 1 to {MOST}")));
    }
    let rooms: Vec<_> = server
        .hub
        .rooms(after.as_ref(), limit)
        .await?
        .into_iter()
        .map(|room| {
            let online = server.hub.room(room.id.clone()).online();
            json!({ "id": room.id, "head": room.head.head, "online": online })
        })
        .collect();
    Ok(Json(json!({ "rooms": rooms })).into_response())
}

async fn members(State(server): State<Server>, RoomPath(room): RoomPath) -> Result<Response, Refused> {
    let users: Vec<User> = server.hub.room(room).members();
    Ok(Json(json!({ "users": users })).into_response())
}

#[derive(Deserialize)]
struct HistoryQuery {
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn history(
    State(server): State<Server>,
    Visitor(user): Visitor,
    RoomPath(room): RoomPath,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Page, Refused> {
    let Query(query) = query?;
    let range = match (query.before, query.after) {
        (None, None) => HistoryRange::Newest,
        (Some(before), None) => HistoryRange::Before(before),
        (None, Some(after)) => HistoryRange::After(after),
        (Some(_), Some(_)) => return Err(bad("at most one of before and after may be given")),
    };
    Ok(server
        .hub
        .room(room)
        .as_user(user)
        .history(range, query.limit)
        .await?
        .into())
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    before: Option<u64>,
    limit: Option<usize>,
}

async fn search(
    State(server): State<Server>,
    Visitor(user): Visitor,
    RoomPath(room): RoomPath,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Page, Refused> {
    let Query(query) = query?;
    let room = server.hub.room(room).as_user(user);
    Ok(room.search(&query.q, query.before, query.limit).await?.into())
}

#[derive(Deserialize)]
struct Post {
    content: String,
    nonce: Option<Nonce>,
}

async fn send(
    State(server): State<Server>,
    Visitor(user): Visitor,
    RoomPath(room): RoomPath,
    request: Request,
) -> Result<Response, Refused> {
    // A page of another origin can't send this type without asking first, and is then not answered.
    let json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !json.is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim() == "application/json")
    }) {
        return Err(bad("the content type must be application/json"));
    }
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
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body must be a JSON object"));
    }
    let Post { content, nonce } = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let mut draft = Draft::text(content);
    draft.nonce = nonce;
    let Receipt { id, seq, duplicate, .. } = server.hub.room(room.clone()).as_user(user).send(draft).await?;
    let ack = json!({ "t": "ack", "room_id": room, "msg": id, "seq": seq, "dup": duplicate });
    Ok((StatusCode::CREATED, Json(ack)).into_response())
}

async fn health(State(server): State<Server>) -> Response {
    if server.hub.stats().draining {
        return Refused(Refusal::new(ErrorCode::Unavailable, "the server is stopping")).into_response();
    }
    match server.hub.health().await {
        Ok(()) => Json(json!({ "status": "ok" })).into_response(),
        Err(error) => Refused(Refusal::new(ErrorCode::Unavailable, error.to_string())).into_response(),
    }
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

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        Json(self).into_response()
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
