//! What conversations are told, and what they answer.

use std::sync::Arc;

use chinwag_schema::{
    error::ClientError,
    event::LogEvent,
    ids::{ConversationId, EventId, Seq, Slot, UserId},
    model::{Conversation, Cursor, Head, Name, Pointer, Position, Role},
    wire::{Dialect, encoded_event::EncodedEvent},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    message_kinds,
    ports::{
        StoreResult,
        account_store::MemberRow,
        message_store::{Appended, Direction, Filter, Page},
    },
    relay::ReplyTo,
};

/// Who asks. Made by a session from its token (invariant 8); no field of a frame gets in here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Caller {
    pub slot: Slot,
    pub user: UserId,
    pub name: Name,
    pub dialect: Dialect,
    pub guest: bool,
}

/// How an explicit listener joins a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenOptions {
    /// How many recent messages the answer shows.
    pub recent: usize,
    /// What the socket already has; what came after it is replayed.
    pub position: Option<Position>,
}

/// What a conversation is told.
pub enum ConversationMessage {
    /// A message. Members only, in rooms anyone (listening or not). Answered [`Answer::Posted`].
    Post {
        from: Arc<Caller>,
        client_id: Option<Uuid>,
        content: Arc<str>,
        reply: ReplyTo,
    },
    /// Changes an own message; `within_ms` bounds its age. Answered [`Answer::Changed`].
    Edit {
        from: Arc<Caller>,
        target: EventId,
        content: Arc<str>,
        within_ms: Option<i64>,
        reply: ReplyTo,
    },
    /// Blanks an own message. Answered [`Answer::Changed`].
    Delete {
        from: Arc<Caller>,
        target: EventId,
        reply: ReplyTo,
    },
    /// Joins a public room as a listener, for as long as the socket lives. Answered [`Answer::Listening`].
    Listen {
        from: Arc<Caller>,
        options: ListenOptions,
        reply: ReplyTo,
    },
    /// Ends [`Self::Listen`]. Answered [`Answer::Done`]. At the end of a socket without an answer ([`ReplyTo::nobody`]).
    Unlisten {
        from: Arc<Caller>,
        reply: ReplyTo,
    },
    /// A member's socket, told of this conversation by `SessionMessage::Wake`, is ready: events after `after` go to it. Not answered.
    Attach {
        from: Arc<Caller>,
        after: Seq,
    },
    /// As [`Self::Attach`], for a client that says what it has. Answered [`Answer::Resumed`], before which the replayed events are
    /// sent (a corked socket gets them when it is uncorked, that is after the answer).
    Resume {
        from: Arc<Caller>,
        position: Position,
        max_events: u64,
        reply: ReplyTo,
    },
    /// Another node's socket that listened here or at an earlier owner and has everything up to `after` listens on; the others don't
    /// hear of it. Never answered.
    Relisten {
        from: Arc<Caller>,
        after: Seq,
    },
    /// Makes the caller a durable member (rooms, groups). Answered [`Answer::Joined`].
    Join {
        from: Arc<Caller>,
        role: Role,
        reply: ReplyTo,
    },
    /// Ends the membership. Answered [`Answer::Left`].
    Leave {
        from: Arc<Caller>,
        reply: ReplyTo,
    },
    /// Answered [`Answer::History`].
    History {
        from: Arc<Caller>,
        query: HistoryQuery,
        reply: ReplyTo,
    },
    /// Moves a pointer of the caller. Answered [`Answer::Moved`]. `clamp` takes a seq beyond the head as the head (frozen dialects).
    Move {
        from: Arc<Caller>,
        pointer: Pointer,
        seq: Seq,
        clamp: bool,
        reply: ReplyTo,
    },
    /// The caller types, or stopped. Never answered.
    Typing {
        from: Arc<Caller>,
        active: bool,
    },
    /// Answered [`Answer::Info`].
    Info {
        from: Arc<Caller>,
        reply: ReplyTo,
    },
    /// Answered [`Answer::Members`]. `after` is a user id.
    Members {
        from: Arc<Caller>,
        after: UserId,
        limit: usize,
        reply: ReplyTo,
    },
    /// Who listens now. Answered [`Answer::Listeners`].
    Listeners {
        from: Arc<Caller>,
        limit: usize,
        reply: ReplyTo,
    },

    /// The conversation was made just now: its members' sockets are told. Never answered. `requested` goes into [`Woken`].
    Announce {
        from: Arc<Caller>,
        requested: bool,
    },

