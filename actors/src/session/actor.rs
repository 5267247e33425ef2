//! The session actor: one per socket. It takes frames in order, hands them to its dialect, and ends with its socket.

use std::{cell::Cell, collections::VecDeque, rc::Rc, sync::Arc};

use chinwag_schema::{error::CloseCode, ids::Slot, limits::socket::INBOUND_MAX_WAITING, wire::Dialect};
use serde_json::{Value, json};

use super::{Conn, Io, Tag, dialect::Continue, outbox::Outbox};
use crate::{
    conversation::messages::{Answer, Caller, Woken},
    engine::Node,
    message_kinds,
    relay::Sockets,
    runtime::{Behaviour, Cx, Kind},
};

/// What a session is told.
pub enum SessionMessage {
    /// A text frame from the client.
    Inbound(String),
    /// A conversation answered a request whose tag is awaited.
    Answered { tag: Tag, answer: Answer },
    /// A conversation of this user is awake.
    Wake(Woken),
    /// It sleeps again.
    Asleep(Woken),
    /// Own work came back; frames wait for it.
    Continue(Continue),
    /// Own work came back, beside the frames.
    Aside(Continue),
    /// The pong to a ping that went out by [`Sockets::ping_goes_out`] came back: what was written before it has certainly arrived.
    Delivered,
    /// The client closed the connection cleanly: all that was written has arrived.
    ClosedCleanly,
    /// Closes the socket: kicked, revoked, draining.
    Close { code: CloseCode, reason: &'static str },
    /// The socket is gone.
    Closed,
}

message_kinds!(SessionMessage {
    Inbound,
    Answered,
    Wake,
    Asleep,
    Continue,
    Aside,
    Delivered,
    ClosedCleanly,
    Close,
    Closed
});

/// What outlives a panic of a handler: all of the socket's state.
pub struct SessionKeep {
    pub(super) node: Arc<Node>,
    pub(super) sockets: Rc<Sockets>,
    pub(super) outbox: Rc<Outbox>,
    pub(super) slot: Slot,
    pub(super) dialect: Dialect,
    pub(super) address: Arc<str>,
    pub(super) opened_at_ms: i64,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) conn: Conn,
    /// Frames that wait for own work; bounded by the reader, which stops at `INBOUND_MAX_WAITING`.
    pub(super) waiting: VecDeque<String>,
    pub(super) busy: bool,
    pub(super) gate: Rc<ReaderGate>,
    /// The dialect was told: found set, the session is being rebuilt.
    pub(super) opened: bool,
}

impl SessionKeep {
    /// Makes the state of a socket that has just opened.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        node: Arc<Node>,
        sockets: Rc<Sockets>,
        outbox: Rc<Outbox>,
        slot: Slot,
        dialect: Dialect,
        address: Arc<str>,
        conn: Conn,
        gate: Rc<ReaderGate>,
    ) -> Self {
        let opened_at_ms = node.runtime.unix_ms();
        Self {
            node,
            sockets,
            outbox,
            slot,
            dialect,
            address,
            opened_at_ms,
            caller: None,
            conn,
            waiting: VecDeque::new(),
            busy: false,
            gate,
            opened: false,
        }
    }
}

/// Frames told to a session and not yet handled: the reader of its socket stops while they are too many.
#[derive(Default)]
pub struct ReaderGate {
    backlog: Cell<usize>,
    stopped: Cell<bool>,
}

impl ReaderGate {
    /// Notes that a frame was told to the session.
    pub fn told(&self) {
        self.backlog.set(self.backlog.get() + 1);
    }

    /// Says whether the reader may go on; after a no, the session wakes the socket when it may.
    pub fn is_open(&self) -> bool {
        let open = self.backlog.get() < INBOUND_MAX_WAITING;
        self.stopped.set(!open);
        open
    }

    /// Notes that a frame was handled; true if the reader waits for that.
    fn handled(&self) -> bool {
        let backlog = self.backlog.get().saturating_sub(1);
        self.backlog.set(backlog);
        backlog <= INBOUND_MAX_WAITING / 2 && self.stopped.replace(false)
    }
}

/// The session actor. Mailbox bound 1,024: the reader stops at `INBOUND_MAX_WAITING` frames long before. A panic keeps all
/// state; the frame at fault is answered 'internal error'.
pub struct Session;

