//! What the unit tests of several modules are made of.

use chinwag_schema::{
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::ConversationKind,
    wire::native::{ConversationInfo, LoggedEvent, LoggedKind, UserRef},
};
use uuid::Uuid;

pub(crate) const EPOCH: Epoch = Epoch(7);
pub(crate) const OTHER_EPOCH: Epoch = Epoch(8);
pub(crate) const CONVERSATION: ConversationId = ConversationId(70);
pub(crate) const ME: UserId = UserId(1);
pub(crate) const OTHER: UserId = UserId(2);

/// A message of the other user; its id is that of its seq.
pub(crate) fn message(seq: u64, content: &str) -> LoggedEvent {
    LoggedEvent {
        event: LoggedKind::Message,
        conversation: CONVERSATION,
        epoch: EPOCH,
        seq: Seq(seq),
        id: EventId(seq as i64 * 1000),
        timestamp: seq as i64,
        sender: UserRef { id: OTHER, name: "bob".into() },
        message_id: Some(Uuid::from_u128(u128::from(seq))),
        target: None,
        target_seq: None,
        content: Some(content.into()),
        edited_at: None,
        deleted: false,
    }
}

/// An edit of the message at `target`.
pub(crate) fn edited(seq: u64, target: u64, content: &str) -> LoggedEvent {
    LoggedEvent {
        event: LoggedKind::Edited,
        message_id: None,
        target: Some(EventId(target as i64 * 1000)),
        target_seq: Some(Seq(target)),
        edited_at: Some(seq as i64),
        ..message(seq, content)
    }
}

/// A group of which this user is a member.
pub(crate) fn group(head: u64) -> ConversationInfo {
    ConversationInfo {
        id: CONVERSATION,
        kind: ConversationKind::Group,
        name: Some("team".into()),
        users: None,
        with: None,
        created_by: ME,
        created_at: 1,
        epoch: EPOCH,
        head: Seq(head),
        oldest_seq: Some(Seq(1)),
        role: Some(chinwag_schema::model::Role::Member),
        delivered: Some(Seq(head)),
        read: Some(Seq(head)),
        unread: Some(0),
        members: Some(2),
        listeners: None,
        last: None,
    }
}
