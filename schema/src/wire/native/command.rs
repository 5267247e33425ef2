//! What clients say: requests with their commands.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::Position,
    wire::json::{self, Secret},
};

/// A client's frame: a command with the id that its reply will carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// 1 to `limits::text::REQUEST_ID_MAX_BYTES` bytes, made by the client.
    pub id: String,
    #[serde(flatten)]
    pub command: Command,
}

impl Request {
    /// Writes the frame, as clients do.
    pub fn encode(&self) -> Vec<u8> {
        json::write(self)
    }
}

/// A command, its fields checked. What each does is in the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Command {
    #[serde(rename = "hello")]
    Hello(Hello),
    #[serde(rename = "ping")]
    Ping,
    #[serde(rename = "bye")]
    Bye,
    #[serde(rename = "conversations")]
    Conversations {
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<ConversationId>,
        limit: usize,
    },
    #[serde(rename = "resume")]
    Resume { positions: BTreeMap<ConversationId, Position> },
    #[serde(rename = "send")]
    Send {
        #[serde(flatten)]
        to: SendTo,
        /// UUIDv7.
        message_id: Uuid,
        /// As typed.
        content: String,
    },
    #[serde(rename = "edit")]
    Edit { conversation: ConversationId, message: EventId, content: String },
    #[serde(rename = "delete")]
    Delete { conversation: ConversationId, message: EventId },
    #[serde(rename = "history")]
    History {
        conversation: ConversationId,
        /// `None`: the newest page.
        #[serde(flatten)]
        from: Option<HistoryFrom>,
        limit: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
    },
    #[serde(rename = "delivered")]
    Delivered { conversation: ConversationId, seq: Seq },
    #[serde(rename = "read")]
    Read { conversation: ConversationId, seq: Seq },
    #[serde(rename = "typing")]
    Typing { conversation: ConversationId, active: bool },
    #[serde(rename = "chat.open")]
    ChatOpen { with: String },
    #[serde(rename = "group.create")]
    GroupCreate { name: String },
    #[serde(rename = "group.join")]
    GroupJoin { conversation: ConversationId },
    #[serde(rename = "group.leave")]
    GroupLeave { conversation: ConversationId },
    #[serde(rename = "room.create")]
    RoomCreate { name: String },
    #[serde(rename = "room.join")]
    RoomJoin {
        #[serde(flatten)]
        room: RoomRef,
    },
    #[serde(rename = "room.leave")]
    RoomLeave { conversation: ConversationId },
    #[serde(rename = "room.listen")]
    RoomListen {
        #[serde(flatten)]
        room: RoomRef,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    #[serde(rename = "room.unlisten")]
    RoomUnlisten { conversation: ConversationId },
    #[serde(rename = "rooms")]
    Rooms { limit: usize },
    #[serde(rename = "members")]
    Members {
        conversation: ConversationId,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<UserId>,
        limit: usize,
    },
    /// Info of one conversation; by name only a public room.
    #[serde(rename = "conversation")]
    Conversation {
        #[serde(flatten)]
        which: RoomRef,
    },
    #[serde(rename = "users")]
    Users {
        #[serde(flatten)]
        by: UsersBy,
    },
    #[serde(rename = "presence.watch")]
    PresenceWatch { users: Vec<UserId> },
    #[serde(rename = "presence.unwatch")]
    PresenceUnwatch { users: Vec<UserId> },
    #[serde(rename = "profile.get")]
    ProfileGet,
    #[serde(rename = "profile.set")]
    ProfileSet {
        /// `None` (sent as `null`) removes it.
        display_name: Option<String>,
    },
    #[serde(rename = "stats")]
    Stats,
}

/// The first frame of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hello {
    pub protocol: u32,
    #[serde(flatten)]
    pub credentials: Credentials,
    /// Name and version of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<ConversationId, Position>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// An access token (JWT).
    Token(Secret),
    /// A one-use ticket.
    Ticket(Secret),
    /// No proof: the name of a guest, of the rooms dialect's pattern.
    Guest(String),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SendTo {
    Conversation(ConversationId),
    /// To the one-to-one chat with the user of this name, which is opened if need be.
    To(String),
}

/// A room by id or name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomRef {
    Conversation(ConversationId),
    Name(String),
}

/// Where a page of the history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryFrom {
    /// The newest events with a smaller seq.
    Before(Seq),
    /// The oldest events with a greater seq.
    After(Seq),
}

/// Users by their ids or names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsersBy {
    Ids(Vec<UserId>),
    Names(Vec<String>),
}

impl Command {
    /// Returns the `type` on the wire, for metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ping => "ping",
            Self::Bye => "bye",
            Self::Conversations { .. } => "conversations",
            Self::Resume { .. } => "resume",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
            Self::History { .. } => "history",
            Self::Delivered { .. } => "delivered",
            Self::Read { .. } => "read",
            Self::Typing { .. } => "typing",
            Self::ChatOpen { .. } => "chat.open",
            Self::GroupCreate { .. } => "group.create",
            Self::GroupJoin { .. } => "group.join",
            Self::GroupLeave { .. } => "group.leave",
            Self::RoomCreate { .. } => "room.create",
            Self::RoomJoin { .. } => "room.join",
            Self::RoomLeave { .. } => "room.leave",
            Self::RoomListen { .. } => "room.listen",
            Self::RoomUnlisten { .. } => "room.unlisten",
            Self::Rooms { .. } => "rooms",
            Self::Members { .. } => "members",
            Self::Conversation { .. } => "conversation",
            Self::Users { .. } => "users",
            Self::PresenceWatch { .. } => "presence.watch",
            Self::PresenceUnwatch { .. } => "presence.unwatch",
            Self::ProfileGet => "profile.get",
            Self::ProfileSet { .. } => "profile.set",
            Self::Stats => "stats",
        }
    }
}
