//! What results and events are made of: users, conversations, members, resumed positions. Times are Unix ms.

use serde::{Deserialize, Serialize};

use super::event::{LoggedEvent, UserRef};
use crate::{
    ids::{ConversationId, Epoch, Seq, UserId},
    model::{Conversation, ConversationKind, Member, Name, Role, User},
};

/// A user, as far as the asker may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    pub id: UserId,
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    pub guest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
}

impl UserInfo {
    /// Shows an account; whether it is online is another's to add.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id,
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            guest: false,
            online: None,
            last_seen: user.last_seen_ms,
        }
    }

    /// Shows a guest.
    pub fn guest(id: UserId, name: Name) -> Self {
        Self { id, name, display_name: None, guest: true, online: None, last_seen: None }
    }
}

/// The other side of a one-to-one chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherUser {
    pub id: UserId,
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
}

/// A conversation. What depends on who asks (`with` to `unread`) is absent for others than members and in `conversation_added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationInfo {
    pub id: ConversationId,
    pub kind: ConversationKind,
    /// Of rooms and groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Both users of a one-to-one chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<[UserRef; 2]>,
    /// The other user of a one-to-one chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<OtherUser>,
    pub created_by: UserId,
    pub created_at: i64,
    pub epoch: Epoch,
    pub head: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<u64>,
    /// The newest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LoggedEvent>,
}

impl ConversationInfo {
    /// Shows what everyone may see of a conversation; the rest is for the caller to fill in.
    pub fn of(conversation: &Conversation, epoch: Epoch, head: Seq) -> Self {
        let user = |member: &Member| UserRef { id: member.user, name: member.name.clone() };
        Self {
            id: conversation.id,
            kind: conversation.kind,
            name: conversation.name.clone(),
            users: conversation.pair.as_ref().map(|[a, b]| [user(a), user(b)]),
            with: None,
            created_by: conversation.created_by,
            created_at: conversation.created_at_ms,
            epoch,
            head,
            oldest_seq: None,
            role: None,
            delivered: None,
            read: None,
            unread: None,
            members: None,
            listeners: None,
            last: None,
        }
    }
}

/// What became of a position named in `hello`, `resume` or `room.listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The events `from`…`to` follow (none if `from > to`), then live ones.
    Replayed,
    /// Too many: page the history.
    Gap,
    /// Another epoch, or a position beyond the head.
    Reset,
    /// No such conversation for this user.
    Gone,
}

/// An entry of `resumed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    pub conversation: ConversationId,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Seq>,
}

impl Resumed {
    /// The tail after position `have` follows as events.
    pub fn replayed(conversation: ConversationId, epoch: Epoch, have: Seq, head: Seq) -> Self {
        let (from, to) = (Some(have.next()), Some(head));
        Self { conversation, outcome: Outcome::Replayed, epoch: Some(epoch), head: to, from, to }
    }

    /// The tail after position `have` is too long to replay.
    pub fn gap(conversation: ConversationId, epoch: Epoch, have: Seq, head: Seq) -> Self {
        Self { outcome: Outcome::Gap, ..Self::replayed(conversation, epoch, have, head) }
    }

    /// The position is void.
    pub fn reset(conversation: ConversationId, epoch: Epoch, head: Seq) -> Self {
        let (epoch, head) = (Some(epoch), Some(head));
        Self { conversation, outcome: Outcome::Reset, epoch, head, from: None, to: None }
    }

    /// Not this user's conversation (any more).
    pub fn gone(conversation: ConversationId) -> Self {
        Self { conversation, outcome: Outcome::Gone, epoch: None, head: None, from: None, to: None }
    }
}

/// A row of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    pub id: ConversationId,
    pub name: Name,
    pub listeners: u64,
    pub messages: u64,
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<i64>,
}

/// A row of `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    pub id: UserId,
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
    pub delivered: Seq,
    pub read: Seq,
}

/// Whether a user is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceInfo {
    pub user: UserRef,
    pub online: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<i64>,
}
