//! Commands: which there are, and those about messages.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, EventId, Seq},
    model::{Conversation, ConversationKind, Member, Name, Pointer},
    wire::native::{Command, Empty, HistoryFrom, Pong, SendTo},
};
use uuid::Uuid;

use super::{Io, NativeSession, What, answer, forbidden, not_found, refuse};
use crate::{
    conversation::messages::{Caller, ConversationMessage, HistoryQuery},
    engine::Node,
    ports::message_store::{Direction, Filter},
    session::dialect::store_error,
    snowflake::kind_of,
};

/// Chats remembered by name for `send` with `to`.
const CHATS_MAX: usize = 256;

impl NativeSession {
    pub(super) fn command(&mut self, id: Box<str>, command: Command, io: &mut Io<'_, '_>) {
        match command {
            // Taken by the session itself.
            Command::Hello(_) => {}
            Command::Ping => answer(&id, &Pong { server_time: io.now_ms() }, io),
            Command::Bye => {
                answer(&id, &Empty {}, io);
                self.close(CloseCode::NORMAL, "bye", io);
            }
            Command::Conversations { after, limit } => self.conversations(id, after, limit, io),
            Command::Resume { positions } => self.resume(id, positions, io),
            Command::Send { to, message_id, content } => self.send(id, to, message_id, content, io),
            Command::Edit { conversation, message, content } => {
                self.change(id, conversation, message, Some(content.into()), io);
            }
            Command::Delete { conversation, message } => self.change(id, conversation, message, None, io),
            Command::History { conversation, from, limit, epoch } => {
                let direction = from.map(|from| match from {
                    HistoryFrom::Before(seq) => Direction::Before(seq),
                    HistoryFrom::After(seq) => Direction::After(seq),
                });
                let query = HistoryQuery { direction, limit, filter: Filter::All, epoch, before_id: None };
                self.read_begins(&id, io);
                let reply = self.reply(id, What::History { after: matches!(from, Some(HistoryFrom::After(_))) }, io);
                io.tell(conversation, ConversationMessage::History { from: io.caller(), query, reply });
            }
            Command::Delivered { conversation, seq } => self.point(id, conversation, Pointer::Delivered, seq, io),
            Command::Read { conversation, seq } => self.point(id, conversation, Pointer::Read, seq, io),
            Command::Typing { conversation, active } => {
                if self.admitted(&id, io) {
                    io.tell(conversation, ConversationMessage::Typing { from: io.caller(), active });
                    answer(&id, &Empty {}, io);
                }
            }
            Command::ChatOpen { with } => self.chat_open(id, with, io),
            Command::GroupCreate { name } => self.group_create(id, name, io),
            Command::GroupJoin { conversation } => self.join(id, conversation, ConversationKind::Group, io),
            Command::GroupLeave { conversation } => self.leave(id, conversation, ConversationKind::Group, io),
            Command::RoomCreate { name } => self.room_create(id, name, io),
            Command::RoomJoin { room } => self.room_join(id, room, io),
            Command::RoomLeave { conversation } => self.leave(id, conversation, ConversationKind::Room, io),
            Command::RoomListen { room, position } => self.room_listen(id, room, position, io),
            Command::RoomUnlisten { conversation } => self.room_unlisten(id, conversation, io),
            Command::Rooms { limit } => {
                // Sorts all active rooms.
                if self.admitted(&id, io) {
                    self.rooms(id, limit, io);
                }
            }
            Command::Members { conversation, after, limit } => {
                self.read_begins(&id, io);
                let reply = self.reply(id, What::Members, io);
                let (from, after) = (io.caller(), after.unwrap_or_default());
                io.tell(conversation, ConversationMessage::Members { from, after, limit, reply });
            }
            Command::Conversation { which } => self.conversation(id, which, io),
            Command::Users { by } => self.users(id, by, io),
            Command::PresenceWatch { users } => self.watch(id, users, io),
            Command::PresenceUnwatch { users } => self.unwatch(&id, users, io),
            Command::ProfileGet => self.profile(id, io),
            Command::ProfileSet { display_name } => self.set_profile(id, display_name, io),
            Command::Stats => self.stats(&id, io),
        }
    }

    /// Counts something that others hear of against the rate of messages; answers `rate_limited` when it is too much.
    pub(super) fn admitted(&self, id: &str, io: &Io<'_, '_>) -> bool {
        let now = io.node.runtime.clock().now();
        let Err(wait) = io.node.protection.message(io.dialect, io.caller().user, now) else { return true };
        io.node.counters.rate_limited.fetch_add(1, Relaxed);
        refuse(id, &too_fast(wait), io);
        false
    }

    /// Judges a text by the spam rules; answers `spam` when it is refused.
    fn decent(&self, id: &str, content: &str, io: &Io<'_, '_>) -> bool {
        let now = io.node.runtime.clock().now();
        let Err(reasons) = io.node.protection.spam(io.caller().user, content, now) else { return true };
        io.node.counters.spam.fetch_add(1, Relaxed);
        let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
        let text = format!("this looks like spam: {}", reasons.join("; "));
        refuse(id, &ClientError::new(ErrorCode::Spam, text), io);
        false
    }

