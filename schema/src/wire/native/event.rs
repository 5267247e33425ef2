//! Events on the wire. A row of the log has one JSON, live, in replay and in history: [`LoggedEvent`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::object::ConversationInfo;
use crate::{
    event::{Event, EventBody, LogEvent, Origin},
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::{Name, Pointer},
    wire::json,
};

/// A user as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    pub id: UserId,
    pub name: Name,
}

/// Kinds of sequenced events. Clients count the seq of kinds that they don't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoggedKind {
    Message,
    Edited,
    Deleted,
    MemberJoined,
    MemberLeft,
    #[serde(other)]
    Unknown,
}

/// A sequenced event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEvent {
    pub event: LoggedKind,
    pub conversation: ConversationId,
    pub epoch: Epoch,
    pub seq: Seq,
    pub id: EventId,
    /// Unix ms.
    pub timestamp: i64,
    pub sender: UserRef,
    /// Of messages: the client's id; absent from messages of the frozen dialects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
    /// Of edits and deletions: the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_seq: Option<Seq>,
    /// Of messages, and of edits the message's text as it stands now (absent if retention removed it). Empty once deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Arc<str>>,
    /// Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl LoggedEvent {
    /// Shows a row of a conversation's log. For an edit, `target` is the message as it stands now, if it is still stored.
    pub fn of(conversation: ConversationId, epoch: Epoch, event: &LogEvent, target: Option<&LogEvent>) -> Self {
        let (kind, of_target) = match &event.body {
            EventBody::Message(_) => (LoggedKind::Message, None),
            EventBody::Edited { target, target_seq } => (LoggedKind::Edited, Some((*target, *target_seq))),
            EventBody::Deleted { target, target_seq } => (LoggedKind::Deleted, Some((*target, *target_seq))),
            EventBody::Joined => (LoggedKind::MemberJoined, None),
            EventBody::Left => (LoggedKind::MemberLeft, None),
        };
        let shown = match kind {
            LoggedKind::Message => Some(event),
            LoggedKind::Edited => target,
            _ => None,
        };
        let message = shown.and_then(|shown| match &shown.body {
            EventBody::Message(body) => Some(body),
            _ => None,
        });
        Self {
            event: kind,
            conversation,
            epoch,
            seq: event.seq,
            id: event.id,
            timestamp: event.at_ms,
            sender: UserRef { id: event.sender, name: event.sender_name.clone() },
            message_id: message.filter(|_| kind == LoggedKind::Message).and_then(|body| body.client_id),
            target: of_target.map(|(id, _)| id),
            target_seq: of_target.map(|(_, seq)| seq),
            // A deleted text is blank whatever the row says.
            content: message.map(|body| if body.deleted { "".into() } else { body.content.clone() }),
            edited_at: message.and_then(|body| body.edited_at_ms),
            deleted: message.is_some_and(|body| body.deleted),
        }
    }

    /// Shows a row of the log of an event's origin.
    pub fn from_origin(origin: &Origin, event: &LogEvent, target: Option<&LogEvent>) -> Self {
        Self::of(origin.conversation, origin.epoch, event, target)
    }

    /// Writes the event as a frame of its own (replay).
    pub fn encode(&self) -> Vec<u8> {
        json::write(self)
    }
}

/// Everything that is told without a place in a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice {
    Pointer {
        conversation: ConversationId,
        user: UserRef,
        pointer: Pointer,
        seq: Seq,
    },
    Typing {
        conversation: ConversationId,
        name: Name,
        active: bool,
        typists: Vec<Name>,
    },
    Presence {
        user: UserRef,
        online: bool,
        /// Unix ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seen: Option<i64>,
    },
    /// Someone began or stopped listening in a room.
    Listener {
        conversation: ConversationId,
        user: UserRef,
        listening: bool,
        listeners: u64,
    },
    ConversationAdded {
        conversation: Box<ConversationInfo>,
    },
    ConversationRemoved {
        conversation: ConversationId,
    },
    /// Page the history from `from` to `to`, both included.
    Gap {
        conversation: ConversationId,
        epoch: Epoch,
        from: Seq,
        to: Seq,
    },
    Notification {
        message: Arc<str>,
        /// Unix ms.
        timestamp: i64,
    },
    Drain {
        reconnect_after_ms: u64,
    },
    /// An event of a newer server.
    #[serde(other)]
    Unknown,
}

impl Notice {
    /// Writes the frame.
    pub fn encode(&self) -> Vec<u8> {
        json::write(self)
    }
}

/// Encodes an event; every one is told.
pub fn encode_event(event: &Event) -> Option<Vec<u8>> {
    let notice = match event {
        Event::Sequenced { origin, event, target } => {
            return Some(LoggedEvent::from_origin(origin, event, target.as_ref()).encode());
        }
        Event::Listening { origin, user, name, present, listeners } => Notice::Listener {
            conversation: origin.conversation,
            user: UserRef { id: *user, name: name.clone() },
            listening: *present,
            listeners: *listeners,
        },
        Event::Typing { origin, who, active, typists } => Notice::Typing {
            conversation: origin.conversation,
            name: who.clone(),
            active: *active,
            typists: typists.clone(),
        },
        Event::Presence { user, name, online, last_seen_ms } => Notice::Presence {
            user: UserRef { id: *user, name: name.clone() },
            online: *online,
            last_seen: *last_seen_ms,
        },
        Event::Pointer { origin, user, name, pointer, seq } => Notice::Pointer {
            conversation: origin.conversation,
            user: UserRef { id: *user, name: name.clone() },
            pointer: *pointer,
            seq: *seq,
        },
        Event::Added { conversation, epoch, head } => {
            Notice::ConversationAdded { conversation: Box::new(ConversationInfo::of(conversation, *epoch, *head)) }
        }
        Event::Removed { conversation } => Notice::ConversationRemoved { conversation: *conversation },
        Event::Gap { origin, from, to } => {
            Notice::Gap { conversation: origin.conversation, epoch: origin.epoch, from: *from, to: *to }
        }
        Event::Notification { message, at_ms } => Notice::Notification { message: message.clone(), timestamp: *at_ms },
        Event::Drain { reconnect_after_ms } => Notice::Drain { reconnect_after_ms: *reconnect_after_ms },
    };
    Some(notice.encode())
}
