//! Sessions: one actor per socket, its outbox, and what it does with the frames of its dialect.

pub mod actor;
pub mod authenticator;
pub mod dialect;
pub(crate) mod entrance;
pub mod messenger;
pub mod native;
pub mod outbox;
pub mod presence;
pub mod render;
pub mod rooms;
pub mod socket;

pub use actor::{Session, SessionMessage};
pub use dialect::{Conn, DialectSession, Io};

/// What a session wants to know again when a conversation answers.
#[derive(Debug, Clone)]
pub enum Tag {
    Native(native::NativeTag),
    Rooms(rooms::RoomsTag),
    Messenger(messenger::MessengerTag),
    /// Nothing is sent and nobody waits.
    Silent,
}

impl Tag {
    /// Says whether the session itself waits for the answer (besides what is sent to the socket).
    pub fn awaited(&self) -> bool {
        match self {
            Self::Native(tag) => tag.awaited(),
            Self::Rooms(tag) => tag.awaited(),
            Self::Messenger(tag) => tag.awaited(),
            Self::Silent => false,
        }
    }
}
