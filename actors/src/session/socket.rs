//! What a socket's connection and the rest of its worker thread share: the outbox, and signs of life.
//!
//! The connection (in `server`) writes the signs; a tick of the worker reads them for all its sockets, so that no socket needs a timer.
//! Knows nothing of who is connected.

use std::{cell::Cell, rc::Rc};

use chinwag_schema::wire::Encoding;
use tokio::time::Instant;

use super::outbox::{Outbox, OutboxStats};

thread_local! {
    static STARTED: Instant = Instant::now();
}

/// Returns seconds since this thread first asked, on the runtime's clock.
pub fn coarse_now_s() -> u32 {
    STARTED.with(|started| u32::try_from(started.elapsed().as_secs()).unwrap_or(u32::MAX))
}

/// Shared by `Rc` on one thread.
#[derive(Debug)]
pub struct SocketState {
    /// The frames that wait for this socket.
    pub outbox: Rc<Outbox>,
    /// When the last bytes came, of whatever kind ([`coarse_now_s`]); at first when the socket opened.
    pub last_heard_s: Cell<u32>,
    /// When the last pong came; at first when the socket opened.
    pub last_pong_s: Cell<u32>,
    /// Bytes read and written so far.
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
}

impl SocketState {
    /// Makes the state of a socket that opens now.
    pub fn new(encoding: Encoding, stats: Rc<OutboxStats>) -> Self {
        Self::with_outbox(Rc::new(Outbox::new(encoding, stats)))
    }

    /// Makes the state of a socket around its outbox.
    pub fn with_outbox(outbox: Rc<Outbox>) -> Self {
        let now_s = coarse_now_s();
        Self {
            outbox,
            last_heard_s: Cell::new(now_s),
            last_pong_s: Cell::new(now_s),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        }
    }

    /// Makes the connection ask its endpoint again whether it wants to read.
    pub fn resume_reading(&self) {
        self.outbox.wake();
    }
}
