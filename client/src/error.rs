//! What can go wrong, for programs and for people.

use std::io;

use chinwag_schema::{names::BadText, wire::native::ServerError};

/// An error of this client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused a command.
    #[error(transparent)]
    Refused(#[from] ServerError),
    /// The server refused an account's request over HTTP.
    #[error("{message}")]
    Account { status: u16, code: String, message: String },
    /// No answer within 20 s, reconnecting included. A change may have happened; saying it again does no harm.
    #[error("the server didn't answer in time")]
    Timeout,
    /// The server can't be reached.
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
    /// The connection has ended for good.
    #[error("{0}")]
    Ended(EndReason),
    /// 256 commands wait for their answers already.
    #[error("too many commands wait for their answers")]
    Busy,
    /// The outbox holds 500 messages already.
    #[error("the outbox is full: 500 messages wait to be sent")]
    OutboxFull,
    /// A text that the server would refuse.
    #[error(transparent)]
    Text(#[from] BadText),
    #[error("'{0}' is no server: write http://HOST:PORT, or https://HOST")]
    Server(String),
    /// A file of ours can't be read or written.
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the server said something that isn't of this protocol: {0}")]
    Strange(String),
}

impl Error {
    /// Says whether trying again later can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) => error.retryable,
            Self::Account { status, .. } => *status == 429 || *status >= 500,
            Self::Timeout | Self::Unreachable(_) | Self::Busy | Self::OutboxFull => true,
            _ => false,
        }
    }
}

/// Why a connection isn't made any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    #[error("logged out: the password was changed, the session was ended elsewhere, or the user is banned")]
    LoggedOut,
    #[error("the session is over: log in again")]
    LogIn,
    #[error("{0}")]
    Refused(String),
    #[error("this client is too old for the server")]
    Outdated,
    #[error("the server ended the connection (code {0})")]
    Closed(u16),
    #[error("the connection was closed")]
    Stopped,
}
