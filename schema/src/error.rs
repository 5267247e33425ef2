//! What can go wrong, as every layer and dialect names it.

use serde::{Deserialize, Serialize};

/// Stable machine code of an error: the native protocol sends it as is, the frozen dialects map it to their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame is not JSON, or lacks or misspells a field; `field` names it.
    BadRequest,
    /// A text or list is longer than allowed; `field` and `limit` name it.
    TooLarge,
    /// No, wrong, expired or revoked credentials.
    Unauthorized,
    /// Known, but not allowed.
    Forbidden,
    /// Doesn't exist, or isn't this user's to see.
    NotFound,
    /// A name is taken.
    AlreadyExists,
    /// Already a member.
    AlreadyMember,
    /// A history cursor that names no position.
    UnknownCursor,
    /// A pointer or position beyond the head.
    BeyondHead,
    /// The same message id with another body.
    MessageIdReused,
    /// The message id is older than the dedup window.
    MessageIdExpired,
    /// The message id lies more than ten minutes ahead of the server.
    MessageIdAhead,
    /// The time in which an edit was allowed is over.
    EditWindowOver,
    /// Refused by the spam rules.
    Spam,
    /// A rate was exceeded; `retry_after_ms` says how long.
    RateLimited,
    /// A count (rooms, members, conversations, sockets) is at its bound; `limit` names it.
    LimitReached,
    /// A queue is full or a store doesn't answer: the same request may succeed later.
    Unavailable,
    /// The deadline passed and the outcome is unknown: ask again with the same id.
    Timeout,
    /// The node is draining: reconnect elsewhere.
    Draining,
    /// A defect here; counted and logged.
    Internal,
    /// The client's protocol version is not spoken here.
    UnsupportedVersion,
}

impl ErrorCode {
    /// Says whether the same request can succeed later, unchanged.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Timeout | Self::Draining | Self::Internal)
    }
}

/// An error for a client: code, text for people, and what is needed to do better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    pub code: ErrorCode,
    pub message: String,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The bound that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How long to wait before a retry can help, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ClientError {
    /// Makes an error of a code and a text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, limit: None, retry_after_ms: None }
    }

    /// Names the field at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the bound that was exceeded.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says how long to wait.
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// A full queue or a store that doesn't answer.
    pub fn unavailable(what: &str) -> Self {
        Self::new(ErrorCode::Unavailable, format!("{what} is busy, try again")).retry_after_ms(1000)
    }

    /// A handler failed (an actor panicked and was rebuilt).
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "internal error, try again").retry_after_ms(1000)
    }
}

/// Close codes of WebSocket connections. 4000–4099: reconnect and resume at once; 4100–4199: reconnect later; 4200–4299: don't
/// reconnect without a change (new token, new client).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    /// The node stops (drain).
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL: Self = Self(1002);
    pub const UNSUPPORTED: Self = Self(1003);
    pub const INVALID_TEXT: Self = Self(1007);
    pub const POLICY: Self = Self(1008);
    pub const TOO_BIG: Self = Self(1009);
    pub const INTERNAL: Self = Self(1011);
    /// The client read too slowly: reconnect and resume.
    pub const SLOW_READER: Self = Self(4001);
    /// No pong in time: reconnect and resume.
    pub const PING_TIMEOUT: Self = Self(4002);
    /// Overload: reconnect later.
    pub const OVERLOADED: Self = Self(4100);
    /// Too many sockets of this user or address: reconnect later.
    pub const TOO_MANY_SOCKETS: Self = Self(4101);
    /// Said no hello (or no auth) in time.
    pub const HELLO_TIMEOUT: Self = Self(4102);
    /// Credentials refused.
    pub const UNAUTHORIZED: Self = Self(4200);
    /// The token ran out while connected: get a new one.
    pub const TOKEN_EXPIRED: Self = Self(4201);
    /// Logged out, password changed or banned.
    pub const REVOKED: Self = Self(4202);
    /// The protocol version isn't spoken here.
    pub const UNSUPPORTED_VERSION: Self = Self(4203);
}
