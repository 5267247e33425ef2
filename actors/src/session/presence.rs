//! The session of a presence socket: hears when users with whom its own user shares a chat come and go. It says nothing itself, but an
//! open one keeps its user online.

use chinwag_schema::{
    error::CloseCode,
    ids::UserId,
    wire::messenger::{ServerFrame, error_of},
};
use serde_json::{Value, json};

use super::{Conn, DialectSession, Io, Tag, authenticator::Identity, dialect::store_error, entrance};
use crate::{
    conversation::messages::{Answer, Woken},
    presence::PresenceMessage,
};

/// Frames that are answered; a client that goes on talking is ignored.
const ANSWERED_MAX: u32 = 16;

/// State behind a presence socket.
#[derive(Default)]
pub struct PresenceSession {
    identity: Option<Identity>,
    watched: usize,
    answered: u32,
}

impl PresenceSession {
    /// Makes the session of an identity known from the upgrade.
    pub fn new(identity: Option<Identity>) -> Self {
        Self { identity, ..Self::default() }
    }

    fn watch(&mut self, users: Vec<UserId>, io: &Io<'_, '_>) {
        if users.is_empty() {
            return;
        }
        self.watched += users.len();
        // Full: presence is shed under load, before messages.
        let _ = io.node.presence.tell(PresenceMessage::Watch { slot: io.slot, users });
    }
}

impl DialectSession for PresenceSession {
    fn opened(&mut self, io: &mut Io<'_, '_>) {
        let Some(identity) = self.identity.take() else {
            return io.close(CloseCode::UNAUTHORIZED, "no valid token");
        };
        let user = identity.user;
        if !entrance::enter(identity, io) {
            return;
        }
        let accounts = io.node.accounts.clone();
        let memberships = async move { entrance::memberships(&accounts, user).await };
        io.aside(memberships, move |memberships, conn, io| match memberships {
            Ok(memberships) => {
                let others = memberships.iter().filter_map(|membership| membership.conversation.other(user));
                session(conn).watch(others.map(|other| other.user).collect(), io);
            }
            Err(error) => {
                // Silence would look like 'nobody is there': the client comes back instead.
                send(&error_of(&store_error(&error)), io);
                io.close(CloseCode::OVERLOADED, "storage is busy, reconnect later");
            }
        });
    }

    fn inbound(&mut self, _text: &str, io: &mut Io<'_, '_>) {
        if self.answered < ANSWERED_MAX {
            self.answered += 1;
            send(&ServerFrame::error("A presence socket takes no messages."), io);
        }
    }

    fn answered(&mut self, _tag: Tag, _answer: Answer, _io: &mut Io<'_, '_>) {}

    fn wake(&mut self, woken: Woken, io: &mut Io<'_, '_>) {
        let (Some(caller), Some(conversation)) = (io.caller.as_ref(), woken.added) else { return };
        if let Some(other) = conversation.other(caller.user) {
            self.watch(vec![other.user], io);
        }
    }

    fn asleep(&mut self, _woken: Woken, _io: &mut Io<'_, '_>) {}

    fn delivered(&mut self, _io: &mut Io<'_, '_>) {}

    fn closed(&mut self, io: &mut Io<'_, '_>) {
        entrance::leave(io);
    }

    fn failed(&mut self, io: &mut Io<'_, '_>) {
        send(&ServerFrame::error("Internal server error."), io);
    }

    fn observe(&self) -> Value {
        json!({"watched": self.watched})
    }
}

fn send(frame: &ServerFrame, io: &Io<'_, '_>) {
    io.send_text(&frame.encode());
}

fn session(conn: &mut Conn) -> &mut PresenceSession {
    match conn {
        Conn::Presence(session) => session,
        _ => unreachable!("a socket keeps its dialect"),
    }
}
