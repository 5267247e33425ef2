//! What a native session wants to know again when a conversation answers.

use chinwag_schema::ids::ConversationId;

/// A request to a conversation: the client's id of it, and how its answer is said.
#[derive(Debug, Clone)]
pub struct NativeTag {
    /// The request id.
    pub id: Box<str>,
    /// What was asked.
    pub what: What,
}

/// What was asked of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `send`.
    Send,
    /// `send` of a guest, whose session remembers what is its own.
    SendAsGuest,
    /// `edit`, `delete`.
    Change,
    /// `history`, after or before a seq; the session looks up what edits point at.
    History { after: bool },
    /// `delivered`, `read`.
    Move,
    /// `conversation`; the session adds who the other one of a chat is.
    Info,
    /// `chat.open`, likewise.
    Open { conversation: ConversationId, created: bool },
    /// `group.create`, `room.create`: the creator joins.
    Create { conversation: ConversationId, created: bool },
    /// `group.join`, `room.join`.
    Join { conversation: ConversationId },
    /// `group.leave`, `room.leave`.
    Leave,
    /// `room.listen`; `resumes` says that the socket is corked until the answer.
    Listen { conversation: ConversationId, resumes: bool },
    /// `room.unlisten`.
    Unlisten,
    /// `members`; the session adds who is online.
    Members,
    /// A position of `hello` or `resume`; nothing is said until all are in.
    Resume { conversation: ConversationId, round: u32 },
}

impl NativeTag {
    /// Says whether the session itself waits for the answer. A sender's does not: its answers are many, and are sent by the relay alone.
    pub fn awaited(&self) -> bool {
        !matches!(self.what, What::Send | What::Change | What::Move | What::Unlisten)
    }
}
