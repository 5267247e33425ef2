//! A client of Chinwag's native protocol for Rust programs: bots, bridges, the terminal client.
//!
//! [`Client::connect`] gives a handle and a bounded stream of [`Event`]s. The client reconnects by itself (with jitter, as the close codes say),
//! resumes every conversation where it was, fills holes from the history, and hands out each sequenced event once, in order. What is
//! [sent](Client::send) goes through an [`Outbox`], on the disk if you like, and is stored by the server exactly once, even if the process is
//! killed in between. What is known (conversations, unread, who types, how far a message is) is read by [`Client::view`].
//!
//! ```no_run
//! use chinwag_client::{Client, Config, Event, Login, Trust};
//!
//! # async fn run() -> Result<(), chinwag_client::Error> {
//! let config = Config::new("http://127.0.0.1:3000".parse()?, Trust::new(None)?, Login::Guest("echo".into()));
//! let (client, mut events) = Client::connect(config);
//! let lobby = client.listen("lobby").await?;
//! while let Some(event) = events.recv().await {
//!     if let Event::Logged { event, own: false } = event
//!         && let Some(content) = event.content
//!     {
//!         client.send(lobby, &content)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! How it is made: `session` holds the protocol without any I/O and is tested so; `driver` gives it sockets and a clock. `log` is the position
//! in one log, `conversation` its window, `outbox` what isn't acknowledged, `account` tokens, `reconnect` what a close code means.

mod account;
mod client;
mod conversation;
mod driver;
mod error;
mod ids;
mod link;
mod log;
mod model;
mod outbox;
mod reconnect;
mod server;
mod session;
#[cfg(test)]
mod testing;

pub use account::{Account, Login};
pub use chinwag_schema::{
    error::ErrorCode,
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::{ConversationKind, Name, Position},
    names,
    wire::native as wire,
};
pub use client::{Client, Config};
pub use conversation::{Conversation, ENTRIES_MAX, Pointers};
pub use error::{EndReason, Error};
pub use model::{Connection, Delivery, Model, Resume};
pub use outbox::{Destination, OUTBOX_MAX, Outbox, Pending, PendingState};
pub use server::{Server, Trust};
pub use session::Event;
