//! The native session: the server's side of `chinwag.v1` (`ops/protocol/native.md`).
//!
//! It knows its user, which head the client was shown per conversation, and which requests are its own; the truth about conversations
//! is their owners'. What it promises above all: the client gets every event after the head that it was shown, each once and in
//! order. For this
//!
//! - a reply that shows heads is made behind a cork: heads are read after it was put in, so later events come after the reply;
//! - a conversation that wakes is attached from the head shown, whatever its head is by then ([`NativeSession::known`]);
//! - wakes that come while heads are being read wait until the reply is out ([`wakes`]).
//!
//! Unanswered sends are not counted here, since their answers never pass the session (they go from the relay to the socket): they
//! are bounded by the reader's gate before and by the conversation's `PENDING_MAX` behind it, which answers `unavailable`.

mod answers;
mod commands;
mod conversations;
mod created;
mod hello;
mod listing;
mod people;
mod render;
mod resume;
mod tag;
mod wakes;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, EventId, Seq, UserId},
    limits::socket::NATIVE_HELLO_TIMEOUT,
    wire::native::{self as wire, Command, reply_error, reply_ok},
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use serde_json::json;

use super::{Conn, DialectSession, Io, Tag};
use crate::{
    conversation::messages::{Answer, Caller, ConversationMessage, Woken},
    directory::DirectoryMessage,
    presence::PresenceMessage,
    relay::ReplyTo,
};

pub use created::CreatedGroups;
pub use render::render;
pub use tag::{NativeTag, What};

/// Reads under way at once; beyond it, frames wait until one is done.
const READS_MAX: usize = 16;

/// How far the socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Only `hello` is taken.
    #[default]
    Silent,
    /// Hello was said and its reply is being made.
    Entering,
    Welcome,
    /// The socket is being closed: nothing is taken any more.
    Over,
}

/// A conversation as far as this socket was told.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The client was shown this head, or was handed everything up to it: attaching starts here.
    head: Seq,
    /// The other user of a one-to-one chat.
    other: Option<UserId>,
    /// The owner was asked to attach this socket, and the conversation hasn't slept since.
    asked: bool,
}

impl Known {
    fn at(head: Seq) -> Self {
        Self { head, other: None, asked: false }
    }
}

/// A conversation that a request of this socket makes or joins: its reply tells of it, so no event does.
#[derive(Debug)]
enum Own {
    /// The reply isn't out; a wake that came before it waits here.
    Asked(Option<Box<Woken>>),
    /// It is, and the wake is still to come.
    Told,
}

/// What few sockets need.
#[derive(Default)]
struct Rare {
    /// Rooms listened to.
    listening: FxHashSet<ConversationId>,
    /// Users named in `presence.watch`.
    watched: FxHashSet<UserId>,
    /// Chats by the names of their other users, for `send` with `to`.
    chats: FxHashMap<Box<str>, ConversationId>,
    /// A guest's own events, oldest first.
    guest_own: VecDeque<EventId>,
    own: FxHashMap<ConversationId, Own>,
}

/// State behind a native socket.
#[derive(Default)]
pub struct NativeSession {
    phase: Phase,
    known: FxHashMap<ConversationId, Known>,
    /// `hello`, `resume` or `conversations` under way.
    gathering: Option<Box<resume::Gathering>>,
    /// Reasons for holding events back.
    corks: u32,
    rare: Option<Box<Rare>>,
    /// Id of the request that is being handled, for [`DialectSession::failed`].
    current: String,
    /// Requests whose reads are under way beside the frames.
    reads: Vec<Box<str>>,
    /// Counts gatherings, so that a late answer or timer doesn't touch a later one.
    round: u32,
    /// Messages sent on this socket.
    sent: u64,
}

impl DialectSession for NativeSession {
    fn opened(&mut self, io: &mut Io<'_, '_>) {
        io.after(NATIVE_HELLO_TIMEOUT, |conn, io| {
            let session = this(conn);
            if session.phase == Phase::Silent {
                session.close(CloseCode::HELLO_TIMEOUT, "no hello in time", io);
            }
        });
    }

