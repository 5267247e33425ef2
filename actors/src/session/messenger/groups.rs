//! Groups, and public rooms as groups: creating, joining, leaving, writing, reading.

use chinwag_schema::{
    error::ClientError,
    ids::ConversationId,
    model::{Conversation, ConversationKind, Role},
    wire::messenger::{Page, ServerFrame, error_of, texts},
};

use super::{Group, Io, MessengerSession, MessengerTag, Tag, chats, fail, send, store_failed, wait, within_rate};
use crate::{conversation::messages::ConversationMessage, snowflake::kind_of};

/// Creates a group. Its creator becomes a member by its own `JOIN_GROUP_CHAT` only, as its administrator.
pub(super) fn create(name: String, io: &mut Io<'_, '_>) {
    if !within_rate(io) {
        return;
    }
    let (created_by, created_at_ms, kind) = (io.caller().user, io.now_ms(), ConversationKind::Group);
    let Ok(id) = io.node.ids.conversation(created_at_ms, kind) else {
        return send(&error_of(&ClientError::unavailable("the server")), io);
    };
    let group = Conversation { id, kind, name: Some(name.into()), created_by, created_at_ms, pair: None };
    let accounts = io.node.accounts.clone();
    let create = async move {
        accounts.call("create_conversation", move |store| async move { store.create_conversation(&group).await }).await
    };
    wait(io, create, move |created, _, io| match created {
        Ok(()) => send(&ServerFrame::GroupChatCreated { group_id: id }, io),
        Err(error) => store_failed(&error, io),
    });
}

pub(super) fn join(id: ConversationId, io: &mut Io<'_, '_>) {
    if kind_of(id).is_none_or(|kind| kind == ConversationKind::Direct) {
        return fail(texts::group_unknown(&id.to_string()), io);
    }
    if !within_rate(io) {
        return;
    }
    let accounts = io.node.accounts.clone();
    let look_up =
        async move { accounts.call("conversation", move |store| async move { store.conversation(id).await }).await };
    wait(io, look_up, move |found, session, io| {
        let caller = io.caller();
        let role = match found {
            Err(error) => return store_failed(&error, io),
            Ok(None) => return fail(texts::group_unknown(&id.to_string()), io),
            Ok(Some(group)) if group.kind == ConversationKind::Group && group.created_by == caller.user => Role::Admin,
            Ok(Some(_)) => Role::Member,
        };
        // A client needn't wait for the answer: what it says next is said by a member.
        let group = Group { id, name: caller.name.clone(), turn: session.hold_for_membership(io) };
        let reply = io.reply_to(Tag::Messenger(MessengerTag::Join(group)));
        io.tell(id, ConversationMessage::Join { from: caller, role, reply });
    });
}

pub(super) fn leave(session: &mut MessengerSession, id: ConversationId, io: &mut Io<'_, '_>) {
    if let Some(stranger) = not_a_group(id) {
        return fail(stranger, io);
    }
    if !within_rate(io) {
        return;
    }
    let caller = io.caller();
    let group = Group { id, name: caller.name.clone(), turn: session.hold_for_membership(io) };
    let reply = io.reply_to(Tag::Messenger(MessengerTag::Leave(group)));
    io.tell(id, ConversationMessage::Leave { from: caller, reply });
}

pub(super) fn post(id: ConversationId, content: String, io: &Io<'_, '_>) {
    if let Some(stranger) = not_a_group(id) {
        return fail(stranger, io);
    }
    if !within_rate(io) {
        return;
    }
    let reply = io.reply_to(Tag::Messenger(MessengerTag::GroupPost(id)));
    let content = content.into();
    io.tell(id, ConversationMessage::Post { from: io.caller(), client_id: None, content, reply });
}

pub(super) fn history(id: ConversationId, page: Page, io: &mut Io<'_, '_>) {
    if let Some(stranger) = not_a_group(id) {
        return fail(stranger, io);
    }
    let first = page.before.is_none();
    let reply = io.reply_to(Tag::Messenger(MessengerTag::GroupHistory { first, group: id }));
    io.hold_inbound();
    io.tell(id, ConversationMessage::History { from: io.caller(), query: chats::query(page), reply });
}

/// Says that a one-to-one chat (or no conversation at all) is no group of anybody's.
fn not_a_group(id: ConversationId) -> Option<String> {
    let group = matches!(kind_of(id), Some(ConversationKind::Group | ConversationKind::Room));
    (!group).then(|| texts::not_a_member(&id.to_string()))
}
