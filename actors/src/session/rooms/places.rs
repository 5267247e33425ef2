//! Rooms: making one, joining, leaving. A socket is in one room at a time; the old one is left before the new one is entered, and
//! frames of the socket wait until it has arrived, so that nothing of the old room comes after `room_joined`.

use chinwag_schema::{
    error::{ClientError, ErrorCode as Code},
    limits::{conversation::ROOMS_HISTORY_EVENTS, user::ACTIVE_ROOMS_MAX},
    model::{Conversation, ConversationKind, Name},
    wire::rooms::{ErrorInfo, error_of},
};

use super::{Io, Room, RoomsSession, RoomsTag, Tag, Target, fail, rate_limited, wait};
use crate::{
    conversation::messages::{Answer, ConversationMessage, ListenOptions},
    directory::DirectoryMessage,
    ports::StoreError,
    relay::ReplyTo,
    session::dialect::store_error,
};

impl RoomsSession {
    pub(super) fn join_room(&mut self, name: &str, io: &mut Io<'_, '_>) {
        wait(io, find(name, io), |found, session, io| match found {
            Err(error) => fail(error_of(&store_error(&error)), io),
            Ok(None) => fail(ErrorInfo::room_not_found(), io),
            Ok(Some(room)) => session.go_to(&room, false, io),
        });
    }

    pub(super) fn create_room(&mut self, name: &str, io: &mut Io<'_, '_>) {
        let name = Name::from(name);
        // A name that is taken isn't counted against the rate.
        wait(io, find(&name, io), move |found, _, io| match found {
            Err(error) => fail(error_of(&store_error(&error)), io),
            Ok(Some(_)) => fail(ErrorInfo::room_exists(), io),
            Ok(None) => create(name, io),
        });
    }

    pub(super) fn leave_room(&mut self, io: &mut Io<'_, '_>) {
        let Some(room) = &self.room else {
            return fail(ErrorInfo::not_in_room(), io);
        };
        let reply = io.reply_to(Tag::Rooms(RoomsTag::Leave { name: room.name.clone() }));
        io.hold_inbound();
        io.tell(room.id, ConversationMessage::Unlisten { from: io.caller(), reply });
    }

    /// `leave_room` was answered.
    pub(super) fn left(&mut self, answer: &Answer, io: &mut Io<'_, '_>) {
        if matches!(answer, Answer::Done { .. }) {
            self.room = None;
            note_room(None, io);
        }
        io.resume_inbound();
    }

    fn go_to(&mut self, room: &Conversation, created: bool, io: &mut Io<'_, '_>) {
        let name = room.name.clone().unwrap_or_default();
        self.target = Some(Target { room: Room { id: room.id, name }, created });
        io.hold_inbound();
        match &self.room {
            Some(old) => {
                let reply = io.reply_to(Tag::Rooms(RoomsTag::Switch));
                io.tell(old.id, ConversationMessage::Unlisten { from: io.caller(), reply });
            }
            None => self.listen(io),
        }
    }

    /// The old room was left on the way to another one.
    pub(super) fn left_for_target(&mut self, io: &mut Io<'_, '_>) {
        self.room = None;
        note_room(None, io);
        self.listen(io);
    }

    fn listen(&self, io: &mut Io<'_, '_>) {
        let Some(Target { room, created }) = &self.target else {
            return io.resume_inbound();
        };
        let caller = io.caller();
        let me = caller.name.clone();
        let reply = io.reply_to(Tag::Rooms(if *created { RoomsTag::Create { me } } else { RoomsTag::Join { me } }));
        let options = ListenOptions { recent: ROOMS_HISTORY_EVENTS, position: None };
        io.tell(room.id, ConversationMessage::Listen { from: caller, options, reply });
    }

    /// The new room answered.
    pub(super) fn arrived(&mut self, answer: Answer, io: &mut Io<'_, '_>) {
        let target = self.target.take();
        match answer {
            Answer::Listening { info, .. } => {
                let room = Room { id: info.conversation.id, name: info.conversation.name.clone().unwrap_or_default() };
                self.rooms_joined += 1;
                note_room(Some(room.name.clone()), io);
                self.room = Some(room);
            }
            _ => {
                // The outcome may be unknown: make sure that the room doesn't count this socket.
                if let Some(target) = target {
                    let reply = ReplyTo::nobody();
                    io.tell(target.room.id, ConversationMessage::Unlisten { from: io.caller(), reply });
                }
            }
        }
        io.resume_inbound();
    }
}

/// Looks a room up by its name.
fn find(name: &str, io: &Io<'_, '_>) -> impl Future<Output = Result<Option<Conversation>, StoreError>> + use<> {
    let (accounts, name) = (io.node.accounts.clone(), Name::from(name));
    async move { accounts.call("room_by_name", move |store| async move { store.room_by_name(&name).await }).await }
}

fn create(name: Name, io: &mut Io<'_, '_>) {
    let (creator, now_ms) = (io.caller().user, io.now_ms());
    if io.node.board.created_by(creator, now_ms) >= ACTIVE_ROOMS_MAX {
        let text = format!("You already have {ACTIVE_ROOMS_MAX} active rooms");
        return fail(error_of(&ClientError::new(Code::LimitReached, text)), io);
    }
    if let Err(wait) = io.node.protection.create_room(creator, io.tools.now()) {
        return rate_limited(wait, io);
    }
    let Ok(id) = io.node.ids.conversation(now_ms, ConversationKind::Room) else {
        return fail(error_of(&ClientError::unavailable("the server")), io);
    };
    let kind = ConversationKind::Room;
    let room = Conversation { id, kind, name: Some(name), created_by: creator, created_at_ms: now_ms, pair: None };
    let accounts = io.node.accounts.clone();
    let create = async move {
        let row = room.clone();
        let created =
            accounts.call("create_conversation", move |store| async move { store.create_conversation(&row).await });
        (created.await, room)
    };
    wait(io, create, |(created, room), session, io| match created {
        Ok(()) => session.go_to(&room, true, io),
        Err(StoreError::AlreadyExists) => fail(ErrorInfo::room_exists(), io),
        Err(error) => fail(error_of(&store_error(&error)), io),
    });
}

/// Tells the directory which room this socket is in, for `/users`.
fn note_room(room: Option<Name>, io: &Io<'_, '_>) {
    let (slot, user) = (io.slot, io.caller().user);
    // Full: the list of users shows the room before until the next change.
    let _ = io.node.directory.tell(DirectoryMessage::CurrentRoom { slot, user, room });
}
