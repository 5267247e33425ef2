//! Events as the messenger dialect tells them: one-to-one chats, groups, and public rooms as groups.

use super::server::{GroupRow, ServerFrame, Status};
use crate::{
    event::{Event, EventBody, LogEvent, Origin},
    ids::UserId,
    model::{Conversation, ConversationKind},
    names,
};

/// Encodes an event for a chat socket; `None` for what the dialect doesn't tell (edits, typing, pointers, …).
pub fn encode_event(event: &Event) -> Option<Vec<u8>> {
    let frame = match event {
        Event::Sequenced { origin, event, .. } => sequenced(origin, event)?,
        Event::Notification { message, .. } => ServerFrame::info(&**message),
        Event::Listening { .. }
        | Event::Typing { .. }
        | Event::Presence { .. }
        | Event::Pointer { .. }
        | Event::Added { .. }
        | Event::Removed { .. }
        | Event::Gap { .. }
        | Event::Drain { .. } => return None,
    };
    Some(frame.encode())
}

fn sequenced(origin: &Origin, event: &LogEvent) -> Option<ServerFrame> {
    let from = event.sender_name.clone();
    let group_id = origin.conversation;
    match (&event.body, origin.kind) {
        (EventBody::Message(_), ConversationKind::Direct) => Some(ServerFrame::Message {
            from,
            content: GroupRow::of(event)?.text,
            chat_id: origin.chat_id.clone()?,
            message_id: event.id,
        }),
        (EventBody::Message(_), ConversationKind::Group | ConversationKind::Room) => {
            let content = GroupRow::of(event)?.text;
            Some(ServerFrame::GroupChat { from, group_id, content, message_id: event.id })
        }
        (EventBody::Joined, ConversationKind::Group | ConversationKind::Room) => {
            Some(ServerFrame::GroupMemberJoined { group_id, username: from })
        }
        (EventBody::Left, ConversationKind::Group | ConversationKind::Room) => {
            Some(ServerFrame::GroupMemberLeft { group_id, username: from })
        }
        (EventBody::Joined | EventBody::Left, ConversationKind::Direct) => None,
        (EventBody::Edited { .. } | EventBody::Deleted { .. }, _) => None,
    }
}

/// Encodes an event for a presence socket: status changes only.
pub fn encode_presence(event: &Event) -> Option<Vec<u8>> {
    let Event::Presence { name, online, .. } = event else { return None };
    let status = if *online { Status::Online } else { Status::Offline };
    Some(ServerFrame::StatusChange { username: name.clone(), status }.encode())
}

/// Tells `viewer` of a new one-to-one chat: as its starter or as the other side. `None` for other conversations and strangers.
pub fn chat_added(conversation: &Conversation, viewer: UserId) -> Option<ServerFrame> {
    let [a, b] = conversation.pair.as_ref()?;
    if viewer != a.user && viewer != b.user {
        return None;
    }
    let other = conversation.other(viewer)?;
    let chat_id = names::chat_id(&a.name, &b.name).into();
    Some(if conversation.created_by == viewer {
        ServerFrame::chat_to(other.name.clone(), chat_id)
    } else {
        ServerFrame::chat_from(other.name.clone(), chat_id)
    })
}