    fn inbound(&mut self, text: &str, io: &mut Io<'_, '_>) {
        if self.phase == Phase::Over {
            return;
        }
        self.current.clear();
        let request = match wire::decode(text) {
            Ok(request) => request,
            Err((id, error)) => {
                io.node.counters.malformed.fetch_add(1, Relaxed);
                io.send_text(&reply_error(id.as_deref(), &error));
                if self.phase == Phase::Silent && error.code == ErrorCode::UnsupportedVersion {
                    self.close(CloseCode::UNSUPPORTED_VERSION, "unsupported version", io);
                }
                return;
            }
        };
        self.current.push_str(&request.id);
        let id: Box<str> = request.id.into();
        match (self.phase, request.command) {
            (Phase::Silent, Command::Hello(hello)) => self.hello(id, hello, io),
            (Phase::Silent, _) => {
                refuse(&*id, &ClientError::new(ErrorCode::Unauthorized, "say hello first"), io);
            }
            (_, Command::Hello(_)) => {
                refuse(&*id, &ClientError::new(ErrorCode::BadRequest, "hello was said already").field("type"), io);
            }
            (_, command) => self.command(id, command, io),
        }
    }

    fn answered(&mut self, tag: Tag, answer: Answer, io: &mut Io<'_, '_>) {
        if let Tag::Native(tag) = tag {
            self.current.clear();
            self.current.push_str(&tag.id);
            self.heard(tag, answer, io);
        }
    }

    fn wake(&mut self, woken: Woken, io: &mut Io<'_, '_>) {
        self.woken(woken, io);
    }

    fn asleep(&mut self, woken: Woken, _io: &mut Io<'_, '_>) {
        self.fell_asleep(&woken);
    }

    fn delivered(&mut self, _io: &mut Io<'_, '_>) {}

    fn closed(&mut self, io: &mut Io<'_, '_>) {
        let Some(caller) = io.caller.clone() else { return };
        // Past the bounds: the end of a socket.
        let _ = io.node.directory.tell_always(DirectoryMessage::Closed { slot: io.slot, user: caller.user });
        let _ = io.node.presence.tell_always(PresenceMessage::Forget { slot: io.slot });
        for conversation in self.rare.take().map(|rare| rare.listening).into_iter().flatten() {
            // A room with a listener doesn't sleep.
            let unlisten = ConversationMessage::Unlisten { from: caller.clone(), reply: ReplyTo::nobody() };
            io.node.conversations.tell_active(conversation, unlisten);
        }
    }

    fn failed(&mut self, io: &mut Io<'_, '_>) {
        // Whatever the session itself waited for is void now.
        let id = std::mem::take(&mut self.current);
        refuse(if id.is_empty() { None } else { Some(&*id) }, &ClientError::internal(), io);
        for read in std::mem::take(&mut self.reads).into_iter().filter(|read| **read != *id) {
            refuse(&*read, &ClientError::internal(), io);
        }
        match self.phase {
            // The timer is void, too.
            Phase::Silent => self.opened(io),
            Phase::Entering => return self.close(CloseCode::INTERNAL, "internal error", io),
            Phase::Welcome | Phase::Over => {}
        }
        let gathering = self.gathering.take();
        if let Some(unanswered) =
            gathering.as_ref().and_then(|gathering| gathering.request()).filter(|open| *open != &*id)
        {
            refuse(unanswered, &ClientError::internal(), io);
        }
        self.corks = 0;
        io.uncork();
        self.release(gathering.map(|gathering| gathering.wakes).unwrap_or_default(), io);
    }

    fn observe(&self) -> serde_json::Value {
        json!({
            "phase": format!("{:?}", self.phase),
            "conversations": self.known.len(),
            "listening": self.rare.as_ref().map_or(0, |rare| rare.listening.len()),
            "watched": self.rare.as_ref().map_or(0, |rare| rare.watched.len()),
            "gathering": self.gathering.is_some(),
            "corks": self.corks,
            "reads": self.reads.len(),
            "sent": self.sent,
        })
    }
}

