//! Events: what is stored in a conversation's log, and what is told to sockets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::{Conversation, ConversationKind, Name, Pointer},
};

/// What happened, in a row of the log.
///
/// Edits and deletions carry no text of their own: they change their target's row in the same transaction, so that a deleted
/// text is gone from every page and replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    Message(MessageBody),
    Edited { target: EventId, target_seq: Seq },
    Deleted { target: EventId, target_seq: Seq },
    Joined,
    Left,
}

impl EventBody {
    /// Says whether the event counts as a message in unread totals.
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Message(_))
    }

    /// Returns the message that an edit or deletion changes.
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Edited { target_seq, .. } | Self::Deleted { target_seq, .. } => Some(*target_seq),
            Self::Message(_) | Self::Joined | Self::Left => None,
        }
    }
}

/// A message as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBody {
    /// The client's id of it, UUIDv7; `None` from the frozen dialects.
    pub client_id: Option<Uuid>,
    /// The text as typed; empty once deleted.
    pub content: Arc<str>,
    /// When it was last edited, Unix ms.
    pub edited_at_ms: Option<i64>,
    pub deleted: bool,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    pub seq: Seq,
    pub id: EventId,
    pub at_ms: i64,
    pub sender: UserId,
    pub sender_name: Name,
    /// Messages in the conversation so far, this one included.
    pub messages: u64,
    /// The sender's messages so far, this one included.
    pub own: u64,
    pub body: EventBody,
}

/// What every event of a conversation says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub conversation: ConversationId,
    pub kind: ConversationKind,
    /// Of rooms and groups.
    pub name: Option<Name>,
    /// The messenger dialect's `chatId`; one-to-one chats only.
    pub chat_id: Option<Arc<str>>,
    pub epoch: Epoch,
}

/// Something to tell sockets. Encoded once per dialect (and compression) and shared by all recipients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A row of the log. For edits and deletions `target` is the message as it stands now.
    Sequenced { origin: Arc<Origin>, event: LogEvent, target: Option<LogEvent> },
    /// A user began (or stopped) listening in a room; rooms dialect only. Ephemeral.
    Listening { origin: Arc<Origin>, user: UserId, name: Name, present: bool, listeners: u64 },
    /// Who types now; `who` and `active` say what changed. Ephemeral.
    Typing { origin: Arc<Origin>, who: Name, active: bool, typists: Vec<Name> },
    /// A user came online or went offline. Ephemeral.
    Presence { user: UserId, name: Name, online: bool, last_seen_ms: Option<i64> },
    /// A pointer moved.
    Pointer { origin: Arc<Origin>, user: UserId, name: Name, pointer: Pointer, seq: Seq },
    /// A conversation became the recipient's (chat opened, group joined elsewhere).
    Added { conversation: Arc<Conversation>, epoch: Epoch, head: Seq },
    /// A conversation stopped being the recipient's.
    Removed { conversation: ConversationId },
    /// Events were dropped for this socket, or are too many to replay: page the history from `from` to `to`.
    Gap { origin: Arc<Origin>, from: Seq, to: Seq },
    /// An operator's broadcast.
    Notification { message: Arc<str>, at_ms: i64 },
    /// The node stops: reconnect after so long.
    Drain { reconnect_after_ms: u64 },
}

/// How an event may be treated when a socket reads too slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Typing, presence: dropped first.
    Ephemeral,
    /// Durable: may be replaced by one gap.
    Sequenced { conversation: ConversationId, seq: Seq },
    /// Answers and notices: kept while the socket lives.
    Kept,
}

impl Event {
    /// Returns how a slow reader's outbox may treat the event.
    pub fn class(&self) -> Class {
        match self {
            Self::Sequenced { origin, event, .. } => {
                Class::Sequenced { conversation: origin.conversation, seq: event.seq }
            }
            Self::Listening { .. } | Self::Typing { .. } | Self::Presence { .. } => Class::Ephemeral,
            Self::Pointer { .. }
            | Self::Added { .. }
            | Self::Removed { .. }
            | Self::Gap { .. }
            | Self::Notification { .. }
            | Self::Drain { .. } => Class::Kept,
        }
    }
}
