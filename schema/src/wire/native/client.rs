//! The client's side: reading what the server says.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::event::{LoggedEvent, LoggedKind, Notice};
use crate::error::ErrorCode;

/// A frame of the server, read by a client.
#[derive(Debug)]
pub enum ServerFrame {
    /// `id` is `None` if the server couldn't read the request's. The result's type follows from the command: [`ServerFrame::result`].
    Reply { id: Option<String>, outcome: Result<Box<RawValue>, ServerError> },
    /// A sequenced event.
    Logged(LoggedEvent),
    /// Any other event.
    Notice(Notice),
}

/// The error of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    pub code: ErrorCode,
    pub message: String,
    pub retryable: bool,
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    #[serde(default)]
    pub field: Option<String>,
    #[serde(default)]
    pub limit: Option<u64>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    event: Option<LoggedKind>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ServerError>,
}

impl ServerFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// If it isn't one of this protocol. Events of newer servers are: [`Notice::Unknown`].
    pub fn decode(text: &str) -> Result<Self, serde_json::Error> {
        let head: Head = serde_json::from_str(text)?;
        match head {
            // No sequenced event: one of the others.
            Head { event: Some(LoggedKind::Unknown), .. } => serde_json::from_str(text).map(Self::Notice),
            Head { event: Some(_), .. } => serde_json::from_str(text).map(Self::Logged),
            Head { id, error: Some(error), .. } => Ok(Self::Reply { id, outcome: Err(error) }),
            Head { id, result: Some(result), .. } => Ok(Self::Reply { id, outcome: Ok(result) }),
            _ => Err(serde::de::Error::custom("neither a reply nor an event")),
        }
    }

    /// Reads the result of a reply as the type that belongs to its command.
    ///
    /// # Errors
    /// If the result isn't of that type.
    pub fn result<T: DeserializeOwned>(result: &RawValue) -> Result<T, serde_json::Error> {
        serde_json::from_str(result.get())
    }
}