    fn send(&mut self, id: Box<str>, to: SendTo, message_id: Uuid, content: String, io: &mut Io<'_, '_>) {
        if !self.admitted(&id, io) || !self.decent(&id, &content, io) {
            return;
        }
        let name = match to {
            SendTo::Conversation(conversation) => return self.post(id, conversation, message_id, content, io),
            SendTo::To(name) => name,
        };
        let Some(caller) = self.account(&id, io) else { return };
        if let Some(&conversation) = self.rare.as_ref().and_then(|rare| rare.chats.get(&*name)) {
            return self.post(id, conversation, message_id, content, io);
        }
        let chat = open_chat(io.node.clone(), caller.clone(), name.clone(), "to");
        self.then(
            id,
            chat,
            move |chat, id, session, io| match chat {
                Err(error) => refuse(&*id, &error, io),
                Ok((chat, created)) => {
                    let chats = &mut session.rare().chats;
                    if chats.len() >= CHATS_MAX {
                        chats.clear();
                    }
                    chats.insert(name.into(), chat.id);
                    if created {
                        // Told as an event to this socket, too: the reply to a message doesn't tell of the chat.
                        io.tell(chat.id, ConversationMessage::Announce { from: caller, requested: false });
                    }
                    session.post(id, chat.id, message_id, content, io);
                }
            },
            io,
        );
    }

    fn post(&mut self, id: Box<str>, conversation: ConversationId, message_id: Uuid, content: String, io: &Io<'_, '_>) {
        let from = io.caller();
        if from.guest && kind_of(conversation) != Some(ConversationKind::Room) {
            return refuse(&*id, &forbidden("guests write in rooms only"), io);
        }
        self.sent += 1;
        let reply = self.reply(id, if from.guest { What::SendAsGuest } else { What::Send }, io);
        let (client_id, content) = (Some(message_id), content.into());
        io.tell(conversation, ConversationMessage::Post { from, client_id, content, reply });
    }

    /// `edit` (with a text) and `delete`.
    fn change(
        &mut self,
        id: Box<str>,
        conversation: ConversationId,
        target: EventId,
        content: Option<Arc<str>>,
        io: &Io<'_, '_>,
    ) {
        let from = io.caller();
        let guest_own = |own: &VecDeque<EventId>| own.contains(&target);
        if from.guest && !self.rare.as_ref().is_some_and(|rare| guest_own(&rare.guest_own)) {
            return refuse(&*id, &forbidden("guests change only what they sent on this socket"), io);
        }
        if !self.admitted(&id, io) || content.as_ref().is_some_and(|content| !self.decent(&id, content, io)) {
            return;
        }
        let reply = self.reply(id, What::Change, io);
        io.tell(
            conversation,
            match content {
                Some(content) => ConversationMessage::Edit { from, target, content, within_ms: None, reply },
                None => ConversationMessage::Delete { from, target, reply },
            },
        );
    }

    fn point(&mut self, id: Box<str>, conversation: ConversationId, pointer: Pointer, seq: Seq, io: &Io<'_, '_>) {
        let Some(from) = self.account(&id, io) else { return };
        // Conversations that this socket knows cost little; any other id may wake an actor, or be made up.
        if !self.known.contains_key(&conversation) && !self.admitted(&id, io) {
            return;
        }
        let reply = self.reply(id, What::Move, io);
        io.tell(conversation, ConversationMessage::Move { from, pointer, seq, clamp: false, reply });
    }
}

/// Says how long to wait.
pub(super) fn too_fast(wait: crate::protection::Wait) -> ClientError {
    ClientError::new(ErrorCode::RateLimited, "too fast, wait a little").retry_after_ms(wait.as_ms())
}

/// Finds the chat with the user of a name, or makes it; the flag says 'made now'. `field` names the name's field in errors.
pub(super) async fn open_chat(
    node: Arc<Node>,
    caller: Arc<Caller>,
    with: String,
    field: &'static str,
) -> Result<(Conversation, bool), ClientError> {
    let name: Name = with.into();
    let user = node.accounts.user_id(name.clone()).await.map_err(|error| store_error(&error))?;
    let user = user.ok_or_else(|| not_found("user").field(field))?;
    if user == caller.user {
        return Err(ClientError::new(ErrorCode::BadRequest, "a chat needs another user").field(field));
    }
    let mut pair = [Member { user: caller.user, name: caller.name.clone() }, Member { user, name }];
    pair.sort_by_key(|member| member.user);
    let now_ms = node.runtime.unix_ms();
    let id =
        node.ids.conversation(now_ms, ConversationKind::Direct).map_err(|_| ClientError::unavailable("the server"))?;
    let new = Conversation {
        id,
        kind: ConversationKind::Direct,
        name: None,
        created_by: caller.user,
        created_at_ms: now_ms,
        pair: Some(pair),
    };
    node.accounts
        .call("open_direct", move |store| async move { store.open_direct(&new).await })
        .await
        .map_err(|error| store_error(&error))
}