impl Behaviour for Session {
    type Message = SessionMessage;
    type Keep = SessionKeep;
    const KIND: Kind = "session";
    const MAILBOX: usize = 1024;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        let mut session = Self;
        if cx.keep.opened {
            // Rebuilt: a handler panicked, and whatever frames waited for is void.
            cx.keep.busy = false;
            session.with(cx, |conn, io| conn.as_dialect().failed(io));
        } else {
            cx.keep.opened = true;
            session.with(cx, |conn, io| conn.as_dialect().opened(io));
        }
        session
    }

    fn handle(&mut self, message: SessionMessage, cx: &mut Cx<'_, Self>) {
        match message {
            SessionMessage::Inbound(text) => {
                cx.keep.waiting.push_back(text);
            }
            SessionMessage::Answered { tag, answer } => {
                self.with(cx, |conn, io| conn.as_dialect().answered(tag, answer, io));
            }
            SessionMessage::Wake(woken) => self.with(cx, |conn, io| conn.as_dialect().wake(woken, io)),
            SessionMessage::Asleep(woken) => self.with(cx, |conn, io| conn.as_dialect().asleep(woken, io)),
            SessionMessage::Continue(next) => {
                cx.keep.busy = false;
                self.with(cx, next);
            }
            SessionMessage::Aside(next) => self.with(cx, next),
            SessionMessage::Delivered => self.with(cx, |conn, io| {
                io.sockets.pong_came(io.slot);
                conn.as_dialect().delivered(io);
            }),
            SessionMessage::ClosedCleanly => self.with(cx, |conn, io| {
                io.sockets.all_arrived(io.slot);
                conn.as_dialect().delivered(io);
            }),
            SessionMessage::Close { code, reason } => cx.keep.outbox.close(code, reason),
            SessionMessage::Closed => {
                cx.stop();
                return;
            }
        }
        self.take_waiting(cx);
    }

    fn stopped(&mut self, cx: &mut Cx<'_, Self>) {
        cx.keep.sockets.close(cx.keep.slot);
        let lasted_ms = cx.unix_ms() - cx.keep.opened_at_ms;
        cx.keep.node.session_ended(cx.keep.dialect, cx.keep.caller.is_some(), lasted_ms);
        // Also when the restart budget was spent: the socket must not outlive its session.
        if !cx.keep.outbox.is_closing() {
            cx.keep.outbox.close_now(CloseCode::INTERNAL, "internal error");
        }
        // Directory and conversations hear of it however the session ends. Last: a panic in it takes nothing else along.
        self.with(cx, |conn, io| conn.as_dialect().closed(io));
    }

    fn observe(&self, keep: &SessionKeep) -> Value {
        json!({
            "slot": keep.slot.to_string(),
            "dialect": keep.dialect.as_str(),
            "user": keep.caller.as_ref().map(|caller| caller.name.to_string()),
            "user_id": keep.caller.as_ref().map(|caller| caller.user),
            "guest": keep.caller.as_ref().is_some_and(|caller| caller.guest),
            "address": &*keep.address,
            "opened_at_ms": keep.opened_at_ms,
            "waiting": keep.waiting.len(),
            "outbox_bytes": keep.outbox.bytes(),
            "outbox_frames": keep.outbox.len(),
            "state": keep.conn.as_dialect_ref().observe(),
        })
    }
}

impl Session {
    /// Handles the frames that wait, until own work is under way.
    fn take_waiting(&mut self, cx: &mut Cx<'_, Self>) {
        while !cx.keep.busy {
            let Some(text) = cx.keep.waiting.pop_front() else { break };
            if cx.keep.gate.handled() {
                cx.keep.outbox.wake();
            }
            self.with(cx, |conn, io| conn.as_dialect().inbound(&text, io));
        }
        if cx.keep.waiting.is_empty() && cx.keep.waiting.capacity() > 8 {
            cx.keep.waiting = VecDeque::new();
        }
    }

    fn with(&mut self, cx: &mut Cx<'_, Self>, work: impl FnOnce(&mut Conn, &mut Io<'_, '_>)) {
        let tools = cx.tools();
        let keep = &mut *cx.keep;
        let mut io = Io {
            node: &keep.node,
            slot: keep.slot,
            dialect: keep.dialect,
            address: &keep.address,
            caller: &mut keep.caller,
            opened_at_ms: keep.opened_at_ms,
            outbox: &keep.outbox,
            sockets: &keep.sockets,
            busy: &mut keep.busy,
            tools,
        };
        work(&mut keep.conn, &mut io);
    }
}
