//! How much memory answers may take while they wait for clients to read them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use roomcast_core::{ErrorCode, Refusal};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A page of 200 large messages is 13 MB, and a client may take its time over it; many of them at once must not take
/// all memory there is.
const TOTAL_KIB: u32 = 256 << 10;

/// How much memory answers may take while they wait for clients to read them.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Semaphore>);

/// An answer, and its part of the memory. Freed when the last byte is sent, or the client is gone.
struct Kept {
    json: Vec<u8>,
    _part: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self::with(TOTAL_KIB)
    }

    fn with(kib: u32) -> Self {
        Self(Arc::new(Semaphore::new(kib as usize)))
    }

    /// The JSON answer, if there is memory for it.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<Response, Refusal> {
        let full = |what: &'static str| {
            Refusal::new(ErrorCode::Unavailable, what).retry_after(std::time::Duration::from_secs(1))
        };
        let json = serde_json::to_vec(value).map_err(|_| full("the answer can't be written"))?;
        let kib = u32::try_from(json.len().div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let part = Arc::clone(&self.0)
            .try_acquire_many_owned(kib)
            .map_err(|_| full("too many answers wait to be read"))?;
        let body = Bytes::from_owner(Kept { json, _part: part });
        Ok(([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_wait_are_bounded() {
        let answers = Answers::with(10);
        let large = "x".repeat(4 << 10);
        let first = answers.json(&large).unwrap();
        let _second = answers.json(&large).unwrap_or_else(|_| panic!("5 KiB are left"));
        let refusal = answers.json(&large).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.retry_after.is_some()),
            (ErrorCode::Unavailable, true)
        );
        drop(first);
        answers.json(&large).unwrap();
    }
}
