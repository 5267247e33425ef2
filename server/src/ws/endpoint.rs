//! What a WebSocket connection talks to: the session behind it.

use chinwag_schema::error::CloseCode;

/// The other side of a connection. Called on the connection's thread, inside its poll: must not block.
///
/// Answers go into the outbox of the `SocketState` that the endpoint was made with, and so do pings and the close.
pub trait Endpoint {
    /// Takes a text message.
    fn on_text(&mut self, text: &str);

    /// Takes a binary message.
    fn on_binary(&mut self, data: &[u8]);

    /// Hears a ping; its pong is queued already.
    fn on_ping(&mut self, payload: &[u8]) {
        let _ = payload;
    }

    /// Hears a pong; `SocketState::last_pong_s` is set already.
    fn on_pong(&mut self, payload: &[u8]) {
        let _ = payload;
    }

    /// Says whether the next message may come. After a no, the endpoint calls `SocketState::resume_reading` when it changes its mind;
    /// it is asked again as well whenever the outbox drained. Control frames wait too.
    fn want_read(&self) -> bool {
        true
    }

    /// Hears, once, that no further message comes. The close frame may still be on its way.
    fn on_closed(&mut self, closed: Closed);
}

impl<E: Endpoint + ?Sized> Endpoint for Box<E> {
    fn on_text(&mut self, text: &str) {
        (**self).on_text(text);
    }

    fn on_binary(&mut self, data: &[u8]) {
        (**self).on_binary(data);
    }

    fn on_ping(&mut self, payload: &[u8]) {
        (**self).on_ping(payload);
    }

    fn on_pong(&mut self, payload: &[u8]) {
        (**self).on_pong(payload);
    }

    fn want_read(&self) -> bool {
        (**self).want_read()
    }

    fn on_closed(&mut self, closed: Closed) {
        (**self).on_closed(closed);
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub by: ClosedBy,
    /// The code of the close frame that began it; `None` without one (1006) or when the peer sent none (1005).
    pub code: Option<CloseCode>,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client sent a close frame.
    Peer,
    /// This side closed its outbox.
    Server,
    /// The client broke the protocol or a limit.
    Violation,
    /// The TCP connection ended without a close frame.
    Lost,
    /// The connection's task was dropped (its thread stops).
    Dropped,
}

impl ClosedBy {
    /// Returns the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Violation => "violation",
            Self::Lost => "lost",
            Self::Dropped => "dropped",
        }
    }
}
