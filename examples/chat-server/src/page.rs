//! The web page, built into the program.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing but what this server itself delivers is loaded or run, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
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
