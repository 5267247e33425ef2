//! What the server says in the rooms dialect. Order and spelling of the fields are the order and spelling on the wire.

use serde::{Deserialize, Deserializer, Serialize};

use super::error::ErrorInfo;
use crate::{
    event::{EventBody, LogEvent},
    ids::{ConversationId, EventId, UserId},
    model::Name,
    wire::{json, time::Iso},
};

/// What a deleted message shows.
pub const DELETED: &str = "[Message deleted]";

/// Answer to `help`.
pub const HELP: &str = "Available commands:
/rooms [limit] - list the active rooms
/users - list the users in your room, or everyone online
/stats - show statistics of the server and of you
/me - show who you are
/clear - clear the screen
/help - show this help";

/// A frame for one socket (fan-out goes through [`super::encode_event`], with the same types).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerFrame {
    AuthSuccess {
        user: UserInfo,
    },
    /// Wrong token or password only; a bad name is an `error`.
    AuthError {
        error: AuthFailure,
    },
    RoomJoined {
        room: JoinedRoom,
        members: Vec<Name>,
    },
    /// Oldest first; not sent when empty.
    MessageHistory {
        messages: Vec<MessageInfo>,
    },
    RoomCreated {
        room: CreatedRoom,
    },
    RoomLeft {
        room_name: Name,
    },
    UserJoined {
        user: UserInfo,
        member_count: u64,
    },
    UserLeft {
        user: UserInfo,
        member_count: u64,
    },
    Message {
        message: MessageInfo,
    },
    MessageEdited {
        message: MessageInfo,
    },
    MessageDeleted {
        message_id: EventId,
        room_id: ConversationId,
    },
    TypingUpdate {
        typing_users: Vec<Name>,
    },
    RoomList {
        rooms: Vec<ListedRoom>,
        count: usize,
    },
    /// `room` is `null` outside a room; then users also have `currentRoom`.
    UserList {
        room: Option<Name>,
        users: Vec<ListedUser>,
        count: usize,
    },
    System {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<SystemData>,
    },
    /// An operator's broadcast.
    Notification {
        message: String,
    },
    #[serde(rename = "CLEAR_SCREEN")]
    ClearScreen,
    Error {
        error: ErrorInfo,
    },
}

/// A user as frames name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    pub user_id: UserId,
    pub username: Name,
}

/// The `error` of an `auth_error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthFailure {
    pub code: super::ErrorCode,
    pub message: String,
}

/// The `room` of `room_joined`; `memberCount` counts distinct users listening now, the joiner included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinedRoom {
    pub id: ConversationId,
    pub name: Name,
    pub member_count: u64,
}

/// The `room` of `room_created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedRoom {
    pub id: ConversationId,
    pub name: Name,
}

/// A message, live (with `roomId`) or in the history (without).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageInfo {
    pub id: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<ConversationId>,
    pub user_id: UserId,
    pub username: Name,
    pub content: Name,
    pub timestamp: Iso,
    /// Always `message`.
    #[serde(rename = "type")]
    pub kind: String,
    pub edited: bool,
}

impl MessageInfo {
    /// Shows a row of the log as history does; `None` if it isn't a message. A deleted one shows [`DELETED`].
    pub fn of_history(event: &LogEvent) -> Option<Self> {
        let EventBody::Message(body) = &event.body else { return None };
        Some(Self {
            id: event.id,
            room_id: None,
            user_id: event.sender,
            username: event.sender_name.clone(),
            content: if body.deleted { DELETED.into() } else { body.content.clone() },
            timestamp: Iso(event.at_ms),
            kind: "message".to_owned(),
            edited: body.edited_at_ms.is_some(),
        })
    }

    /// Shows a row of the log as live frames do.
    pub fn live(room: ConversationId, event: &LogEvent) -> Option<Self> {
        Some(Self { room_id: Some(room), ..Self::of_history(event)? })
    }
}

/// A row of `room_list`, and the room of `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRoom {
    pub name: Name,
    pub users: u64,
    pub messages: u64,
    pub created: Iso,
}

/// A row of `user_list`. `current_room` is `None` inside a room, and `Some` (of a name or `null`) outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedUser {
    pub username: Name,
    pub user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub current_room: Option<Option<Name>>,
}

/// The `data` of a `system` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SystemData {
    Stats(Stats),
    Me(Me),
}

/// Answer to `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub server: ServerStats,
    pub user: UserStats,
    pub current_room: Option<ListedRoom>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStats {
    pub active_connections: u64,
    pub unique_users: u64,
    /// `N minutes`; see [`ServerStats::uptime`].
    pub uptime: String,
}

impl ServerStats {
    /// Writes an uptime as the dialect does, in whole minutes.
    pub fn uptime(uptime_ms: u64) -> String {
        format!("{} minutes", uptime_ms / 60_000)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserStats {
    pub total_messages: u64,
    pub rooms_joined: u64,
    pub connected_since: Iso,
}

/// Answer to `me`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    pub user_id: UserId,
    pub username: Name,
    /// The room's name, or `None` as a word.
    pub current_room: String,
    pub connected_since: Iso,
    pub connection_id: String,
}

impl ServerFrame {
    /// Makes a `system` frame of a text alone.
    pub fn system(message: impl Into<String>) -> Self {
        Self::System { message: message.into(), data: None }
    }

    /// Makes the answer to `help`.
    pub fn help() -> Self {
        Self::system(HELP)
    }

    /// Makes the answer to `stats`; the text is the data, pretty-printed.
    pub fn stats(stats: Stats) -> Self {
        Self::System { message: pretty(&stats), data: Some(SystemData::Stats(stats)) }
    }

    /// Makes the answer to `me`; the text shows the data below a heading.
    pub fn me(me: Me) -> Self {
        Self::System { message: format!("Your information:\n{}", pretty(&me)), data: Some(SystemData::Me(me)) }
    }

    /// Makes the answer to a wrong token or password.
    pub fn auth_error() -> Self {
        let message = "Invalid token or password".to_owned();
        Self::AuthError { error: AuthFailure { code: super::ErrorCode::Unauthorized, message } }
    }

    /// Makes an `error` frame.
    pub fn error(error: ErrorInfo) -> Self {
        Self::Error { error }
    }

    /// Makes `message_history` of a page of the log (ascending); `None` when it holds no message.
    pub fn history(events: &[LogEvent]) -> Option<Self> {
        let messages: Vec<_> = events.iter().filter_map(MessageInfo::of_history).collect();
        (!messages.is_empty()).then_some(Self::MessageHistory { messages })
    }

    /// Writes the frame; `now_ms` (Unix ms) becomes its `timestamp`.
    pub fn encode(&self, now_ms: i64) -> Vec<u8> {
        let mut text = json::write(self);
        // Every frame has at least its type: the closing brace makes way for one more field.
        text.pop();
        text.extend_from_slice(format!(",\"timestamp\":\"{}\"}}", Iso(now_ms)).as_bytes());
        text
    }
}

/// Tells a field that is `null` from one that isn't there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Name>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn pretty<T: Serialize>(data: &T) -> String {
    serde_json::to_string_pretty(data).expect("plain structs in memory: that can't fail")
}
