//! The messenger dialect: accounts, one-to-one chats, groups, presence, offline summaries. Frozen.
//!
//! [`decode`] turns the text of a frame of a chat socket into a [`ClientFrame`], [`ServerFrame::encode`] writes what one socket hears,
//! [`encode_event`] what all chat sockets of a conversation hear, and [`encode_presence`] what presence sockets hear. Names come as sent:
//! whether `from`, `by` or `username` is the token's user, and whether a `chatId` is the right one, is for the session to check.

mod client;
mod event;
mod server;
pub mod texts;

pub use client::{ClientFrame, Page, decode};
pub use event::{chat_added, encode_event, encode_presence};
pub use server::{ChatRow, FriendMeta, GroupRow, ServerFrame, Status, Summary, SummaryKind, error_of};
