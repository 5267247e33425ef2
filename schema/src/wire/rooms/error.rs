//! Errors of the rooms dialect: its nine codes, and the engine's errors in its words.

use serde::{Deserialize, Serialize};

use crate::{
    error::{self, ClientError},
    wire::time::Iso,
};

/// Codes of the rooms dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    InvalidMessage,
    Unauthorized,
    RoomNotFound,
    RoomExists,
    UserExists,
    RateLimit,
    InvalidCommand,
    DatabaseError,
    InternalError,
}

/// The `error` of an `error` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorInfo {
    pub code: ErrorCode,
    pub message: String,
    /// Finds the error in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Iso>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ErrorInfo {
    /// Makes an error of a code and a text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), correlation_id: None, timestamp: None, field: None, retry_after: None }
    }

    /// Makes an `INVALID_MESSAGE`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidMessage, message)
    }

    /// Names the field at fault.
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Adds what finds the error in the server's log, and when it happened (Unix ms).
    pub fn correlated(mut self, id: impl Into<String>, at_ms: i64) -> Self {
        self.correlation_id = Some(id.into());
        self.timestamp = Some(Iso(at_ms));
        self
    }

    /// Anything but `auth` before `auth_success`.
    pub fn unauthorized() -> Self {
        Self::new(ErrorCode::Unauthorized, "Authentication required")
    }

    /// No room of that name.
    pub fn room_not_found() -> Self {
        Self::new(ErrorCode::RoomNotFound, "Room not found")
    }

    /// The room's name is taken.
    pub fn room_exists() -> Self {
        Self::new(ErrorCode::RoomExists, "Room already exists")
    }

    /// A message, edit or the like outside a room.
    pub fn must_join() -> Self {
        Self::invalid("You must join a room first")
    }

    /// `leave_room` outside a room.
    pub fn not_in_room() -> Self {
        Self::invalid("You are not in a room")
    }

    /// No such message in the room.
    pub fn message_not_found() -> Self {
        Self::invalid("Message not found").field("messageId")
    }

    /// A command that doesn't exist; the name without its slash.
    pub fn unknown_command(name: &str) -> Self {
        Self::new(ErrorCode::InvalidCommand, format!("Unknown command: {name}"))
    }

    /// Too much in too short a time; `retry_after_ms` is rounded up to seconds.
    pub fn rate_limited(retry_after_ms: u64) -> Self {
        let mut error = Self::new(ErrorCode::RateLimit, "Rate limit exceeded");
        error.retry_after = Some(retry_after_ms.div_ceil(1000));
        error
    }
}

/// A frame that can't be carried out as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    error: ErrorInfo,
    /// A command that needs a login, by its type.
    needs_login: bool,
}

impl Rejected {
    pub(super) fn unknown(error: ErrorInfo) -> Self {
        Self { error, needs_login: false }
    }

    pub(super) fn login(error: ErrorInfo) -> Self {
        Self { error, needs_login: false }
    }

    pub(super) fn known(error: ErrorInfo) -> Self {
        Self { error, needs_login: true }
    }

    /// Returns what a socket hears that is logged in.
    pub fn authenticated(self) -> ErrorInfo {
        self.error
    }

    /// Returns what a socket hears that isn't: `UNAUTHORIZED` unless no type is recognisable or it is an `auth` at fault.
    pub fn unauthenticated(self) -> ErrorInfo {
        if self.needs_login { ErrorInfo::unauthorized() } else { self.error }
    }
}

/// Says an error of the engine in the dialect's words. Texts that clients show are the dialect's, not the engine's.
///
/// `NotFound` and `AlreadyExists` mean the room, unless `field` says `message`, `messageId` or `username`.
pub fn error_of(error: &ClientError) -> ErrorInfo {
    use error::ErrorCode as Code;
    let as_is = |code| ErrorInfo::new(code, error.message.clone());
    let field = error.field.as_deref();
    let mut info = match error.code {
        Code::NotFound => match field {
            Some("message" | "messageId") => return ErrorInfo::message_not_found(),
            _ => return ErrorInfo::room_not_found(),
        },
        Code::AlreadyExists => match field {
            Some("username") => as_is(ErrorCode::UserExists),
            _ => return ErrorInfo::room_exists(),
        },
        Code::RateLimited => return ErrorInfo::rate_limited(error.retry_after_ms.unwrap_or(1000)),
        Code::Unauthorized | Code::Forbidden => as_is(ErrorCode::Unauthorized),
        Code::Unavailable | Code::Timeout => as_is(ErrorCode::DatabaseError),
        Code::Draining | Code::Internal => as_is(ErrorCode::InternalError),
        Code::BadRequest
        | Code::TooLarge
        | Code::AlreadyMember
        | Code::UnknownCursor
        | Code::BeyondHead
        | Code::MessageIdReused
        | Code::MessageIdExpired
        | Code::MessageIdAhead
        | Code::EditWindowOver
        | Code::Spam
        | Code::LimitReached
        | Code::UnsupportedVersion => as_is(ErrorCode::InvalidMessage),
    };
    info.field = field.map(|field| match field {
        "message" => "messageId".to_owned(),
        "name" => "roomName".to_owned(),
        other => other.to_owned(),
    });
    info.retry_after = error.retry_after_ms.map(|ms| ms.div_ceil(1000));
    info
}
