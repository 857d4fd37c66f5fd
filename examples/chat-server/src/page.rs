//! The web page, built into the program, and what only the page asks.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use roomcast_core::{Client, ErrorCode, Hub, Refusal};
use roomcast_ws::Origins;

use crate::api::Refused;
use crate::identity::Visitor;

/// Nothing but what this server itself delivers is loaded or run, and no other page may frame it. `'self'` covers
/// WebSockets to this server too; to name their schemes would allow those to any other.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes<S: Clone + Send + Sync + 'static>(hub: &Hub, origins: &Origins) -> Router<S> {
    let (hub, origins) = (hub.clone(), origins.clone());
    let file = |kind: &'static str, text: &'static str| get(async move || serve(kind, text));
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("../page/index.html")),
        )
        .route(
            "/style.css",
            file("text/css; charset=utf-8", include_str!("../page/style.css")),
        )
        .route(
            "/app.js",
            file("text/javascript; charset=utf-8", include_str!("../page/app.js")),
        )
        .route(
            "/favicon.svg",
            file("image/svg+xml", include_str!("../page/favicon.svg")),
        )
        .route(
            "/api/entrance",
            post(async move |Visitor { user, .. }: Visitor, headers: HeaderMap| {
                enter(&hub, &origins, Client::v1(user), &headers).await
            }),
        )
}

/// Whether this page and user would be let in now, and if not, why: a script can't read the answer to a WebSocket's own
/// request. A POST, since browsers name the page's origin in it as they do there.
async fn enter(hub: &Hub, origins: &Origins, client: Client, headers: &HeaderMap) -> Result<StatusCode, Refused> {
    if !origins.allows(headers) {
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let message = format!(
            "pages of {} may not connect; the server's --origin says which may",
            origin.unwrap_or("this origin")
        );
        return Err(Refusal::new(ErrorCode::BadOrigin, message).into());
    }
    let admission = hub.admit(client).await?;
    // The place was only asked about.
    drop(admission);
    Ok(StatusCode::NO_CONTENT)
}

fn serve(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
