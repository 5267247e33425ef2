//! Commands about conversations: chats, groups, public rooms.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::{ConversationId, UserId},
    limits::user::{ACTIVE_ROOMS_MAX, CONVERSATIONS_MAX},
    model::{Conversation, ConversationKind, Position, Role},
    wire::native::{RoomInfo, RoomRef, Rooms},
};

use super::{
    Io, NativeSession, What, answer,
    commands::{open_chat, too_fast},
    not_found, refuse,
};
use crate::{
    cluster::gather,
    conversation::{
        board::RoomLine,
        messages::{ConversationMessage, ListenOptions},
    },
    engine::Node,
    ports::{StoreError, StoreResult},
    session::dialect::store_error,
    snowflake::kind_of,
};

impl NativeSession {
    /// `chat.open`. Corked until the reply, which shows a head and needs to read who the other one is.
    pub(super) fn chat_open(&mut self, id: Box<str>, with: String, io: &mut Io<'_, '_>) {
        let Some(caller) = self.account(&id, io) else { return };
        if !self.admitted(&id, io) {
            return;
        }
        let chat = open_chat(io.node.clone(), caller.clone(), with, "with");
        self.then(
            id,
            chat,
            move |chat, id, session, io| match chat {
                Err(error) => refuse(&*id, &error, io),
                Ok((chat, created)) => {
                    session.cork(io);
                    session.read_begins(&id, io);
                    let conversation = chat.id;
                    if created {
                        session.own_asked(conversation);
                        io.tell(conversation, ConversationMessage::Announce { from: caller.clone(), requested: true });
                    }
                    let reply = session.reply(id, What::Open { conversation, created }, io);
                    io.tell(conversation, ConversationMessage::Info { from: caller, reply });
                }
            },
            io,
        );
    }

    /// `group.create`: the same request makes the same group, which the creator then joins; each step may be repeated.
    pub(super) fn group_create(&mut self, id: Box<str>, name: String, io: &mut Io<'_, '_>) {
        let Some(caller) = self.account(&id, io) else { return };
        if !self.admitted(&id, io) {
            return;
        }
        let Some(mut group) = new_conversation(io.node, ConversationKind::Group, name, caller.user) else {
            return refuse(&*id, &ClientError::unavailable("the server"), io);
        };
        group.id = io.node.created_groups.id_of(caller.user, &id, group.id, io.node.runtime.clock().now());
        let conversation = group.id;
        let made = create(io.node.clone(), group);
        self.then(
            id,
            made,
            move |made, id, session, io| {
                let created = match made {
                    Ok(()) => true,
                    Err(StoreError::AlreadyExists) => false,
                    Err(error) => return refuse(&*id, &store_error(&error), io),
                };
                session.ask_to_join(id, conversation, Role::Admin, What::Create { conversation, created }, io);
            },
            io,
        );
    }

    pub(super) fn room_create(&mut self, id: Box<str>, name: String, io: &mut Io<'_, '_>) {
        let Some(caller) = self.account(&id, io) else { return };
        let known = room_by_name(io.node.clone(), name.clone());
        self.then(
            id,
            known,
            move |known, id, session, io| match known {
                Err(error) => refuse(&*id, &store_error(&error), io),
                Ok(Some(room)) => session.room_exists(id, &room, caller.user, io),
                Ok(None) => session.room_make(id, name, caller.user, io),
            },
            io,
        );
    }

    /// A repeat by its creator finds the room; to others the name is taken.
    fn room_exists(&mut self, id: Box<str>, room: &Conversation, user: UserId, io: &Io<'_, '_>) {
        if room.created_by != user {
            let error = ClientError::new(ErrorCode::AlreadyExists, "a room of this name exists already");
            return refuse(&*id, &error.field("name"), io);
        }
        let what = What::Create { conversation: room.id, created: false };
        self.ask_to_join(id, room.id, Role::Member, what, io);
    }