    // ---- from the directory
    /// A socket of a member opened; `added` when the membership is new and the socket older.
    Online {
        user: UserId,
        slot: Slot,
        dialect: Dialect,
        added: bool,
    },
    /// A socket of a member closed.
    Offline {
        user: UserId,
        slot: Slot,
    },
    /// The members' sockets as of activation.
    Interested {
        sessions: Vec<(UserId, Slot, Dialect)>,
    },

    /// The conversation was awake elsewhere a moment ago: it wakes, so that whoever missed something there is told. Nothing else.
    Touch,
    /// The shard goes to another node: the conversation drops this when it has gone.
    HandOver {
        done: Arc<crate::cluster::shards::HandedOver>,
    },

    // ---- own work that came back
    Loaded(Box<StoreResult<Option<Loaded>>>),
    /// The directory was rebuilt before it answered.
    AskInterest,
    Appended(StoreResult<Vec<Appended>>),
    ReadBack(StoreResult<(Head, Page)>),
    /// A page was read for an answer.
    Paged {
        next: Box<super::history::AfterPage>,
        page: StoreResult<Page>,
    },
    MembersRead {
        rows: StoreResult<Vec<(MemberRow, Cursor)>>,
        limit: usize,
        from: Arc<Caller>,
        reply: ReplyTo,
    },
    /// The target of a change was looked up.
    Found {
        change: Box<super::change::Change>,
        found: StoreResult<Option<LogEvent>>,
    },
    /// A membership's intent was stored.
    MemberStored {
        change: Box<super::membership::MemberChange>,
        stored: StoreResult<bool>,
    },
    /// A new membership is complete in the store.
    MemberSettled {
        change: Box<super::membership::MemberChange>,
        settled: StoreResult<Cursor>,
    },
    /// A member's cursor and own total were read; the message that needed them is handled again.
    Recall {
        user: UserId,
        loaded: StoreResult<(Cursor, u64)>,
        message: Box<ConversationMessage>,
    },
    Totals {
        moved: Box<super::pointers::PointerMove>,
        totals: StoreResult<(u64, u64)>,
    },
    /// Timers.
    TypingLapsed {
        user: UserId,
    },
    Retry {
        batch: u64,
    },
    Redeliver,
    IdleCheck,
    /// Makes the handler panic: tests of recovery.
    #[cfg(feature = "fault-injection")]
    Panic {
        reply: ReplyTo,
    },
}

#[cfg(not(feature = "fault-injection"))]
message_kinds!(ConversationMessage {
    Post,
    Edit,
    Delete,
    Listen,
    Unlisten,
    Relisten,
    Attach,
    Resume,
    Join,
    Leave,
    History,
    Move,
    Typing,
    Info,
    Members,
    Listeners,
    Announce,
    Online,
    Offline,
    Interested,
    Touch,
    HandOver,
    Loaded,
    AskInterest,
    Appended,
    ReadBack,
    Paged,
    MembersRead,
    Found,
    MemberStored,
    MemberSettled,
    Recall,
    Totals,
    TypingLapsed,
    Retry,
    Redeliver,
    IdleCheck,
});
#[cfg(feature = "fault-injection")]
message_kinds!(ConversationMessage {
    Post,
    Edit,
    Delete,
    Listen,
    Unlisten,
    Relisten,
    Attach,
    Resume,
    Join,
    Leave,
    History,
    Move,
    Typing,
    Info,
    Members,
    Listeners,
    Announce,
    Online,
    Offline,
    Interested,
    Touch,
    HandOver,
    Loaded,
    AskInterest,
    Appended,
    ReadBack,
    Paged,
    MembersRead,
    Found,
    MemberStored,
    MemberSettled,
    Recall,
    Totals,
    TypingLapsed,
    Retry,
    Redeliver,
    IdleCheck,
    Panic,
});

/// What a conversation loads when it wakes up.
pub struct Loaded {
    /// The newest events, for the ring of recent ones.
    pub recent: Page,
    pub conversation: Conversation,
    pub epoch: chinwag_schema::ids::Epoch,
    pub term: chinwag_schema::ids::Term,
    pub head: Head,
    pub members: Vec<MemberRow>,
}

/// What a page of history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// `None`: the newest.
    pub direction: Option<Direction>,
    pub limit: usize,
    pub filter: Filter,
    /// A native client's epoch; another one is an unknown cursor.
    pub epoch: Option<chinwag_schema::ids::Epoch>,
    /// Instead of `direction`: the page before (exclusive) the message of this id (frozen dialects).
    pub before_id: Option<EventId>,
}

