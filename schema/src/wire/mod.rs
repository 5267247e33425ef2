//! The wire: three dialects over WebSocket text frames, and the frames themselves.
//!
//! Each dialect module turns bytes into typed client frames and typed server frames into bytes; quirks of a dialect stay there.
//! [`encode_event`] is the one place where an [`Event`] becomes text, so that it happens once per dialect and event.

pub mod deflate;
pub mod encoded_event;
pub mod frame;
pub mod json;
pub mod messenger;
pub mod native;
pub mod rooms;
pub mod time;

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// Which protocol a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    Native = 0,
    Rooms = 1,
    /// The messenger dialect's chat socket.
    Messenger = 2,
    /// The messenger dialect's presence socket: hears status changes only.
    Presence = 3,
}

impl Dialect {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Returns the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Rooms => "rooms",
            Self::Messenger => "messenger",
            Self::Presence => "presence",
        }
    }
}

/// How frames for a socket are written: its dialect, and whether large ones are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    pub dialect: Dialect,
    pub compressed: bool,
}

/// Encodes an event as the text of one frame; `None` when the dialect doesn't tell such events.
///
/// `now_ms` is the time of sending (Unix ms), for dialects whose frames carry one.
pub fn encode_event(dialect: Dialect, event: &Event, now_ms: i64) -> Option<Vec<u8>> {
    match dialect {
        Dialect::Native => native::encode_event(event),
        Dialect::Rooms => rooms::encode_event(event, now_ms),
        Dialect::Messenger => messenger::encode_event(event),
        Dialect::Presence => messenger::encode_presence(event),
    }
}
