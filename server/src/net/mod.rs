//! Listeners: from bound addresses to connections on worker threads.
//!
//! One accept task per listener hands sockets round-robin to the workers; each worker thread runs HTTP for what it gets and gives up
//! a socket to `ws` when it upgrades. Knows nothing of dialects, routes or accounts: the application and the upgrade gate are
//! given by the caller.

pub mod acceptor;
pub mod proxy_protocol;
pub mod server;
pub mod slow_body;
pub mod stream;
pub mod tls;
pub mod worker;

pub use acceptor::{Bound, bind};
pub use server::{Net, NetHandle, NetSettings};
pub use stream::{Places, Socket};
pub use worker::WorkerContext;

/// What a listener is for. Which dialect a socket speaks follows from this and the path of its upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// REST, the page, native and rooms dialects.
    Http,
    /// The messenger dialect's chat listener.
    Messenger,
    /// The messenger dialect's presence listener.
    Presence,
    /// Metrics, administration, echo.
    Ops,
}

impl ListenerKind {
    /// Returns the name used in settings, `ports.json` and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Messenger => "messenger",
            Self::Presence => "presence",
            Self::Ops => "ops",
        }
    }
}
