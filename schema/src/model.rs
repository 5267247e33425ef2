//! The things that are stored: users, conversations, members, cursors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, Epoch, EventId, Seq, UserId};

/// A user's name, shared by everything that shows it.
pub type Name = Arc<str>;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub id: UserId,
    pub name: Name,
    /// What is shown instead of the name, if the user chose something.
    pub display_name: Option<String>,
    pub created_at_ms: i64,
    /// When the last socket closed; `None` before the first.
    pub last_seen_ms: Option<i64>,
    pub banned: bool,
}

/// The kinds of conversation. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum ConversationKind {
    /// Public: anyone may join, listen and read.
    Room = 0,
    /// For its members, who join by its id.
    Group = 1,
    /// Two users.
    Direct = 2,
}

impl ConversationKind {
    /// Reads the stored number.
    pub const fn from_i16(value: i16) -> Option<Self> {
        match value {
            0 => Some(Self::Room),
            1 => Some(Self::Group),
            2 => Some(Self::Direct),
            _ => None,
        }
    }
}

/// A conversation as its row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub kind: ConversationKind,
    /// Of rooms (unique) and groups; `None` for one-to-one chats.
    pub name: Option<Name>,
    pub created_by: UserId,
    pub created_at_ms: i64,
    /// The two users of a one-to-one chat, smaller id first.
    pub pair: Option<[Member; 2]>,
}

/// A user as a member, with the name that others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    pub name: Name,
}

impl Conversation {
    /// Returns the other user of a one-to-one chat.
    pub fn other(&self, user: UserId) -> Option<&Member> {
        self.pair.as_ref()?.iter().find(|member| member.user != user)
    }
}

/// Roles, least first. Only `Member` and `Admin` are given today; numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Role {
    Member = 0,
    Admin = 10,
}

/// Where a membership stands. Joining and leaving span two stores: the row first says the intent, then the event is appended,
/// then the row is settled; an owner that wakes up finishes what it finds half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(i16)]
pub enum MemberState {
    Joining = 0,
    Settled = 1,
    Leaving = 2,
}

/// A position in a conversation with the running totals there, so that unread counts are a subtraction (invariant 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    pub seq: Seq,
    /// Messages in the conversation up to `seq`.
    pub messages: u64,
    /// Of these, the cursor's owner's.
    pub own: u64,
}

impl Mark {
    /// Returns the count of others' messages between this mark and a later one.
    pub const fn unread_until(self, head: Mark) -> u64 {
        (head.messages.saturating_sub(self.messages)).saturating_sub(head.own.saturating_sub(self.own))
    }
}

/// Which pointer of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pointer {
    Delivered,
    Read,
}

/// A user's two pointers in a conversation. Cumulative; they only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    pub delivered: Mark,
    pub read: Mark,
}

impl Cursor {
    /// Returns the further one of each pointer.
    pub fn further(self, other: Self) -> Self {
        let later = |a: Mark, b: Mark| if b.seq > a.seq { b } else { a };
        Self { delivered: later(self.delivered, other.delivered), read: later(self.read, other.read) }
    }
}

/// Head of a conversation's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    pub seq: Seq,
    /// Messages so far (events that are not messages don't count).
    pub messages: u64,
    /// The first seq that is still stored; `head + 1` when none is.
    pub oldest_seq: Seq,
    /// Id of the newest event; later ones are greater.
    pub last_id: EventId,
    pub last_at_ms: i64,
}

/// A membership of a user with all that a list of conversations shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    pub conversation: Conversation,
    pub role: Role,
    pub cursor: Cursor,
}

/// A log's position that a client claims to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_counts_others_messages_only() {
        let read = Mark { seq: Seq(10), messages: 7, own: 2 };
        let head = Mark { seq: Seq(20), messages: 15, own: 5 };
        assert_eq!(read.unread_until(head), 5);
        assert_eq!(head.unread_until(head), 0);
    }
}
