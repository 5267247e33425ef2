//! Answers of conversations as the messenger dialect shows them. Pure.

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::Class,
    ids::ConversationId,
    model::Name,
    wire::{
        frame,
        messenger::{ChatRow, GroupRow, ServerFrame, error_of, texts},
        time::Iso,
    },
};

use crate::{conversation::messages::Answer, session::outbox::Outbox};

/// What a messenger session wants to know again when a conversation answers.
#[derive(Debug, Clone)]
pub enum MessengerTag {
    /// `ONE_TO_ONE_CHAT`.
    Post,
    /// `GROUP_CHAT`.
    GroupPost(ConversationId),
    /// `JOIN_GROUP_CHAT`.
    Join(Group),
    /// `LEAVE_GROUP`.
    Leave(Group),
    /// `GET_ONE_TO_ONE_HISTORY`; `first` says that the newest page was asked for. `other` is how the other user stands.
    ChatHistory { first: bool, other: Standing },
    /// `GET_GROUP_CHAT_HISTORY`.
    GroupHistory { first: bool, group: ConversationId },
    /// The pointer follows the history that was read.
    HistoryRead,
    /// One of the pointers of an `OFFLINE_MESSAGES_ACK`.
    Acknowledge,
}

/// A group and who joins or leaves it.
#[derive(Debug, Clone)]
pub struct Group {
    pub id: ConversationId,
    pub name: Name,
    /// For which of the session's joins and leaves frames are held back until the answer.
    pub turn: u32,
}

/// Whether a user is there, and when it was last (Unix ms).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub online: bool,
    pub last_seen_ms: Option<i64>,
}

impl MessengerTag {
    /// Says whether the session itself waits for the answer.
    pub fn awaited(&self) -> bool {
        match self {
            Self::Post | Self::GroupPost(_) => false,
            Self::Join(_) | Self::Leave(_) => true,
            Self::ChatHistory { .. } | Self::GroupHistory { .. } | Self::HistoryRead | Self::Acknowledge => true,
        }
    }
}

/// Sends what the client sees of an answer.
pub fn render(tag: &MessengerTag, answer: Answer, outbox: &Outbox) {
    if let Some(frame) = frame_of(tag, &answer) {
        outbox.push(frame::text(&frame.encode(), outbox.encoding().compressed), &Class::Kept);
    }
}

/// Returns the frame of an answer. Messages are only answered when they fail.
fn frame_of(tag: &MessengerTag, answer: &Answer) -> Option<ServerFrame> {
    match (tag, answer) {
        // The session says what became of all of them together.
        (MessengerTag::Acknowledge | MessengerTag::HistoryRead, _) => None,
        (tag, Answer::Failed(error)) => Some(failure(tag, error)),
        (MessengerTag::Join(group), Answer::Joined { new: true, .. }) => {
            Some(ServerFrame::success(texts::joined(&group.name)))
        }
        (MessengerTag::Join(group), Answer::Joined { new: false, .. }) => {
            Some(ServerFrame::error(texts::already_member(&group.name)))
        }
        (MessengerTag::Leave(group), Answer::Left { was_member: true, .. }) => {
            Some(ServerFrame::success(texts::left(&group.name)))
        }
        (MessengerTag::Leave(group), Answer::Left { was_member: false, .. }) => Some(not_a_member(group.id)),
        (MessengerTag::ChatHistory { other, .. }, Answer::History { info, page }) => {
            let [a, b] = info.conversation.pair.as_ref()?;
            let messages = page.events.iter().filter_map(|event| ChatRow::of(event, [&a.name, &b.name])).collect();
            Some(chat_history(messages, *other))
        }
        (MessengerTag::GroupHistory { .. }, Answer::History { page, .. }) => {
            let messages = page.events.iter().filter_map(GroupRow::of).collect();
            Some(ServerFrame::GroupChatHistory { messages })
        }
        (_, _) => None,
    }
}

/// Makes a `ONE_TO_ONE_CHAT_HISTORY`.
pub(super) fn chat_history(messages: Vec<ChatRow>, other: Standing) -> ServerFrame {
    let Standing { online, last_seen_ms } = other;
    ServerFrame::OneToOneChatHistory { messages, is_online: online, last_seen_time: last_seen_ms.map(Iso) }
}

fn failure(tag: &MessengerTag, error: &ClientError) -> ServerFrame {
    match (tag, error.code) {
        (MessengerTag::Join(group), ErrorCode::NotFound) => {
            ServerFrame::error(texts::group_unknown(&group.id.to_string()))
        }
        (MessengerTag::Join(group), ErrorCode::AlreadyMember) => ServerFrame::error(texts::already_member(&group.name)),
        // A group that one isn't in and one that doesn't exist sound the same.
        (MessengerTag::Leave(Group { id, .. }), ErrorCode::NotFound | ErrorCode::Forbidden)
        | (MessengerTag::GroupPost(id), ErrorCode::NotFound | ErrorCode::Forbidden)
        | (MessengerTag::GroupHistory { group: id, .. }, ErrorCode::NotFound | ErrorCode::Forbidden) => {
            not_a_member(*id)
        }
        (MessengerTag::ChatHistory { .. } | MessengerTag::GroupHistory { .. }, ErrorCode::UnknownCursor) => {
            ServerFrame::error("Invalid 'before'.")
        }
        _ => error_of(error),
    }
}