/// The native state of a socket that is native.
fn this(conn: &mut Conn) -> &mut NativeSession {
    match conn {
        Conn::Native(session) => session,
        _ => unreachable!("continuations of a native session come back to it"),
    }
}

/// Answers a request with its result.
fn answer<T: Serialize>(id: &str, result: &T, io: &Io<'_, '_>) {
    io.send_text(&reply_ok(id, result));
}

/// Answers a request with an error; without an id one that nobody can name.
fn refuse<'a>(id: impl Into<Option<&'a str>>, error: &ClientError, io: &Io<'_, '_>) {
    io.send_text(&reply_error(id.into(), error));
}

fn forbidden(why: &str) -> ClientError {
    ClientError::new(ErrorCode::Forbidden, why)
}

fn not_found(what: &str) -> ClientError {
    ClientError::new(ErrorCode::NotFound, format!("no such {what}"))
}

impl NativeSession {
    fn close(&mut self, code: CloseCode, reason: &'static str, io: &Io<'_, '_>) {
        self.phase = Phase::Over;
        io.close(code, reason);
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Holds events back until a reply is out; as often as it was called, [`Self::uncork`] must be.
    fn cork(&mut self, io: &Io<'_, '_>) {
        self.corks += 1;
        io.cork();
    }

    fn uncork(&mut self, io: &Io<'_, '_>) {
        self.corks = self.corks.saturating_sub(1);
        if self.corks == 0 {
            io.uncork();
        }
    }

    /// Waits for something while frames wait, too. `next` gets the request's id back.
    fn then<T: Send + 'static>(
        &mut self,
        id: Box<str>,
        future: impl Future<Output = T> + 'static,
        next: impl FnOnce(T, Box<str>, &mut NativeSession, &mut Io<'_, '_>) + Send + 'static,
        io: &mut Io<'_, '_>,
    ) {
        io.then(future, move |value, conn, io| {
            let session = this(conn);
            session.current.clear();
            session.current.push_str(&id);
            next(value, id, session, io);
        });
    }

    /// Begins a read whose reply may come later than those of the frames after it. [`Self::read_ends`] ends it.
    fn read_begins(&mut self, id: &str, io: &mut Io<'_, '_>) {
        self.reads.push(id.into());
        if self.reads.len() >= READS_MAX {
            io.hold_inbound();
        }
    }

    /// Frames held back for too many reads go on. Nothing else holds them meanwhile: only frames begin what does.
    fn read_ends(&mut self, id: &str, io: &mut Io<'_, '_>) {
        let full = self.reads.len() >= READS_MAX;
        let Some(index) = self.reads.iter().position(|read| **read == *id) else { return };
        self.reads.swap_remove(index);
        if full && self.reads.len() < READS_MAX {
            io.resume_inbound();
        }
    }

    /// Waits for a part of a read that was begun, and ends it.
    fn aside<T: Send + 'static>(
        &mut self,
        id: Box<str>,
        future: impl Future<Output = T> + 'static,
        next: impl FnOnce(T, Box<str>, &mut NativeSession, &mut Io<'_, '_>) + Send + 'static,
        io: &mut Io<'_, '_>,
    ) {
        io.aside(future, move |value, conn, io| {
            let session = this(conn);
            session.read_ends(&id, io);
            session.current.clear();
            session.current.push_str(&id);
            next(value, id, session, io);
        });
    }

    /// Makes a reply that is rendered with this tag.
    fn reply(&self, id: Box<str>, what: What, io: &Io<'_, '_>) -> ReplyTo {
        io.reply_to(Tag::Native(NativeTag { id, what }))
    }

    /// Returns the caller if it has an account; answers `forbidden` else.
    fn account(&self, id: &str, io: &Io<'_, '_>) -> Option<Arc<Caller>> {
        let caller = io.caller();
        if caller.guest {
            refuse(id, &forbidden("guests can't do this: create an account"), io);
            return None;
        }
        Some(caller)
    }
}
