//! How a request is turned down, and how a connection ends.

use std::borrow::Cow;
use std::time::Duration;

use crate::CloseFrame;
use crate::policy::{Denied, DeniedKind};

/// Why a request was turned down. Nothing was stored, unless the code is [`ErrorCode::Unavailable`]: then send it again with
/// the same nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Refusal {
    /// What a program goes by.
    pub code: ErrorCode,
    /// What was wrong and what is allowed, for people.
    pub message: Cow<'static, str>,
    /// When it may be tried again, if time alone helps.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal from its parts.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The same, saying when it may be tried again.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// The JSON body of an HTTP answer: `{"error":"code","message":"…"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self.code.as_str(), "message": self.message }).to_string()
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let code = match denied.kind {
            DeniedKind::Forbidden => ErrorCode::Forbidden,
            DeniedKind::UnknownRoom => ErrorCode::UnknownRoom,
            DeniedKind::Unavailable => ErrorCode::Unavailable,
        };
        Self::new(code, denied.reason)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// What kind of refusal it is, in an `err` frame or in an HTTP answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The code as it stands on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status that fits.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The request isn't one of the protocol.
    BadRequest = "bad_request", 400;
    /// Nobody is signed in.
    Unauthenticated = "unauthenticated", 401;
    /// The policy says no.
    Forbidden = "forbidden", 403;
    /// A page of another origin asked.
    BadOrigin = "bad_origin", 403;
    /// There is no such room, where rooms must exist.
    UnknownRoom = "unknown_room", 404;
    /// There is no such message.
    NotFound = "not_found", 404;
    /// The connection isn't in that room.
    NotJoined = "not_joined", 409;
    /// The nonce was used for something else.
    NonceConflict = "nonce_conflict", 409;
    /// More than a message may take.
    TooLarge = "too_large", 413;
    /// More rooms than one connection may be in.
    TooManyRooms = "too_many_rooms", 429;
    /// More than the rate allows, or too many connections of one user.
    RateLimited = "rate_limited", 429;
    /// The store doesn't answer, or the server is full or stopping.
    Unavailable = "unavailable", 503;
}

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1009: a frame above the limit.
    TooLarge,
    /// 4000: the server is stopping; come back after the delay.
    Draining,
    /// 4001: the client couldn't keep up; come back with the cursor.
    TooSlow,
    /// 4002: far more than the rate allows; come back after the delay.
    RateLimited,
    /// 4003: the store is failing; come back after the delay.
    Unavailable,
    /// 4004: no pong, or no progress in writing; come back.
    Timeout,
    /// 4500: what came isn't the protocol.
    BadRequest,
    /// 4501: the identity has expired; come back after signing in.
    Unauthenticated,
    /// 4502: the policy says no.
    Forbidden,
    /// 4503: sent away by the operator.
    Kicked,
    /// 4505: a binary frame.
    Unsupported,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            Self::Draining => 4000,
            Self::TooSlow => 4001,
            Self::RateLimited => 4002,
            Self::Unavailable => 4003,
            Self::Timeout => 4004,
            Self::BadRequest => 4500,
            Self::Unauthenticated => 4501,
            Self::Forbidden => 4502,
            Self::Kicked => 4503,
            Self::Unsupported => 4505,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Draining => "draining",
            Self::TooSlow => "too_slow",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Kicked => "kicked",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether a client should come back by itself.
    #[must_use]
    pub fn reconnect(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::TooSlow | Self::RateLimited | Self::Unavailable | Self::Timeout
        )
    }

    /// The close frame.
    #[must_use]
    pub fn frame(self) -> CloseFrame {
        CloseFrame {
            code: self.number(),
            reason: self.reason().into(),
        }
    }
}
