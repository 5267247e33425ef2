//! The rooms dialect: terminal and browser clients that log in with a name and talk in public rooms. Frozen.
//!
//! [`decode`] turns the text of a frame into a [`ClientFrame`], [`ServerFrame::encode`] writes what one socket hears, and
//! [`encode_event`] what all sockets of a room hear. Every server frame ends in a `timestamp`, the time of sending. Knows nothing
//! of who is logged in or where: a rejected frame says through [`Rejected::unauthenticated`] what a stranger hears instead.

mod client;
mod error;
mod event;
mod server;

pub use client::{ClientFrame, Login, RoomsCommand, decode};
pub use error::{ErrorCode, ErrorInfo, Rejected, error_of};
pub use event::encode_event;
pub use server::{
    AuthFailure, CreatedRoom, DELETED, HELP, JoinedRoom, ListedRoom, ListedUser, Me, MessageInfo, ServerFrame,
    ServerStats, Stats, SystemData, UserInfo, UserStats,
};
