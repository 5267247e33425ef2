//! [`MessageStore`] on the embedded database.
//!
//! The log is the table `events`, ordered by (conversation, seq). Rows are only ever removed as a prefix of a conversation, so what is
//! stored of one is a range of seqs without holes. `message_ids` finds repeats. `log_heads` and `own_totals` say where each log ends and
//! how many messages each sender has sent, for ever; they are written now and then and are behind the events by a few
//! ([`checkpoint`]): [`rows`] reads them together.

mod append;
mod checkpoint;
pub(super) mod copied;
mod pages;
mod recent;
mod retention;
mod rows;
mod totals;

use std::sync::Arc;

use async_trait::async_trait;
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Epoch, EventId, Seq, Term, UserId},
    model::Head,
};

pub(super) use self::recent::SharedRecent;
use self::{recent::Durability, rows::HeadRow};
use super::Database;
use crate::ports::{
    StoreResult,
    message_store::{Append, Appended, Direction, Filter, MessageStore, Page},
};

/// The log of every conversation, in the embedded database.
pub struct EmbeddedMessages {
    database: Arc<Database>,
}

impl EmbeddedMessages {
    /// Makes the store on an open database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl MessageStore for EmbeddedMessages {
    async fn epoch(&self) -> StoreResult<Epoch> {
        Ok(self.database.epoch())
    }

    async fn claim(&self, conversation: ConversationId, term: Term) -> StoreResult<Head> {
        // Relaxed: all owners live in this process, so a fence that a power loss takes back has nobody left to hold off.
        recent::write(&self.database, Durability::Relaxed, move |conn, recent| {
            append::claim(conn, recent, conversation, term)
        })
        .await
    }

    async fn append(&self, groups: Vec<Append>) -> StoreResult<Vec<StoreResult<Vec<Appended>>>> {
        recent::write(&self.database, Durability::Synced, move |conn, recent| {
            groups.iter().map(|group| append::append(conn, recent, group)).collect()
        })
        .await
    }

    async fn page(
        &self,
        conversation: ConversationId,
        direction: Direction,
        limit: usize,
        filter: Filter,
    ) -> StoreResult<Page> {
        self.database.read(move |conn| pages::page(conn, conversation, direction, limit, filter)).await
    }

    async fn find(&self, conversation: ConversationId, id: EventId) -> StoreResult<Option<LogEvent>> {
        self.database.read(move |conn| pages::find(conn, conversation, id)).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> StoreResult<Vec<Head>> {
        let conversations = conversations.to_vec();
        self.database
            .read(move |conn| {
                conversations.iter().map(|&id| Ok(rows::head(conn, id)?.unwrap_or_default().into())).collect()
            })
            .await
    }

    async fn own_totals(&self, user: UserId, conversations: &[ConversationId]) -> StoreResult<Vec<u64>> {
        let conversations = conversations.to_vec();
        let own = move |conn: &mut _, id| {
            let HeadRow { checkpoint, .. } = rows::checkpoint(conn, id)?.unwrap_or_default();
            rows::own_total(conn, id, checkpoint, user)
        };
        self.database.read(move |conn| conversations.iter().map(|&id| own(conn, id)).collect()).await
    }

    async fn totals_at(&self, conversation: ConversationId, user: UserId, upto: Seq) -> StoreResult<(u64, u64)> {
        self.database.read(move |conn| totals::totals_at(conn, conversation, user, upto)).await
    }

    async fn remove_older_than(&self, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
        recent::write(&self.database, Durability::Synced, move |conn, recent| {
            // It moves the old ends of logs; rare enough to start anew.
            recent.clear();
            retention::remove_older_than(conn, cutoff_ms, limit)
        })
        .await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.database.ping().await
    }
}
