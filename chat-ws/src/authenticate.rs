//! How the listener learns who asks.

use std::future::Future;

use async_trait::async_trait;
use http::request::Parts;
use roomcast_core::Refusal;

use crate::Visitor;

/// How the listener learns who asks: from a cookie, a token in the query, or whatever the request holds.
///
/// A closure will do, if its future keeps nothing of the request:
///
/// ```
/// use http::request::Parts;
/// use roomcast_core::{ErrorCode, Refusal, User};
/// # use roomcast_ws::Authenticate;
///
/// let auth = |request: &Parts| {
///     let name = request.headers.get("x-user").and_then(|name| name.to_str().ok()).map(str::to_owned);
///     async move {
///         let name = name.ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, "sign in first"))?;
///         User::named(name).map_err(|error| Refusal::new(ErrorCode::Unauthenticated, error.to_string()))
///     }
/// };
/// # fn is<A: Authenticate>(_: A) {}
/// # is(auth);
/// ```
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Says who sent this request, which is known to be a handshake from a page that may connect. The peer's address is among
    /// its extensions, as a [`std::net::SocketAddr`].
    ///
    /// The future is dropped if the client goes away, and when [`Limits::handshake`](roomcast_core::Limits::handshake) is
    /// over; the answer is 503 then.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which becomes the HTTP answer; [`ErrorCode::Unauthenticated`](roomcast_core::ErrorCode::Unauthenticated)
    /// as a rule.
    async fn authenticate(&self, request: &Parts) -> Result<Visitor, Refusal>;
}

#[async_trait]
impl<F, R, V> Authenticate for F
where
    F: Fn(&Parts) -> R + Send + Sync + 'static,
    R: Future<Output = Result<V, Refusal>> + Send,
    V: Into<Visitor>,
{
    async fn authenticate(&self, request: &Parts) -> Result<Visitor, Refusal> {
        // Called before the first await: the closure's future need not hold the request.
        let answer = self(request);
        answer.await.map(Into::into)
    }
}
