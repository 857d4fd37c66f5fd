//! What an orchestrator asks: whether the process lives, and whether to send it clients.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomcast_core::{BusError, ErrorCode, Hub, Refusal};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::api::Refused;
use crate::output::chain;

/// How long the bus has to say how it is. Balancers give a check a second, and a bus that is silent is no reason to fail it.
const BUS: Duration = Duration::from_millis(800);

/// Somebody answers. A server that stops, or whose store is away, must not be killed for it.
pub(crate) async fn live() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether clients are well served here. What is wrong with the bus is said, and that is all: the members of this node
/// are served, and see what other nodes store late.
pub(crate) async fn ready(hub: Hub) -> Response {
    let draining = hub.stats().draining;
    let bus = async {
        let silent = |_| Some(Err(BusError::new(format!("the bus doesn't answer within {BUS:?}"))));
        timeout(BUS, hub.bus_health()).await.unwrap_or_else(silent)
    };
    let (store, bus) = tokio::join!(hub.health(), bus);
    let ready = store.is_ok() && !draining;
    let answer = Json(json!({
        "ready": ready,
        "draining": draining,
        "store": store.map_or_else(|error| chain(&error), |()| "ok".to_owned()),
        "bus": bus.map_or(Value::Null, |bus| bus.map_or_else(|error| chain(&error), |()| "ok".to_owned()).into()),
    }));
    if ready {
        answer.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], answer).into_response()
    }
}

/// Readiness in one word.
pub(crate) async fn health(hub: Hub) -> Response {
    if hub.stats().draining {
        let refusal = Refusal::new(ErrorCode::Unavailable, "the server is stopping");
        return Refused(refusal.retry_after(Duration::from_secs(1))).into_response();
    }
    match hub.health().await {
        Ok(()) => Json(json!({ "status": "ok" })).into_response(),
        Err(error) => Refused(Refusal::new(ErrorCode::Unavailable, error.to_string())).into_response(),
    }
}
