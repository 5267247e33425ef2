//! Results of commands, for servers to write and for clients to read. Times are Unix ms.

use serde::{Deserialize, Serialize};

use super::{
    event::LoggedEvent,
    object::{ConversationInfo, MemberInfo, PresenceInfo, Resumed, RoomInfo, UserInfo},
};
use crate::{
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    limits,
    model::{Name, Pointer},
};

/// Nothing to say: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// Of `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    pub server_time: i64,
}

/// Of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub user: UserInfo,
    pub session: String,
    pub protocol: u32,
    pub features: Vec<String>,
    pub server_time: i64,
    pub epoch: Epoch,
    pub limits: Limits,
    pub conversations: Vec<ConversationInfo>,
    /// `after` of the `conversations` that lists more; absent when this is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
    pub resumed: Vec<Resumed>,
}

/// Bounds that a client must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub frame_bytes: usize,
    pub content_chars: usize,
    pub request_id_bytes: usize,
    pub page: usize,
    pub positions: usize,
    pub replay_events: u64,
    pub unanswered: usize,
    pub ping_interval_ms: u64,
    pub message_id_ahead_ms: u64,
}

impl Default for Limits {
    /// The fixed bounds of [`limits`].
    fn default() -> Self {
        Self {
            frame_bytes: limits::socket::MESSAGE_MAX_BYTES,
            content_chars: limits::text::CONTENT_MAX_CHARS,
            request_id_bytes: limits::text::REQUEST_ID_MAX_BYTES,
            page: limits::conversation::PAGE_MAX,
            positions: limits::native::POSITIONS_MAX,
            replay_events: limits::conversation::REPLAY_MAX_EVENTS,
            unanswered: limits::socket::UNANSWERED_MAX,
            ping_interval_ms: limits::socket::PING_INTERVAL.as_millis() as u64,
            message_id_ahead_ms: limits::conversation::MESSAGE_ID_AHEAD_MAX.as_millis() as u64,
        }
    }
}

/// Of `conversations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversations {
    pub conversations: Vec<ConversationInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ConversationId>,
}

/// Of `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeResult {
    pub resumed: Vec<Resumed>,
}

/// Of `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendResult {
    pub conversation: ConversationId,
    pub epoch: Epoch,
    pub seq: Seq,
    pub id: EventId,
    pub timestamp: i64,
    pub duplicate: bool,
}

/// Of `edit` and `delete`: the event that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeResult {
    pub conversation: ConversationId,
    pub epoch: Epoch,
    pub seq: Seq,
    pub id: EventId,
    pub timestamp: i64,
}

/// Of `history`; ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryResult {
    pub conversation: ConversationId,
    pub epoch: Epoch,
    pub events: Vec<LoggedEvent>,
    /// Nothing lies further in the direction asked.
    pub complete: bool,
    pub oldest_seq: Seq,
    pub head: Seq,
}

/// Of `delivered` and `read`: where the pointer stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointerResult {
    pub conversation: ConversationId,
    pub pointer: Pointer,
    pub seq: Seq,
    pub unread: u64,
}

/// Of `chat.open`, `group.create` and `room.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    pub conversation: ConversationInfo,
    pub created: bool,
}

/// Of `group.join` and `room.join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub conversation: ConversationInfo,
    pub joined: bool,
}

/// Of `group.leave` and `room.leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub conversation: ConversationId,
    pub left: bool,
}

/// Of `room.listen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    pub conversation: ConversationInfo,
    pub listeners: u64,
    /// At most `limits::conversation::ROOMS_MEMBERS_SHOWN`.
    pub names: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// Of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rooms {
    pub rooms: Vec<RoomInfo>,
}

/// Of `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub members: Vec<MemberInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
}

/// Of `conversation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneConversation {
    pub conversation: ConversationInfo,
}

/// Of `users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    pub users: Vec<UserInfo>,
}

/// Of `profile.get` and `profile.set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub user: UserInfo,
}

/// Of `presence.watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub presence: Vec<PresenceInfo>,
}

/// Of `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub server: ServerStats,
    pub user: UserStats,
}

/// This node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStats {
    pub sockets: u64,
    pub users: u64,
    pub uptime_ms: u64,
}

/// The asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserStats {
    /// Sent on this socket.
    pub messages: u64,
    pub connected_at: i64,
}
