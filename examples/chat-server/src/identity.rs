//! Who is asking: in this demonstration, whoever `?user=NAME` says. A server of your own asks its login.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use roomcast_core::{ErrorCode, IdSource, RandomIds, Refusal, User};
use serde::Deserialize;

use crate::api::Refused;
use crate::http::Peer;
use crate::meter::Caller;

/// The user that the query names, or a guest.
pub(crate) struct Visitor {
    pub(crate) user: User,
    /// Whom the rate is counted for.
    pub(crate) caller: Caller,
}

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
        let name = user.filter(|name| !name.is_empty());
        let guest = name.is_none();
        let name = name.unwrap_or_else(|| format!("guest-{:05x}", RandomIds.message_id().as_u128() & 0xf_ffff));
        let user = User::named(name).map_err(|error| wrong(error.to_string()))?;
        let caller = if guest {
            Caller::Guest(parts.extensions.get::<Peer>().map(|peer| peer.0.ip()))
        } else {
            Caller::User(user.id().clone())
        };
        Ok(Self { user, caller })
    }
}