fn not_a_member(group: ConversationId) -> ServerFrame {
    ServerFrame::error(texts::not_a_member(&group.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chinwag_schema::{
        event::{EventBody, LogEvent, MessageBody, Origin},
        ids::{Epoch, EventId, Seq, UserId},
        model::{Conversation, ConversationKind, Head, Member},
    };

    use super::*;
    use crate::{conversation::messages::Info, ports::message_store::Page};

    fn info() -> Arc<Info> {
        let (id, kind) = (ConversationId(42), ConversationKind::Direct);
        let origin = Origin { conversation: id, kind, name: None, chat_id: Some("ann-bob".into()), epoch: Epoch(1) };
        let member = |user, name: &str| Member { user: UserId(user), name: name.into() };
        let pair = Some([member(1, "ann"), member(2, "bob")]);
        let conversation = Conversation { id, kind, name: None, created_by: UserId(1), created_at_ms: 0, pair };
        Arc::new(Info {
            conversation: Arc::new(conversation),
            origin: Arc::new(origin),
            head: Head::default(),
            listeners: 0,
            member_count: 2,
            membership: None,
            unread: None,
        })
    }

    fn row(id: i64, sender: &str, content: &str, deleted: bool) -> LogEvent {
        let body = MessageBody { client_id: None, content: content.into(), edited_at_ms: None, deleted };
        LogEvent {
            seq: Seq(1),
            id: EventId(id),
            at_ms: 2_000,
            sender: UserId(1),
            sender_name: sender.into(),
            messages: 1,
            own: 1,
            body: EventBody::Message(body),
        }
    }

    fn page() -> Answer {
        let events = vec![row(8, "ann", "hi", false), row(9, "bob", "", true)];
        Answer::History { info: info(), page: Arc::new(Page { events, ..Page::default() }) }
    }

    fn text(tag: &MessengerTag, answer: &Answer) -> Option<String> {
        frame_of(tag, answer).map(|frame| String::from_utf8(frame.encode()).unwrap())
    }

    fn group() -> Group {
        Group { id: ConversationId(41), name: "ann".into(), turn: 0 }
    }

    fn failed(code: ErrorCode) -> Answer {
        Answer::Failed(ClientError::new(code, "no such conversation"))
    }

    #[test]
    fn chat_history_names_both_sides_and_says_how_the_other_stands() {
        let tag =
            MessengerTag::ChatHistory { first: true, other: Standing { online: false, last_seen_ms: Some(1_000) } };
        let expected = concat!(
            r#"{"type":"ONE_TO_ONE_CHAT_HISTORY","messages":["#,
            r#"{"messageId":"8","from":"ann","to":"bob","text":"hi","timestamp":"1970-01-01T00:00:02.000Z"},"#,
            r#"{"messageId":"9","from":"bob","to":"ann","text":"[Message deleted]","timestamp":"1970-01-01T00:00:02.000Z"}],"#,
            r#""isOnline":false,"lastSeenTime":"1970-01-01T00:00:01.000Z"}"#
        );
        assert_eq!(text(&tag, &page()).as_deref(), Some(expected));
        let tag = MessengerTag::ChatHistory { first: true, other: Standing { online: true, last_seen_ms: None } };
        assert!(text(&tag, &page()).unwrap().ends_with(r#""isOnline":true,"lastSeenTime":null}"#));
    }

    #[test]
    fn group_history_has_no_recipient() {
        let expected = concat!(
            r#"{"type":"GROUP_CHAT_HISTORY","messages":["#,
            r#"{"messageId":"8","from":"ann","text":"hi","timestamp":"1970-01-01T00:00:02.000Z"},"#,
            r#"{"messageId":"9","from":"bob","text":"[Message deleted]","timestamp":"1970-01-01T00:00:02.000Z"}]}"#
        );
        let tag = MessengerTag::GroupHistory { first: true, group: ConversationId(41) };
        assert_eq!(text(&tag, &page()).as_deref(), Some(expected));
    }

    #[test]
    fn joining_and_leaving_use_the_texts_that_clients_match() {
        let joined = |new| text(&MessengerTag::Join(group()), &Answer::Joined { info: info(), new }).unwrap();
        assert_eq!(joined(true), r#"{"type":"SUCCESS","msg":"User ann has joined the group."}"#);
        assert_eq!(joined(false), r#"{"type":"ERROR","msg":"User ann is already a member of the group."}"#);
        let left =
            |was_member| text(&MessengerTag::Leave(group()), &Answer::Left { info: info(), was_member }).unwrap();
        assert_eq!(left(true), r#"{"type":"SUCCESS","msg":"User ann has left the group."}"#);
        assert_eq!(left(false), r#"{"type":"ERROR","msg":"You are not a member of group 41."}"#);
        assert_eq!(
            text(&MessengerTag::Join(group()), &failed(ErrorCode::NotFound)).unwrap(),
            r#"{"type":"ERROR","msg":"Group chat with ID 41 does not exist."}"#
        );
    }

    #[test]
    fn messages_are_answered_only_when_they_fail() {
        let posted = Answer::Posted { info: info(), seq: Seq(1), id: EventId(1), at_ms: 0, duplicate: false };
        assert_eq!(text(&MessengerTag::Post, &posted), None);
        assert_eq!(
            text(&MessengerTag::GroupPost(ConversationId(41)), &failed(ErrorCode::NotFound)).unwrap(),
            r#"{"type":"ERROR","msg":"You are not a member of group 41."}"#
        );
        let busy = Answer::Failed(ClientError::unavailable("storage"));
        assert_eq!(text(&MessengerTag::Post, &busy).unwrap(), r#"{"type":"ERROR","msg":"storage is busy, try again"}"#);
        assert_eq!(text(&MessengerTag::Acknowledge, &busy), None);
    }

    #[test]
    fn waits_are_told_in_seconds() {
        let limited = Answer::Failed(ClientError::new(ErrorCode::RateLimited, "x").retry_after_ms(1_200));
        let expected = r#"{"type":"ERROR","msg":"Rate limit exceeded, retry in 2 s."}"#;
        assert_eq!(text(&MessengerTag::Post, &limited).as_deref(), Some(expected));
    }
}
