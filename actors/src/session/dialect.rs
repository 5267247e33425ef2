//! What the three dialects have in common: the state behind a socket, and what its handlers may use.

use std::{future::Future, rc::Rc, sync::Arc};

use bytes::Bytes;
use chinwag_schema::{
    error::{ClientError, CloseCode},
    event::Class,
    ids::{ConversationId, Slot},
    wire::{Dialect, encoded_event::EncodedEvent, frame},
};

use super::{
    Session, SessionMessage, Tag, messenger::MessengerSession, native::NativeSession, outbox::Outbox,
    presence::PresenceSession, rooms::RoomsSession,
};
use crate::{
    conversation::messages::{Answer, Caller, ConversationMessage, Woken},
    engine::Node,
    relay::{ReplyTo, Sockets},
    runtime::Tools,
};

/// The state of a dialect behind one socket. It outlives a panic of a handler ([`Session`]'s keep), so handlers change it in small
/// steps.
pub trait DialectSession {
    /// The socket opened (with an identity for dialects that have one from the start).
    fn opened(&mut self, io: &mut Io<'_, '_>);
    /// A text frame came. Called in order, and not while [`Io::then`] is under way.
    fn inbound(&mut self, text: &str, io: &mut Io<'_, '_>);
    /// A conversation answered a request whose tag is awaited. What the client sees was sent already ([`super::render`]).
    fn answered(&mut self, tag: Tag, answer: Answer, io: &mut Io<'_, '_>);
    /// A conversation of this user is awake, or became the user's.
    fn wake(&mut self, woken: Woken, io: &mut Io<'_, '_>);
    /// It sleeps again; the socket was handed all up to `woken.head`.
    fn asleep(&mut self, woken: Woken, io: &mut Io<'_, '_>);
    /// The client has certainly received what [`Sockets::take_arrived`] returns (a pong came back, or it closed cleanly).
    fn delivered(&mut self, io: &mut Io<'_, '_>);
    /// The socket is gone: give up what is held for it.
    fn closed(&mut self, io: &mut Io<'_, '_>);
    /// Says 'internal error' in the dialect: the handler of the last frame panicked.
    fn failed(&mut self, io: &mut Io<'_, '_>);
    /// Returns what an operator may see: no texts, no secrets.
    fn observe(&self) -> serde_json::Value;
}

/// The dialect of a socket, with its state.
pub enum Conn {
    Native(Box<NativeSession>),
    Rooms(Box<RoomsSession>),
    Messenger(Box<MessengerSession>),
    Presence(Box<PresenceSession>),
}

impl Conn {
    /// Returns the state as what all have in common.
    pub fn as_dialect(&mut self) -> &mut dyn DialectSession {
        match self {
            Self::Native(session) => &mut **session,
            Self::Rooms(session) => &mut **session,
            Self::Messenger(session) => &mut **session,
            Self::Presence(session) => &mut **session,
        }
    }

    /// Returns the state for reading.
    pub fn as_dialect_ref(&self) -> &dyn DialectSession {
        match self {
            Self::Native(session) => &**session,
            Self::Rooms(session) => &**session,
            Self::Messenger(session) => &**session,
            Self::Presence(session) => &**session,
        }
    }
}

/// What a session's handlers may use: the node, its socket, and ways to wait.
pub struct Io<'a, 'c> {
    pub node: &'a Arc<Node>,
    pub slot: Slot,
    pub dialect: Dialect,
    /// The client's address (IP), for throttling.
    pub address: &'a Arc<str>,
    /// Who the socket is; `None` until it has authenticated.
    pub caller: &'a mut Option<Arc<Caller>>,
    /// When the socket opened, Unix ms.
    pub opened_at_ms: i64,
    pub(super) outbox: &'a Rc<Outbox>,
    pub(super) sockets: &'a Rc<Sockets>,
    pub(super) busy: &'a mut bool,
    pub(super) tools: Tools<'c, Session>,
}

/// A continuation of [`Io::then`].
pub type Continue = Box<dyn FnOnce(&mut Conn, &mut Io<'_, '_>) + Send>;

impl Io<'_, '_> {
    /// Returns wall time, Unix ms.
    pub fn now_ms(&self) -> i64 {
        self.tools.unix_ms()
    }

