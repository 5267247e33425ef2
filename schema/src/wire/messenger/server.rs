//! What the server says in the messenger dialect. Order and spelling of the fields are the order and spelling on the wire.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::texts;
use crate::{
    error::{ClientError, ErrorCode},
    event::{EventBody, LogEvent},
    ids::{ConversationId, EventId},
    model::Name,
    wire::{json, rooms::DELETED, time::Iso},
};

/// A frame for one socket (fan-out goes through [`super::encode_event`], with the same types).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum ServerFrame {
    InitData {
        chat_ids: Vec<Arc<str>>,
        groups: Vec<ConversationId>,
        offline_messages: Vec<Summary>,
    },
    /// Exactly one of `from` (to the other) and `to` (to the starter) is there.
    NewOneToOneChatAp {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Name>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Name>,
        msg: String,
        chat_id: Arc<str>,
    },
    Message {
        from: Name,
        content: Arc<str>,
        chat_id: Arc<str>,
        message_id: EventId,
    },
    /// Oldest first. `is_online` and `last_seen_time` are the other user's.
    OneToOneChatHistory {
        messages: Vec<ChatRow>,
        is_online: bool,
        last_seen_time: Option<Iso>,
    },
    GroupChatCreated {
        group_id: ConversationId,
    },
    GroupMemberJoined {
        group_id: ConversationId,
        username: Name,
    },
    GroupMemberLeft {
        group_id: ConversationId,
        username: Name,
    },
    GroupChat {
        from: Name,
        group_id: ConversationId,
        content: Arc<str>,
        message_id: EventId,
    },
    /// Oldest first.
    GroupChatHistory {
        messages: Vec<GroupRow>,
    },
    FriendsMeta {
        friends: Vec<FriendMeta>,
    },
    /// Presence sockets only.
    StatusChange {
        username: Name,
        status: Status,
    },
    Error {
        msg: String,
    },
    Info {
        msg: String,
    },
    Success {
        msg: String,
    },
}

/// Whether a user is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Online,
    Offline,
}

/// Kind of a summarised conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SummaryKind {
    OneToOne,
    Group,
}

/// Unseen messages of one conversation; own ones never counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The `chatId` or the group's id.
    pub partition_key: String,
    pub count: u64,
    pub message_type: SummaryKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<Name>,
}

impl Summary {
    /// Summarises a one-to-one chat with a user.
    pub fn chat(chat_id: &str, from: Name, count: u64) -> Self {
        let message_type = SummaryKind::OneToOne;
        Self { partition_key: chat_id.to_owned(), count, message_type, from: Some(from), group_name: None }
    }

    /// Summarises a group or a room.
    pub fn group(group: ConversationId, name: Name, count: u64) -> Self {
        let message_type = SummaryKind::Group;
        Self { partition_key: group.to_string(), count, message_type, from: None, group_name: Some(name) }
    }
}

/// A row of `ONE_TO_ONE_CHAT_HISTORY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatRow {
    pub message_id: EventId,
    pub from: Name,
    pub to: Name,
    pub text: Arc<str>,
    pub timestamp: Iso,
}

impl ChatRow {
    /// Shows a row of the log of the chat of `pair`; `None` if it isn't a message. A deleted one shows `[Message deleted]`.
    pub fn of(event: &LogEvent, pair: [&Name; 2]) -> Option<Self> {
        let row = GroupRow::of(event)?;
        let to = if event.sender_name == *pair[0] { pair[1] } else { pair[0] }.clone();
        let GroupRow { message_id, from, text, timestamp } = row;
        Some(Self { message_id, from, to, text, timestamp })
    }
}

/// A row of `GROUP_CHAT_HISTORY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRow {
    pub message_id: EventId,
    pub from: Name,
    pub text: Arc<str>,
    pub timestamp: Iso,
}

impl GroupRow {
    /// Shows a row of the log; `None` if it isn't a message. A deleted one shows `[Message deleted]`.
    pub fn of(event: &LogEvent) -> Option<Self> {
        let EventBody::Message(body) = &event.body else { return None };
        Some(Self {
            message_id: event.id,
            from: event.sender_name.clone(),
            text: if body.deleted { DELETED.into() } else { body.content.clone() },
            timestamp: Iso(event.at_ms),
        })
    }
}

/// A row of `FRIENDS_META`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FriendMeta {
    pub username: Name,
    pub chat_id: Arc<str>,
    pub is_online: bool,
    pub last_seen_time: Option<Iso>,
}

impl ServerFrame {
    /// Makes an `ERROR`.
    pub fn error(msg: impl Into<String>) -> Self {
        Self::Error { msg: msg.into() }
    }

    /// Makes an `INFO`.
    pub fn info(msg: impl Into<String>) -> Self {
        Self::Info { msg: msg.into() }
    }

    /// Makes a `SUCCESS`.
    pub fn success(msg: impl Into<String>) -> Self {
        Self::Success { msg: msg.into() }
    }

    /// Tells the other side of a new chat.
    pub fn chat_from(from: Name, chat_id: Arc<str>) -> Self {
        Self::NewOneToOneChatAp { msg: texts::first_message(&from), from: Some(from), to: None, chat_id }
    }

    /// Tells the starter of a new chat.
    pub fn chat_to(to: Name, chat_id: Arc<str>) -> Self {
        Self::NewOneToOneChatAp { msg: texts::request_sent(&to), from: None, to: Some(to), chat_id }
    }

    /// Writes the frame.
    pub fn encode(&self) -> Vec<u8> {
        json::write(self)
    }
}

/// Says an error of the engine in the dialect's words.
pub fn error_of(error: &ClientError) -> ServerFrame {
    match error.code {
        ErrorCode::RateLimited => ServerFrame::error(texts::rate_limited(error.retry_after_ms.unwrap_or(1000))),
        _ => ServerFrame::error(error.message.clone()),
    }
}
