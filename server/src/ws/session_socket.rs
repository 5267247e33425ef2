//! The endpoint of chat sockets: frames go to the session actor, signs of life to the heartbeat.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use chinwag_actors::{
    engine::{Node, OpenSession},
    session::{
        SessionMessage,
        authenticator::Identity,
        outbox::{Outbox, OutboxStats},
        socket::SocketState,
    },
};
use chinwag_schema::{
    error::CloseCode,
    limits::socket::OUTBOX_MAX_FRAMES,
    wire::{Dialect, Encoding},
};

use super::{
    endpoint::{Closed, ClosedBy, Endpoint},
    heartbeat::{self, Beat},
};

/// What a socket is opened with.
pub struct SocketSettings {
    pub node: Arc<Node>,
    pub dialect: Dialect,
    /// permessage-deflate was agreed upon.
    pub deflate: bool,
    /// The client's IP address.
    pub address: Arc<str>,
    /// Known from the upgrade in the messenger dialect.
    pub identity: Option<Identity>,
    pub stats: Rc<OutboxStats>,
    /// Counts this socket for its address until it is dropped.
    pub place: crate::gate::AddressPlace,
}

/// The endpoint of one chat socket.
pub struct SessionSocket {
    node: Arc<Node>,
    dialect: Dialect,
    open: OpenSession,
    state: Rc<SocketState>,
    /// Taken at the close: keys are reused.
    beat: Cell<Option<heartbeat::Key>>,
    _place: crate::gate::AddressPlace,
}

impl SessionSocket {
    /// Opens the session of a socket whose handshake is about to be answered.
    pub fn open(settings: SocketSettings) -> (Rc<SocketState>, Box<dyn Endpoint>) {
        let SocketSettings { node, dialect, deflate, address, identity, stats, place } = settings;
        let encoding = Encoding { dialect, compressed: deflate };
        let outbox = Rc::new(Outbox::with_bounds(encoding, stats, node.settings.outbox_max_bytes, OUTBOX_MAX_FRAMES));
        let state = Rc::new(SocketState::with_outbox(outbox.clone()));
        let open = node.open_session(dialect, outbox, address, identity);
        let beat = heartbeat::add(Beat::new(state.clone(), open.session.clone(), open.slot, dialect));
        let beat = Cell::new(Some(beat));
        (state.clone(), Box::new(Self { node, dialect, open, state, beat, _place: place }))
    }

    fn tell(&self, message: SessionMessage) {
        // Past the bound: the reader stops at the gate long before. Closed: the session is ending the socket.
        let _ = self.open.session.tell_always(message);
    }

    fn stop_beating(&self) {
        if let Some(beat) = self.beat.take() {
            heartbeat::remove(beat);
        }
    }
}

impl Endpoint for SessionSocket {
    fn on_text(&mut self, text: &str) {
        self.node.counters.inbound.fetch_add(1, Relaxed);
        self.open.gate.told();
        self.tell(SessionMessage::Inbound(text.to_owned()));
    }

    fn on_binary(&mut self, data: &[u8]) {
        match (self.dialect, std::str::from_utf8(data)) {
            // Clients of the older servers may send their text as binary; those servers took it.
            (Dialect::Rooms | Dialect::Messenger, Ok(text)) => self.on_text(text),
            _ => self.state.outbox.close(CloseCode::UNSUPPORTED, "text frames only"),
        }
    }

    fn on_pong(&mut self, payload: &[u8]) {
        if let Some(beat) = self.beat.get() {
            heartbeat::pong(beat, payload);
        }
    }

    fn want_read(&self) -> bool {
        self.open.gate.is_open()
    }

    fn on_closed(&mut self, closed: Closed) {
        let clean = closed.by == ClosedBy::Peer
            && matches!(closed.code, Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) | None);
        if clean {
            self.tell(SessionMessage::ClosedCleanly);
        }
        tracing::debug!(slot = %self.open.slot, by = closed.by.as_str(), code = closed.code.map(|code| code.0), "socket closed");
        self.tell(SessionMessage::Closed);
        self.stop_beating();
    }
}

impl Drop for SessionSocket {
    fn drop(&mut self) {
        // Told twice does no harm: the session has stopped then.
        self.stop_beating();
        self.tell(SessionMessage::Closed);
    }
}
