//! The session of a rooms socket: who it is, which room it is in, and its commands.
//!
//! ```text
//! auth      guests, tokens, passwords          places    create, join, leave: one room at a time
//! talk      messages, edits, typing            commands  /rooms, /users, /stats, …
//! render    what conversations answer
//! ```
//! Whether a user may read, post or change a message is the room's owner's to say; the session only knows which messages a guest's own
//! socket sent.

mod auth;
mod commands;
mod places;
mod render;
mod talk;

use std::{collections::VecDeque, future::Future, sync::atomic::Ordering::Relaxed};

use chinwag_schema::{
    error::CloseCode,
    ids::{ConversationId, EventId},
    limits::{
        socket::{AUTH_ATTEMPTS_MAX, ROOMS_AUTH_TIMEOUT},
        user::GUEST_OWN_MAX,
    },
    model::Name,
    wire::rooms::{ClientFrame, ErrorCode, ErrorInfo, ServerFrame, decode},
};
use serde_json::{Value, json};

pub use render::{RoomsTag, StatsSoFar, render};

use super::{Conn, DialectSession, Io, Tag, entrance};
use crate::{
    conversation::messages::{Answer, ConversationMessage, Woken},
    protection::Wait,
    relay::ReplyTo,
};

/// A room as the session knows it.
#[derive(Debug, Clone)]
struct Room {
    id: ConversationId,
    name: Name,
}

/// Where the socket is on its way to, while it leaves its old room.
#[derive(Debug, Clone)]
struct Target {
    room: Room,
    /// The socket's user made the room just now.
    created: bool,
}

/// State behind a rooms socket.
#[derive(Default)]
pub struct RoomsSession {
    room: Option<Room>,
    target: Option<Target>,
    /// Messages that this socket sent, newest last; guests only, at most [`GUEST_OWN_MAX`].
    own: VecDeque<EventId>,
    messages: u64,
    rooms_joined: u64,
    /// Attempts to authenticate, at most [`AUTH_ATTEMPTS_MAX`].
    attempts: u32,
    /// Typing frames since this second of the clock began ([`talk`]).
    typing: (i64, u32),
}

impl DialectSession for RoomsSession {
    fn opened(&mut self, io: &mut Io<'_, '_>) {
        send(&ServerFrame::system(&*io.node.settings.welcome), io);
        close_unless_authenticated_in_time(io);
    }

    fn inbound(&mut self, text: &str, io: &mut Io<'_, '_>) {
        let frame = match decode(text) {
            Ok(frame) => frame,
            Err(rejected) => {
                io.node.counters.malformed.fetch_add(1, Relaxed);
                let error = if io.caller.is_some() { rejected.authenticated() } else { rejected.unauthenticated() };
                return fail(error, io);
            }
        };
        if io.caller.is_none() && !matches!(frame, ClientFrame::Auth(_)) {
            return fail(ErrorInfo::unauthorized(), io);
        }
        match frame {
            ClientFrame::Auth(login) => {
                self.attempts += 1;
                if self.attempts > AUTH_ATTEMPTS_MAX {
                    // Each costs a look-up, and tells whether a name is registered.
                    return io.close(CloseCode::POLICY, "too many attempts to authenticate");
                }
                auth::auth(login, io);
            }
            ClientFrame::CreateRoom { name } => self.create_room(&name, io),
            ClientFrame::JoinRoom { name } => self.join_room(&name, io),
            ClientFrame::LeaveRoom => self.leave_room(io),
            ClientFrame::SendMessage { content } => self.send_message(content, io),
            ClientFrame::TypingStart => self.typing(true, io),
            ClientFrame::TypingStop => self.typing(false, io),
            ClientFrame::Command(command) => self.command(command, io),
            ClientFrame::EditMessage { message, content } => self.edit_message(message, content, io),
            ClientFrame::DeleteMessage { message } => self.delete_message(message, io),
        }
    }

    fn answered(&mut self, tag: Tag, answer: Answer, io: &mut Io<'_, '_>) {
        let Tag::Rooms(tag) = tag else { return };
        match (tag, answer) {
            (RoomsTag::Switch, _) => self.left_for_target(io),
            (RoomsTag::Join { .. } | RoomsTag::Create { .. }, answer) => self.arrived(answer, io),
            (RoomsTag::Leave { .. }, answer) => self.left(&answer, io),
            (RoomsTag::Send { .. }, Answer::Posted { id, .. }) => {
                if self.own.len() == GUEST_OWN_MAX {
                    self.own.pop_front();
                }
                self.own.push_back(id);
            }
            _ => {}
        }
    }

    /// This dialect hears rooms that it joined, not memberships.
    fn wake(&mut self, _woken: Woken, _io: &mut Io<'_, '_>) {}

    fn asleep(&mut self, _woken: Woken, _io: &mut Io<'_, '_>) {}

    fn delivered(&mut self, _io: &mut Io<'_, '_>) {}

    fn closed(&mut self, io: &mut Io<'_, '_>) {
        if io.caller.is_some() {
            let target = self.target.take().map(|target| target.room.id);
            for id in [self.room.take().map(|room| room.id), target].into_iter().flatten() {
                io.tell(id, ConversationMessage::Unlisten { from: io.caller(), reply: ReplyTo::nobody() });
            }
        }
        entrance::leave(io);
    }

    fn failed(&mut self, io: &mut Io<'_, '_>) {
        let error = ErrorInfo::new(ErrorCode::InternalError, "Internal server error");
        fail(error.correlated(io.slot.to_string(), io.now_ms()), io);
        if io.caller.is_none() {
            // The first timer ended with the handler that panicked.
            close_unless_authenticated_in_time(io);
        }
    }

    fn observe(&self) -> Value {
        json!({
            "room": self.room.as_ref().map(|room| room.name.to_string()),
            "messages": self.messages,
            "rooms_joined": self.rooms_joined,
        })
    }
}

fn close_unless_authenticated_in_time(io: &Io<'_, '_>) {
    io.after(ROOMS_AUTH_TIMEOUT, |_, io| {
        if io.caller.is_none() {
            io.close(CloseCode::HELLO_TIMEOUT, "not authenticated in time");
        }
    });
}

fn send(frame: &ServerFrame, io: &Io<'_, '_>) {
    io.send_text(&frame.encode(io.now_ms()));
}

fn fail(error: ErrorInfo, io: &Io<'_, '_>) {
    send(&ServerFrame::error(error), io);
}

fn rate_limited(wait: Wait, io: &Io<'_, '_>) {
    io.node.counters.rate_limited.fetch_add(1, Relaxed);
    fail(ErrorInfo::rate_limited(wait.as_ms()), io);
}

/// Waits as [`Io::then`] does and goes on with the session.
fn wait<T: Send + 'static>(
    io: &mut Io<'_, '_>,
    future: impl Future<Output = T> + 'static,
    next: impl FnOnce(T, &mut RoomsSession, &mut Io<'_, '_>) + Send + 'static,
) {
    io.then(future, move |value, conn, io| match conn {
        Conn::Rooms(session) => next(value, session, io),
        _ => unreachable!("a socket keeps its dialect"),
    });
}
