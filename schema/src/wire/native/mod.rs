//! The native protocol, `chinwag.v1`. Its reference is `ops/protocol/native.md`.
//!
//! For the server: [`decode`] reads a [`Request`], [`reply_ok`] and [`reply_error`] answer it, [`encode_event`] tells events. For clients (the
//! load test, the client library): [`Request::encode`] and [`ServerFrame::decode`], with the same types.

mod client;
mod command;
mod decode;
mod event;
mod fields;
mod object;
mod reply;
mod result;

pub use client::{ServerError, ServerFrame};
pub use command::{Command, Credentials, Hello, HistoryFrom, Request, RoomRef, SendTo, UsersBy};
pub use decode::decode;
pub use event::{LoggedEvent, LoggedKind, Notice, UserRef, encode_event};
pub use object::*;
pub use reply::{reply_error, reply_ok};
pub use result::*;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "chinwag.v1";
/// The protocol version spoken here.
pub const VERSION: u32 = 1;