    /// Sends the text of one frame to this socket (compressed if it is large and the socket takes that).
    pub fn send_text(&self, text: &[u8]) {
        self.outbox.push(frame::text(text, self.outbox.encoding().compressed), &Class::Kept);
    }

    /// Sends a complete frame.
    pub fn send_frame(&self, frame: Bytes) {
        self.outbox.push(frame, &Class::Kept);
    }

    /// Sends an event to this socket only, in order with those of conversations.
    pub fn send_event(&self, event: &Arc<EncodedEvent>) {
        self.sockets.send(self.slot, event);
    }

    /// Holds events of conversations back until [`Self::uncork`]; what this session sends itself goes out at once.
    pub fn cork(&self) {
        self.sockets.cork(self.slot);
    }

    /// Sends what was held back.
    pub fn uncork(&self) {
        self.sockets.uncork(self.slot);
    }

    /// Says whether events of the conversation go to this socket now.
    pub fn is_attached(&self, conversation: ConversationId) -> bool {
        self.sockets.is_attached(conversation, self.slot)
    }

    /// Closes the socket after what is queued was written.
    pub fn close(&self, code: CloseCode, reason: &'static str) {
        self.outbox.close(code, reason);
    }

    /// Returns the caller of an authenticated socket.
    ///
    /// # Panics
    /// When the socket hasn't authenticated; handlers check that first.
    pub fn caller(&self) -> Arc<Caller> {
        self.caller.clone().expect("checked by the handler: the socket has authenticated")
    }

    /// Makes a reply for a request to a conversation; the answer is rendered by [`super::render`] with this tag.
    pub fn reply_to(&self, tag: Tag) -> ReplyTo {
        ReplyTo::new(self.node.relays[usize::from(self.slot.worker)].clone(), self.slot, tag)
    }

    /// Tells a conversation something; an unknown id, a full mailbox and the like are answered through the message's own reply.
    pub fn tell(&self, conversation: ConversationId, message: ConversationMessage) {
        self.node.conversations.tell(conversation, message);
    }

    /// Waits for a future (on this thread) and goes on with `next`. Until then no further frame of this socket is handled, so that
    /// the order of its commands is kept. Everything that a future waits for must have a deadline; storage calls do.
    pub fn then<T: Send + 'static>(
        &mut self,
        future: impl Future<Output = T> + 'static,
        next: impl FnOnce(T, &mut Conn, &mut Io<'_, '_>) + Send + 'static,
    ) {
        *self.busy = true;
        self.tools.pipe(future, move |value| {
            SessionMessage::Continue(Box::new(move |conn: &mut Conn, io: &mut Io<'_, '_>| next(value, conn, io)))
        });
    }

    /// As [`Self::then`], but frames are handled meanwhile.
    pub fn aside<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        next: impl FnOnce(T, &mut Conn, &mut Io<'_, '_>) + Send + 'static,
    ) {
        self.tools.pipe(future, move |value| {
            SessionMessage::Aside(Box::new(move |conn: &mut Conn, io: &mut Io<'_, '_>| next(value, conn, io)))
        });
    }

    /// Holds further frames back until [`Self::resume_inbound`] (while an awaited answer is under way).
    pub fn hold_inbound(&mut self) {
        *self.busy = true;
    }

    /// Goes on with the frames held back.
    pub fn resume_inbound(&mut self) {
        *self.busy = false;
    }

    /// Calls back after a delay, for timers of a dialect.
    pub fn after(&self, delay: std::time::Duration, next: impl FnOnce(&mut Conn, &mut Io<'_, '_>) + Send + 'static) {
        self.aside(tokio::time::sleep(delay), move |(), conn, io| next(conn, io));
    }
}

/// Says what a store's failure is for a client.
pub fn store_error(error: &crate::ports::StoreError) -> ClientError {
    use chinwag_schema::error::ErrorCode;

    use crate::ports::StoreError as E;
    match error {
        E::NotFound => ClientError::new(ErrorCode::NotFound, "not found"),
        E::AlreadyExists => ClientError::new(ErrorCode::AlreadyExists, "already exists"),
        E::LimitReached(limit) => {
            ClientError::new(ErrorCode::LimitReached, format!("limit of {limit} reached")).limit(*limit)
        }
        E::Fenced => ClientError::unavailable("the conversation"),
        E::Unavailable(_) => ClientError::unavailable("storage"),
        E::Corrupt(_) => ClientError::internal(),
    }
}
