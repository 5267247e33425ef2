//! The session of a messenger chat socket: one-to-one chats, groups, summaries of what waited, and what has arrived.
//!
//! ```text
//! chats     one-to-one chats                   groups    groups, and public rooms as groups
//! summary   INIT_DATA, its ACK, friends        delivery  which live messages have certainly arrived
//! render    what conversations answer
//! ```
//! The identity comes from the upgrade; names in frames are only compared with it. A chat is found by its two users, never by the
//! `chatId` of a frame.

mod chats;
mod delivery;
mod groups;
mod render;
mod summary;

use std::{collections::VecDeque, future::Future, sync::atomic::Ordering::Relaxed};

use chinwag_schema::{
    error::CloseCode,
    ids::ConversationId,
    limits::storage::DEADLINE,
    model::ConversationKind,
    wire::{
        Dialect,
        messenger::{ClientFrame, ServerFrame, chat_added, decode, error_of, texts},
    },
};
use serde_json::{Value, json};

pub use render::{Group, MessengerTag, Standing, render};

use super::{Conn, DialectSession, Io, Tag, authenticator::Identity, dialect::store_error, entrance};
use crate::{
    conversation::messages::{Answer, ConversationMessage, Woken},
    ports::StoreError,
};

/// Chats that this socket itself started and whose own announcement is still to come. More at once than a client ever starts.
const STARTED_MAX: usize = 64;

/// State behind a messenger socket.
#[derive(Default)]
pub struct MessengerSession {
    identity: Option<Identity>,
    chats: chats::Known,
    started: VecDeque<ConversationId>,
    delivery: delivery::Delivery,
    acknowledging: summary::Acknowledging,
    /// Counts joins and leaves, answered or given up; frames are held back for the last one only.
    turn: u32,
}

impl MessengerSession {
    /// Makes the session of an identity known from the upgrade.
    pub fn new(identity: Option<Identity>) -> Self {
        Self { identity, ..Self::default() }
    }
}

impl DialectSession for MessengerSession {
    fn opened(&mut self, io: &mut Io<'_, '_>) {
        match self.identity.take() {
            Some(identity) => {
                entrance::enter(identity, io);
            }
            None => io.close(CloseCode::UNAUTHORIZED, "no valid token"),
        }
    }

    fn inbound(&mut self, text: &str, io: &mut Io<'_, '_>) {
        if io.caller.is_none() || io.outbox.is_closing() {
            // On its way out; what stands behind its `DISCONNECT` was not meant to be carried out.
            return;
        }
        match decode(text) {
            Ok(frame) => self.carry_out(frame, io),
            Err(error) => {
                io.node.counters.malformed.fetch_add(1, Relaxed);
                send(&error, io);
            }
        }
    }

    fn answered(&mut self, tag: Tag, answer: Answer, io: &mut Io<'_, '_>) {
        let Tag::Messenger(tag) = tag else { return };
        match tag {
            MessengerTag::ChatHistory { first, .. } | MessengerTag::GroupHistory { first, .. } => {
                self.history_read(first, &answer, io);
            }
            MessengerTag::HistoryRead => io.resume_inbound(),
            MessengerTag::Join(group) | MessengerTag::Leave(group) => self.membership_answered(group.turn, io),
            MessengerTag::Acknowledge => self.acknowledged(&answer, io),
            MessengerTag::Post | MessengerTag::GroupPost(_) => {}
        }
    }

    fn wake(&mut self, woken: Woken, io: &mut Io<'_, '_>) {
        if io.caller.is_none() {
            return;
        }
        let caller = io.caller();
        if let Some(conversation) = &woken.added
            && woken.requested
            && conversation.kind == ConversationKind::Direct
        {
            match self.started.iter().position(|&started| started == woken.id) {
                // It has its answer.
                Some(index) => drop(self.started.remove(index)),
                None => {
                    if let Some(frame) = chat_added(conversation, caller.user) {
                        send(&frame, io);
                    }
                }
            }
        }
        self.delivery.attached(woken.id, woken.head);
        io.tell(woken.id, ConversationMessage::Attach { from: caller, after: woken.head });
    }

    fn asleep(&mut self, woken: Woken, _io: &mut Io<'_, '_>) {
        self.delivery.asleep(woken.id, woken.head);
    }

    fn delivered(&mut self, io: &mut Io<'_, '_>) {
        self.certify(io.sockets.take_arrived(io.slot), io);
    }

    fn closed(&mut self, io: &mut Io<'_, '_>) {
        self.settle_arrived(io);
        entrance::leave(io);
    }

    fn failed(&mut self, io: &mut Io<'_, '_>) {
        send(&ServerFrame::error("Internal server error."), io);
    }

    fn observe(&self) -> Value {
        json!({"chats_known": self.chats.len(), "attached": self.delivery.len()})
    }
}

