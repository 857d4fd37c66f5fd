//! Who is asking: in this demonstration, whoever `?user=NAME` says. A server of your own asks its login.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use roomcast_core::{ErrorCode, IdSource, RandomIds, Refusal, User};
use serde::Deserialize;

use crate::api::Refused;

/// The user that the query names, or a guest.
pub(crate) struct Visitor(pub(crate) User);

#[derive(Deserialize)]
struct Named {
    user: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let wrong = |message: String| Refused(Refusal::new(ErrorCode::BadRequest, message));
        let Query(Named { user }) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| wrong(rejection.body_text()))?;
        let name = user
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("guest-{:05x}", RandomIds.message_id().as_u128() & 0xf_ffff));
        User::named(name).map(Self).map_err(|error| wrong(error.to_string()))
    }
}
