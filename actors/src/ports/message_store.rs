//! The log of every conversation: append, page, totals.

use std::sync::Arc;

use async_trait::async_trait;
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Epoch, EventId, Seq, Term, UserId},
    model::{Head, Name},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreResult;

/// Events to append to one conversation, in order. `head` is what the caller believes the head is; another one means that
/// someone else wrote: [`super::StoreError::Fenced`].
#[derive(Debug, Clone)]
pub struct Append {
    pub conversation: ConversationId,
    pub term: Term,
    pub head: Seq,
    pub events: Vec<NewEvent>,
}

/// One event to append. The store gives it the next seq and the totals.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Made by the owner; greater than any before it in the conversation.
    pub id: EventId,
    pub at_ms: i64,
    pub sender: UserId,
    pub sender_name: Name,
    pub body: NewBody,
}

/// What to append.
#[derive(Debug, Clone)]
pub enum NewBody {
    /// A message. With a client id it is idempotent: the same (conversation, sender, client id) again appends nothing and
    /// gives the first one's row.
    Message {
        client_id: Option<Uuid>,
        content: Arc<str>,
    },
    /// Changes the target's text and `edited_at_ms` (= `at_ms`) in the same transaction. The target must be a message that isn't deleted.
    Edited {
        target_seq: Seq,
        content: Arc<str>,
    },
    /// Blanks the target's text in the same transaction.
    Deleted {
        target_seq: Seq,
    },
    Joined,
    Left,
}

/// What became of one new event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Durable under this seq. For edits and deletions `target` is the message as it stands now.
    New { event: LogEvent, target: Option<LogEvent> },
    /// This sender already appended this client id here; `event` is the first one, as it stands now, and `same_body` says whether
    /// the repeat carries the text first sent (compared by a digest that edits don't change).
    Duplicate { event: LogEvent, same_body: bool },
    /// The target of an edit or deletion doesn't exist, is no message or is deleted. Nothing was appended.
    NoTarget,
}

/// Which events of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    All,
    /// Messages only, as the frozen dialects show them (deleted ones included, blanked).
    Messages,
}

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The newest events with `seq < before`.
    Before(Seq),
    /// The oldest events with `seq > after`.
    After(Seq),
}

/// A page, always in ascending order of seq.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    pub events: Vec<LogEvent>,
    /// Nothing (of this filter) lies further in the direction asked for.
    pub complete: bool,
    /// The first seq that is still stored.
    pub oldest_seq: Seq,
    /// Messages that edits of this page point to and that aren't on it themselves. Stores leave it empty; whoever shows edits adds them.
    pub targets: Vec<LogEvent>,
}

/// The log of every conversation.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Returns the name of this log, made when the store was made (`protocol-native`, 'epoch').
    async fn epoch(&self) -> StoreResult<Epoch>;

    /// Claims a conversation for `term` and returns its head; later writes with a smaller term are refused. A conversation never
    /// written to has a head of zero with `oldest_seq` 1.
    async fn claim(&self, conversation: ConversationId, term: Term) -> StoreResult<Head>;

    /// Appends groups, durably: when this returns `Ok`, a power loss can't take them back. Each group stands or falls alone;
    /// `Fenced` in one doesn't touch the others, nor does `Corrupt`, for event ids that don't grow. A larger term than the stored
    /// one is taken over. The outer error means that nothing is known: read back; `Unavailable` of one group says that of this one. A
    /// group that isn't answered with its events may have left the first of them, in order.
    async fn append(&self, groups: Vec<Append>) -> StoreResult<Vec<StoreResult<Vec<Appended>>>>;

    /// Returns a page of at most `limit` events.
    async fn page(
        &self,
        conversation: ConversationId,
        direction: Direction,
        limit: usize,
        filter: Filter,
    ) -> StoreResult<Page>;

    /// Returns the event of this id. Ids grow with seq within a conversation, so this needs no index of its own.
    async fn find(&self, conversation: ConversationId, id: EventId) -> StoreResult<Option<LogEvent>>;

    /// Returns the heads of conversations, in the order asked for; never written ones as in [`Self::claim`].
    async fn heads(&self, conversations: &[ConversationId]) -> StoreResult<Vec<Head>>;

    /// Returns how many messages `user` has sent in each conversation, in the order asked for.
    async fn own_totals(&self, user: UserId, conversations: &[ConversationId]) -> StoreResult<Vec<u64>>;

    /// Returns (messages, `user`'s messages) up to and including `upto`; works from the nearer end and stays exact when retention has removed
    /// what lies below. Below the oldest stored event it gives the totals right before that event.
    async fn totals_at(&self, conversation: ConversationId, user: UserId, upto: Seq) -> StoreResult<(u64, u64)>;

    /// Removes events older than `cutoff_ms`, at most `limit` of them, always a prefix of a conversation; head and totals stay.
    /// Returns how many; 0 means done, or that another node is at it.
    async fn remove_older_than(&self, cutoff_ms: i64, limit: usize) -> StoreResult<usize>;

    /// Answers when the store can serve.
    async fn ping(&self) -> StoreResult<()>;
}