    fn room_make(&mut self, id: Box<str>, name: String, user: UserId, io: &mut Io<'_, '_>) {
        if io.node.protection.settings().enabled && io.node.board.created_by(user, io.now_ms()) >= ACTIVE_ROOMS_MAX {
            let text = format!("a user may have at most {ACTIVE_ROOMS_MAX} active rooms");
            let error = ClientError::new(ErrorCode::LimitReached, text);
            return refuse(&*id, &error.limit(ACTIVE_ROOMS_MAX as u64), io);
        }
        if let Err(wait) = io.node.protection.create_room(user, io.node.runtime.clock().now()) {
            io.node.counters.rate_limited.fetch_add(1, Relaxed);
            return refuse(&*id, &too_fast(wait), io);
        }
        let Some(room) = new_conversation(io.node, ConversationKind::Room, name.clone(), user) else {
            return refuse(&*id, &ClientError::unavailable("the server"), io);
        };
        let conversation = room.id;
        let node = io.node.clone();
        let made = async move {
            match create(node.clone(), room).await {
                // Somebody was faster, maybe this very user on another socket.
                Err(StoreError::AlreadyExists) => room_by_name(node, name).await,
                made => made.map(|()| None),
            }
        };
        self.then(
            id,
            made,
            move |made, id, session, io| match made {
                Err(error) => refuse(&*id, &store_error(&error), io),
                Ok(Some(room)) => session.room_exists(id, &room, user, io),
                Ok(None) => {
                    let what = What::Create { conversation, created: true };
                    session.ask_to_join(id, conversation, Role::Member, what, io);
                }
            },
            io,
        );
    }

    /// `group.join`, `room.join`.
    pub(super) fn join(&mut self, id: Box<str>, conversation: ConversationId, kind: ConversationKind, io: &Io<'_, '_>) {
        if self.account(&id, io).is_none() || !self.admitted(&id, io) {
            return;
        }
        if kind_of(conversation) != Some(kind) {
            return refuse(&*id, &not_found(noun(kind)), io);
        }
        self.ask_to_join(id, conversation, Role::Member, What::Join { conversation }, io);
    }

    fn ask_to_join(&mut self, id: Box<str>, conversation: ConversationId, role: Role, what: What, io: &Io<'_, '_>) {
        self.own_asked(conversation);
        let reply = self.reply(id, what, io);
        io.tell(conversation, ConversationMessage::Join { from: io.caller(), role, reply });
    }

    /// `group.leave`, `room.leave`.
    pub(super) fn leave(
        &mut self,
        id: Box<str>,
        conversation: ConversationId,
        kind: ConversationKind,
        io: &Io<'_, '_>,
    ) {
        let Some(from) = self.account(&id, io) else { return };
        if !self.admitted(&id, io) {
            return;
        }
        if kind_of(conversation) != Some(kind) {
            return refuse(&*id, &not_found(noun(kind)), io);
        }
        let reply = self.reply(id, What::Leave, io);
        io.tell(conversation, ConversationMessage::Leave { from, reply });
    }

    pub(super) fn room_join(&mut self, id: Box<str>, room: RoomRef, io: &mut Io<'_, '_>) {
        self.with_room(id, room, |id, room, session, io| session.join(id, room, ConversationKind::Room, io), io);
    }

    pub(super) fn room_listen(&mut self, id: Box<str>, room: RoomRef, position: Option<Position>, io: &mut Io<'_, '_>) {
        self.with_room(
            id,
            room,
            move |id, conversation, session, io| {
                let listening = &mut session.rare().listening;
                if listening.len() >= CONVERSATIONS_MAX && !listening.contains(&conversation) {
                    let text = format!("a socket listens to at most {CONVERSATIONS_MAX} rooms");
                    let error = ClientError::new(ErrorCode::LimitReached, text).limit(CONVERSATIONS_MAX as u64);
                    return refuse(&*id, &error, io);
                }
                // Before the answer: a socket that closes meanwhile must stop listening.
                listening.insert(conversation);
                let resumes = position.is_some();
                if resumes {
                    // What is replayed comes after the reply.
                    session.cork(io);
                }
                let options = ListenOptions { recent: 0, position };
                let reply = session.reply(id, What::Listen { conversation, resumes }, io);
                io.tell(conversation, ConversationMessage::Listen { from: io.caller(), options, reply });
            },
            io,
        );
    }