impl MessengerSession {
    fn carry_out(&mut self, frame: ClientFrame, io: &mut Io<'_, '_>) {
        if let Some(field) = foreign_name(&frame, &io.caller().name) {
            return fail(texts::not_you(field), io);
        }
        match frame {
            ClientFrame::InitData => self.init_data(io),
            ClientFrame::NewOneToOneChat { to, .. } => self.start_chat(&to, io),
            ClientFrame::OneToOneChat { to, content, chat_id, .. } => self.send_to_chat(&to, content, &chat_id, io),
            ClientFrame::GetOneToOneHistory { to, chat_id, page, .. } => self.chat_history(&to, &chat_id, page, io),
            ClientFrame::CreateGroupChat { name, .. } => groups::create(name, io),
            ClientFrame::JoinGroupChat { group, .. } => groups::join(group, io),
            ClientFrame::LeaveGroup { group, .. } => groups::leave(self, group, io),
            ClientFrame::GroupChat { group, content, .. } => groups::post(group, content, io),
            ClientFrame::GetGroupChatHistory { group, page } => groups::history(group, page, io),
            ClientFrame::OfflineMessagesAck => self.acknowledge(io),
            ClientFrame::FetchFriendsMeta => summary::friends(io),
            ClientFrame::Disconnect => {
                send(&ServerFrame::info(texts::DISCONNECTED), io);
                io.close(CloseCode::NORMAL, "disconnected by request");
            }
        }
    }

    /// Holds further frames back until a join or leave is answered, or for as long as any store may take: an append whose outcome is
    /// unknown is asked about for as long as it takes, and one conversation's trouble must not silence the socket.
    fn hold_for_membership(&mut self, io: &mut Io<'_, '_>) -> u32 {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        io.hold_inbound();
        io.after(DEADLINE, move |conn, io| session(conn).membership_answered(turn, io));
        turn
    }

    fn membership_answered(&mut self, turn: u32, io: &mut Io<'_, '_>) {
        if turn == self.turn {
            self.turn = self.turn.wrapping_add(1);
            io.resume_inbound();
        }
    }

    /// Remembers that the announcement of this chat to this socket says nothing new.
    fn expect_announcement(&mut self, chat: ConversationId) {
        if self.started.len() == STARTED_MAX {
            self.started.pop_front();
        }
        self.started.push_back(chat);
    }
}

/// Returns the field that names the sender and isn't the token's user.
fn foreign_name(frame: &ClientFrame, me: &str) -> Option<&'static str> {
    let (field, name) = match frame {
        ClientFrame::NewOneToOneChat { from, .. }
        | ClientFrame::OneToOneChat { from, .. }
        | ClientFrame::GetOneToOneHistory { from, .. }
        | ClientFrame::GroupChat { from, .. } => ("from", from),
        ClientFrame::CreateGroupChat { by, .. } => ("by", by),
        ClientFrame::JoinGroupChat { username, .. } | ClientFrame::LeaveGroup { username, .. } => {
            ("username", username)
        }
        ClientFrame::InitData
        | ClientFrame::GetGroupChatHistory { .. }
        | ClientFrame::OfflineMessagesAck
        | ClientFrame::FetchFriendsMeta
        | ClientFrame::Disconnect => return None,
    };
    (name != me).then_some(field)
}

/// Counts a message of the caller; false (and told) when it comes too soon.
fn within_rate(io: &Io<'_, '_>) -> bool {
    let allowed = io.node.protection.message(Dialect::Messenger, io.caller().user, io.tools.now());
    if let Err(wait) = allowed {
        io.node.counters.rate_limited.fetch_add(1, Relaxed);
        fail(texts::rate_limited(wait.as_ms()), io);
    }
    allowed.is_ok()
}

fn send(frame: &ServerFrame, io: &Io<'_, '_>) {
    io.send_text(&frame.encode());
}

fn fail(text: impl Into<String>, io: &Io<'_, '_>) {
    send(&ServerFrame::error(text), io);
}

fn store_failed(error: &StoreError, io: &Io<'_, '_>) {
    send(&error_of(&store_error(error)), io);
}

/// Waits as [`Io::then`] does and goes on with the session.
fn wait<T: Send + 'static>(
    io: &mut Io<'_, '_>,
    future: impl Future<Output = T> + 'static,
    next: impl FnOnce(T, &mut MessengerSession, &mut Io<'_, '_>) + Send + 'static,
) {
    io.then(future, move |value, conn, io| next(value, session(conn), io));
}

fn session(conn: &mut Conn) -> &mut MessengerSession {
    match conn {
        Conn::Messenger(session) => session,
        _ => unreachable!("a socket keeps its dialect"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_name_may_stand_as_the_sender() {
        let foreign = |text: &str| foreign_name(&decode(text).unwrap(), "ann");
        assert_eq!(foreign(r#"{"type":"NEW_ONE_TO_ONE_CHAT","from":"ann","to":"bob"}"#), None);
        assert_eq!(foreign(r#"{"type":"NEW_ONE_TO_ONE_CHAT","from":"bob","to":"ann"}"#), Some("from"));
        assert_eq!(foreign(r#"{"type":"CREATE_GROUP_CHAT","groupName":"g","by":"Ann"}"#), Some("by"));
        assert_eq!(foreign(r#"{"type":"LEAVE_GROUP","groupId":4,"username":"bob"}"#), Some("username"));
        assert_eq!(foreign(r#"{"type":"GROUP_CHAT","from":"bob","to":"4","content":"x"}"#), Some("from"));
        assert_eq!(foreign(r#"{"type":"INIT_DATA"}"#), None);
    }
}
