//! `/ws/echo`: sends every message back. The operators' connectivity probe, and what conformance suites run against.

use std::rc::Rc;

use chinwag_actors::session::{
    outbox::{Outbox, OutboxStats},
    socket::SocketState,
};
use chinwag_schema::{
    event::Class,
    wire::{
        Dialect, Encoding,
        frame::{self, Opcode},
    },
};

use super::{
    decoder::WsLimits,
    endpoint::{Closed, Endpoint},
    upgrade::Accept,
};

/// Path of the endpoint, on the operations listener.
pub const ECHO_PATH: &str = "/ws/echo";

/// The next message is read when no more than this waits to be sent back, bytes.
const WAITING_MAX_BYTES: usize = 64 * 1024;
/// One message more than that may wait; an outbox never reaches this.
const OUTBOX_BYTES: usize = 64 << 20;

struct Echo {
    state: Rc<SocketState>,
}

impl Echo {
    fn send(&self, opcode: Opcode, payload: &[u8]) {
        let frame = match (self.state.outbox.encoding().compressed, opcode) {
            (true, opcode) => frame::always_compressed(opcode, payload),
            (false, Opcode::Binary) => frame::binary(payload, false),
            (false, _) => frame::text(payload, false),
        };
        self.state.outbox.push(frame, &Class::Kept);
    }
}

impl Endpoint for Echo {
    fn on_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    fn on_binary(&mut self, data: &[u8]) {
        self.send(Opcode::Binary, data);
    }

    fn want_read(&self) -> bool {
        self.state.outbox.bytes() <= WAITING_MAX_BYTES
    }

    fn on_closed(&mut self, _closed: Closed) {}
}

/// Accepts a socket that echoes. `deflate` is the request's.
pub fn accept(deflate: bool, stats: Rc<OutboxStats>) -> Accept {
    Accept {
        subprotocol: None,
        limits: WsLimits::ECHO,
        open: Box::new(move || {
            // Frozen dialects have no gaps; an echo has no events at all.
            let encoding = Encoding { dialect: Dialect::Rooms, compressed: deflate };
            let outbox = Outbox::with_bounds(encoding, stats, OUTBOX_BYTES, usize::MAX);
            let state = Rc::new(SocketState::with_outbox(Rc::new(outbox)));
            (state.clone(), Box::new(Echo { state }))
        }),
    }
}