    pub(super) fn room_unlisten(&mut self, id: Box<str>, conversation: ConversationId, io: &Io<'_, '_>) {
        if kind_of(conversation) != Some(ConversationKind::Room) {
            return refuse(&*id, &not_found("room"), io);
        }
        self.rare().listening.remove(&conversation);
        let reply = self.reply(id, What::Unlisten, io);
        io.tell(conversation, ConversationMessage::Unlisten { from: io.caller(), reply });
    }

    pub(super) fn rooms(&mut self, id: Box<str>, limit: usize, io: &mut Io<'_, '_>) {
        if !io.node.cluster.has_peers() {
            return Self::room_list(&id, io.node.board.list(limit, io.now_ms()), io);
        }
        self.read_begins(&id, io);
        let rooms = gather::rooms(io.node.clone(), limit);
        self.aside(id, rooms, |lines, id, _, io| Self::room_list(&id, lines, io), io);
    }

    fn room_list(id: &str, lines: Vec<RoomLine>, io: &Io<'_, '_>) {
        let rooms = lines.into_iter().map(|line| RoomInfo {
            id: line.id,
            name: line.name,
            listeners: line.users,
            messages: line.messages,
            created_at: line.created_at_ms,
            last_at: Some(line.last_active_ms),
        });
        answer(id, &Rooms { rooms: rooms.collect() }, io);
    }

    /// `conversation`: any by id, a room also by name.
    pub(super) fn conversation(&mut self, id: Box<str>, which: RoomRef, io: &mut Io<'_, '_>) {
        let ask = |id: Box<str>, conversation, session: &mut Self, io: &mut Io<'_, '_>| {
            session.read_begins(&id, io);
            let reply = session.reply(id, What::Info, io);
            io.tell(conversation, ConversationMessage::Info { from: io.caller(), reply });
        };
        match which {
            RoomRef::Conversation(conversation) => ask(id, conversation, self, io),
            name @ RoomRef::Name(_) => self.with_room(id, name, ask, io),
        }
    }

    /// Goes on with a room's id; answers `not_found` if there is no such room.
    fn with_room(
        &mut self,
        id: Box<str>,
        room: RoomRef,
        next: impl FnOnce(Box<str>, ConversationId, &mut Self, &mut Io<'_, '_>) + Send + 'static,
        io: &mut Io<'_, '_>,
    ) {
        match room {
            RoomRef::Conversation(room) if kind_of(room) == Some(ConversationKind::Room) => next(id, room, self, io),
            RoomRef::Conversation(_) => refuse(&*id, &not_found("room").field("conversation"), io),
            RoomRef::Name(name) => {
                self.then(
                    id,
                    room_by_name(io.node.clone(), name),
                    move |room, id, session, io| match room {
                        Err(error) => refuse(&*id, &store_error(&error), io),
                        Ok(None) => refuse(&*id, &not_found("room").field("name"), io),
                        Ok(Some(room)) => next(id, room.id, session, io),
                    },
                    io,
                );
            }
        }
    }
}

fn noun(kind: ConversationKind) -> &'static str {
    match kind {
        ConversationKind::Room => "room",
        ConversationKind::Group => "group",
        ConversationKind::Direct => "chat",
    }
}

/// Makes a conversation with a fresh id; `None` when there is no reserved time for ids.
fn new_conversation(node: &Node, kind: ConversationKind, name: String, created_by: UserId) -> Option<Conversation> {
    let created_at_ms = node.runtime.unix_ms();
    let id = node.ids.conversation(created_at_ms, kind).ok()?;
    Some(Conversation { id, kind, name: Some(name.into()), created_by, created_at_ms, pair: None })
}

async fn create(node: Arc<Node>, conversation: Conversation) -> StoreResult<()> {
    node.accounts
        .call("create_conversation", move |store| async move { store.create_conversation(&conversation).await })
        .await
}

async fn room_by_name(node: Arc<Node>, name: String) -> StoreResult<Option<Conversation>> {
    node.accounts.call("room_by_name", move |store| async move { store.room_by_name(&name).await }).await
}
