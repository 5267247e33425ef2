//! Answers that the session waits for: what it remembers of them, and replies that need a store or presence.

use std::{collections::VecDeque, sync::Arc};

use chinwag_schema::{
    ids::EventId,
    limits::user::GUEST_OWN_MAX,
    model::{ConversationKind, Cursor},
    wire::native::{ConversationInfo, Created, MemberInfo, Members, OneConversation},
};

use super::{
    Io, Known, NativeSession, NativeTag, What, answer,
    listing::other_of,
    people, refuse,
    render::{info_of, with_last},
};
use crate::{
    conversation::messages::{Answer, Info},
    ports::account_store::MemberRow,
    session::dialect::store_error,
};

impl NativeSession {
    /// A conversation answered. What could be said at once was sent by the relay ([`super::render`]).
    pub(super) fn heard(&mut self, tag: NativeTag, answer: Answer, io: &mut Io<'_, '_>) {
        let NativeTag { id, what } = tag;
        match (what, answer) {
            (What::Resume { conversation, round }, answer) => self.resumed(conversation, round, answer, io),
            // Not of a repeat: another socket may have sent the first, whose message id and text anybody can read in its event.
            (What::SendAsGuest, Answer::Posted { id: event, duplicate: false, .. }) => self.remember_own(event),
            (What::Members, Answer::Members { info: _, members, next }) => self.members_read(id, members, next, io),
            (What::Info, Answer::Info { info, last }) if info.conversation.kind == ConversationKind::Direct => {
                let described = self.described(&info, io);
                self.aside(
                    id,
                    described,
                    move |with, id, _, io| {
                        let conversation = ConversationInfo { with, ..with_last(&info, last.as_ref()) };
                        super::answer(&id, &OneConversation { conversation }, io);
                    },
                    io,
                );
            }
            (What::History { .. } | What::Info | What::Members, _) => self.read_ends(&id, io),
            (What::Open { created, .. }, Answer::Info { info, .. }) => self.opened_chat(id, created, &info, io),
            (What::Open { conversation, .. }, _) => {
                self.read_ends(&id, io);
                self.uncork(io);
                self.own_answered(conversation, None, io);
            }
            (What::Create { conversation, .. } | What::Join { conversation }, answer) => {
                let shown = match answer {
                    Answer::Joined { info, new } => Some((Known::at(info.head.seq), new)),
                    _ => None,
                };
                self.own_answered(conversation, shown, io);
            }
            (What::Leave, Answer::Left { info, .. }) => {
                self.known.remove(&info.conversation.id);
            }
            (What::Listen { resumes: true, .. }, _) => self.uncork(io),
            _ => {}
        }
    }

    /// Reads who the other user of a one-to-one chat is; a chat is shown without that rather than not at all.
    fn described(
        &self,
        info: &Arc<Info>,
        io: &Io<'_, '_>,
    ) -> impl Future<Output = Option<chinwag_schema::wire::native::OtherUser>> + 'static {
        let (node, user, conversation) = (io.node.clone(), io.caller().user, info.conversation.clone());
        async move {
            let other = conversation.other(user).map(|other| other.user);
            let users = people::describe(node, other.into_iter().collect()).await.unwrap_or_default();
            other_of(&conversation, user, &users)
        }
    }

    fn opened_chat(&mut self, id: Box<str>, created: bool, info: &Arc<Info>, io: &mut Io<'_, '_>) {
        let other = self.watch_other(&info.conversation, io);
        let described = self.described(info, io);
        let info = info.clone();
        self.aside(
            id,
            described,
            move |with, id, session, io| {
                let known = Known { other, ..Known::at(info.head.seq) };
                answer(&id, &Created { conversation: ConversationInfo { with, ..info_of(&info) }, created }, io);
                session.uncork(io);
                session.own_answered(info.conversation.id, Some((known, created)), io);
            },
            io,
        );
    }

    fn members_read(
        &mut self,
        id: Box<str>,
        members: Vec<(MemberRow, Cursor)>,
        next: Option<chinwag_schema::ids::UserId>,
        io: &mut Io<'_, '_>,
    ) {
        let users = people::describe(io.node.clone(), members.iter().map(|(row, _)| row.member.user).collect());
        self.aside(
            id,
            users,
            move |users, id, _, io| match users {
                Err(error) => refuse(&*id, &store_error(&error), io),
                Ok(users) => {
                    let member = |(row, cursor): (MemberRow, Cursor)| {
                        let user = users.get(&row.member.user);
                        MemberInfo {
                            id: row.member.user,
                            name: row.member.name,
                            display_name: user.and_then(|user| user.display_name.clone()),
                            role: row.role,
                            online: user.and_then(|user| user.online),
                            last_seen: user.and_then(|user| user.last_seen),
                            delivered: cursor.delivered.seq,
                            read: cursor.read.seq,
                        }
                    };
                    answer(&id, &Members { members: members.into_iter().map(member).collect(), next }, io);
                }
            },
            io,
        );
    }

    fn remember_own(&mut self, event: EventId) {
        let own: &mut VecDeque<EventId> = &mut self.rare().guest_own;
        if own.len() >= GUEST_OWN_MAX {
            own.pop_front();
        }
        own.push_back(event);
    }
}
