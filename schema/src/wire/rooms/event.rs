//! Events of a public room as the rooms dialect tells them.

use super::server::{MessageInfo, ServerFrame, UserInfo};
use crate::{
    event::{Event, EventBody},
    model::ConversationKind,
};

/// Encodes an event for the listeners of a public room; `None` for what the dialect doesn't tell.
///
/// Durable members who join or leave aren't told: this dialect hears who listens ([`Event::Listening`]) instead.
pub fn encode_event(event: &Event, now_ms: i64) -> Option<Vec<u8>> {
    Some(frame_of(event)?.encode(now_ms))
}

fn frame_of(event: &Event) -> Option<ServerFrame> {
    match event {
        Event::Sequenced { origin, event, target } if origin.kind == ConversationKind::Room => match &event.body {
            EventBody::Message(_) => {
                Some(ServerFrame::Message { message: MessageInfo::live(origin.conversation, event)? })
            }
            EventBody::Edited { .. } => {
                let message = MessageInfo::live(origin.conversation, target.as_ref()?)?;
                Some(ServerFrame::MessageEdited { message: MessageInfo { edited: true, ..message } })
            }
            EventBody::Deleted { target, .. } => {
                Some(ServerFrame::MessageDeleted { message_id: *target, room_id: origin.conversation })
            }
            EventBody::Joined | EventBody::Left => None,
        },
        Event::Listening { origin, user, name, present, listeners } if origin.kind == ConversationKind::Room => {
            let user = UserInfo { user_id: *user, username: name.clone() };
            let member_count = *listeners;
            Some(match present {
                true => ServerFrame::UserJoined { user, member_count },
                false => ServerFrame::UserLeft { user, member_count },
            })
        }
        Event::Typing { origin, typists, .. } if origin.kind == ConversationKind::Room => {
            Some(ServerFrame::TypingUpdate { typing_users: typists.clone() })
        }
        Event::Notification { message, .. } => Some(ServerFrame::Notification { message: message.to_string() }),
        Event::Sequenced { .. }
        | Event::Listening { .. }
        | Event::Typing { .. }
        | Event::Presence { .. }
        | Event::Pointer { .. }
        | Event::Added { .. }
        | Event::Removed { .. }
        | Event::Gap { .. }
        | Event::Drain { .. } => None,
    }
}