/// What became of a resumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Events `from..=to` follow (none if `from > to`).
    Replayed { from: Seq, to: Seq },
    /// Too much: page the history.
    Gap { from: Seq, to: Seq },
    /// Another epoch, or a position beyond the head: reload.
    Reset,
}

/// What a conversation answers to one socket. The relay hands it to the session's renderer, in order with the events that it sends.
#[derive(Clone, Serialize, Deserialize)]
pub enum Answer {
    Posted {
        info: Arc<Info>,
        seq: Seq,
        id: EventId,
        at_ms: i64,
        duplicate: bool,
    },
    /// An edit or deletion is durable; `None` event: nothing changed (a repeat), the ids are then of the earlier change or the target.
    Changed {
        info: Arc<Info>,
        seq: Seq,
        id: EventId,
        at_ms: i64,
    },
    /// Listens now. `recent` are messages, oldest first; `names` at most `ROOMS_MEMBERS_SHOWN`.
    Listening {
        info: Arc<Info>,
        names: Vec<Name>,
        recent: Vec<LogEvent>,
        outcome: Option<Outcome>,
    },
    Joined {
        info: Arc<Info>,
        new: bool,
    },
    Left {
        info: Arc<Info>,
        was_member: bool,
    },
    Resumed {
        info: Arc<Info>,
        outcome: Outcome,
    },
    History {
        info: Arc<Info>,
        page: Arc<Page>,
    },
    Moved {
        info: Arc<Info>,
        pointer: Pointer,
        seq: Seq,
        unread: u64,
    },
    Info {
        info: Arc<Info>,
        last: Option<LogEvent>,
    },
    Members {
        info: Arc<Info>,
        members: Vec<(MemberRow, Cursor)>,
        next: Option<UserId>,
    },
    Listeners {
        info: Arc<Info>,
        listeners: Vec<(UserId, Name)>,
    },
    Done {
        info: Arc<Info>,
    },
    Failed(ClientError),
}

/// A conversation as the answered caller sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    pub conversation: Arc<Conversation>,
    pub origin: Arc<chinwag_schema::event::Origin>,
    pub head: Head,
    /// Distinct users listening now (rooms).
    pub listeners: u64,
    pub member_count: u64,
    /// The caller's role and, if it was read already, cursor, if it is a member.
    pub membership: Option<(Role, Option<Cursor>)>,
    /// The caller's messages so far, if known (for unread counts).
    pub unread: Option<u64>,
}

/// Events in the order in which they go out, each with the socket that doesn't get it (it has the answer instead).
pub type Batch = Vec<(Arc<EncodedEvent>, Option<Slot>)>;

/// A conversation that a session is told of ([`crate::session::SessionMessage::Wake`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Woken {
    pub id: ConversationId,
    pub head: Seq,
    /// Set when the user became a member just now: the client doesn't know the conversation yet.
    pub added: Option<Arc<Conversation>>,
    /// Somebody asked for this chat by name ([`ConversationMessage::Announce`]; false in all other cases): messenger sockets say so.
    /// A chat that its first message made is told by that message alone.
    pub requested: bool,
}

impl ConversationMessage {
    /// Answers the message with an error, if anybody waits for an answer.
    pub fn refuse(self, error: ClientError) {
        match self {
            Self::Post { reply, .. }
            | Self::Edit { reply, .. }
            | Self::Delete { reply, .. }
            | Self::Listen { reply, .. }
            | Self::Unlisten { reply, .. }
            | Self::Resume { reply, .. }
            | Self::Join { reply, .. }
            | Self::Leave { reply, .. }
            | Self::History { reply, .. }
            | Self::Move { reply, .. }
            | Self::Info { reply, .. }
            | Self::Members { reply, .. }
            | Self::Listeners { reply, .. }
            | Self::MembersRead { reply, .. } => reply.fail(error),
            Self::Found { change, .. } => change.refuse(error),
            Self::MemberStored { change, .. } | Self::MemberSettled { change, .. } => change.refuse(error),
            Self::Recall { message, .. } => message.refuse(error),
            #[cfg(feature = "fault-injection")]
            Self::Panic { reply } => reply.fail(error),
            _ => {}
        }
    }

    /// Says whether the message goes past a full mailbox: the end of a socket, bounded by the number of sockets.
    pub fn must_arrive(&self) -> bool {
        matches!(
            self,
            Self::Unlisten { .. }
                | Self::Offline { .. }
                | Self::Online { .. }
                | Self::Attach { .. }
                | Self::Relisten { .. }
                | Self::Touch
                | Self::HandOver { .. }
        )
    }
}
