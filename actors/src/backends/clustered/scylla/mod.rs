//! [`MessageStore`] on Scylla or Cassandra: the fenced log.
//!
//! Each conversation's log is divided into buckets of seqs, a partition each. An append is one conditional batch in one partition: it is
//! applied if the term and the head are those that the owner relies on. What isn't in that partition (where a log begins and ends,
//! in which buckets a sender is, how old a log is) is written before it, only grows, and is never believed where the partition says
//! otherwise. The reasons, and what was measured, are in `ops/decisions/cql-log.md`.
//!
//! ```text
//! options     where the servers are          schema   keyspace, tables, epoch        check   for `chinwag doctor`
//! statements  everything that is said        server   calls and their errors         rows    rows and buckets
//! log         heads, where a log begins      owned    what an owner knows            fence   claims
//! append      planning a group               repeats  ids that are there already     batch   the conditional batch
//! changes     edits in older buckets         pages    totals   retention
//! copied      logs of another store, as they are (`backends/copy`)
//! ```
//! It knows nothing of actors: whoever calls decides about deadlines, grouping and retries.

mod append;
mod batch;
mod changes;
mod check;
mod copied;
mod fence;
mod log;
mod options;
mod owned;
mod pages;
mod repeats;
mod retention;
mod rows;
mod schema;
mod server;
mod statements;
mod totals;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Epoch, EventId, Seq, Term, UserId},
    limits::cql::{GROUPS_AT_ONCE, READS_AT_ONCE, TTL_MAX},
    model::Head,
};

pub(in crate::backends) use self::copied::{Beginning, CopiedLogs};
pub use self::{
    check::{ScyllaReport, check},
    options::{Replication, ScyllaError, ScyllaOptions},
    schema::SCYLLA_SCHEMA_VERSION,
};
use self::{
    log::{End, Log},
    owned::Owned,
    rows::Buckets,
    schema::Schema,
    server::{Server, at_once},
    statements::{Levels, Statements},
};
use crate::ports::{
    StoreError, StoreResult,
    message_store::{Append, Appended, Direction, Filter, MessageStore, Page},
};

/// The log of every conversation, on Scylla or Cassandra.
pub struct ScyllaMessages {
    log: Arc<Log>,
    epoch: Epoch,
}

impl ScyllaMessages {
    /// Connects; makes the keyspace and the tables if they aren't there, or brings them up to date, once, however many nodes start.
    ///
    /// # Errors
    /// A sentence that says what is missing and what to do: no server answers, the keyspace can't be made, a newer program changed it,
    /// a table has a default TTL, conditional writes don't work.
    pub async fn connect(options: &ScyllaOptions) -> Result<Self, ScyllaError> {
        options.validate()?;
        let levels = Levels::new(options.datacenter.is_some());
        let session = check::open(options, levels).await?;
        let schema = Schema { session: &session, options, levels };
        let made = schema.ensure().await?;
        let statements = Statements::prepare(&session, levels).await.map_err(|error| schema.fault(error))?;
        let log = Log {
            statements,
            server: Server { session, levels },
            buckets: Buckets { size: made.bucket_events },
            ttl_s: ttl_s(options.retention),
            owned: Owned::default(),
        };
        Ok(Self { log: Arc::new(log), epoch: made.epoch })
    }
}

/// Returns the TTL of what is written; 0 is none.
fn ttl_s(retention: Option<Duration>) -> i32 {
    let kept = retention.filter(|kept| *kept <= TTL_MAX);
    kept.map_or(0, |kept| i32::try_from(kept.as_secs() + u64::from(kept.subsec_nanos() > 0)).unwrap_or(0).max(1))
}

#[async_trait]
impl MessageStore for ScyllaMessages {
    async fn epoch(&self) -> StoreResult<Epoch> {
        Ok(self.epoch)
    }

    async fn claim(&self, conversation: ConversationId, term: Term) -> StoreResult<Head> {
        let log = &self.log;
        // What this process knew may be of an earlier term, or of a write whose end it doesn't know.
        log.owned.forget(conversation);
        let (tail, stored) = log.load(conversation, term).await?;
        let head = log.head_at(conversation, &stored, End::of(&tail)).await?;
        log.owned.put(conversation, tail);
        Ok(head)
    }

    async fn append(&self, groups: Vec<Append>) -> StoreResult<Vec<StoreResult<Vec<Appended>>>> {
        let calls = groups.iter().map(|group| self.log.append(group)).collect();
        let results = at_once(GROUPS_AT_ONCE, calls).await;
        // If nothing at all is known, that is the state of the servers and not of a conversation.
        match results.first() {
            Some(Err(StoreError::Unavailable(reason)))
                if results.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))) =>
            {
                Err(StoreError::Unavailable(reason.clone()))
            }
            _ => Ok(results),
        }
    }

    async fn page(
        &self,
        conversation: ConversationId,
        direction: Direction,
        limit: usize,
        filter: Filter,
    ) -> StoreResult<Page> {
        self.log.page(conversation, direction, limit, filter).await
    }

    async fn find(&self, conversation: ConversationId, id: EventId) -> StoreResult<Option<LogEvent>> {
        self.log.find(conversation, id).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> StoreResult<Vec<Head>> {
        let calls = conversations.iter().map(|id| self.log.head(*id)).collect();
        at_once(READS_AT_ONCE, calls).await.into_iter().collect()
    }

    async fn own_totals(&self, user: UserId, conversations: &[ConversationId]) -> StoreResult<Vec<u64>> {
        let calls = conversations.iter().map(|id| self.log.own_total(*id, user)).collect();
        at_once(READS_AT_ONCE, calls).await.into_iter().collect()
    }

    async fn totals_at(&self, conversation: ConversationId, user: UserId, upto: Seq) -> StoreResult<(u64, u64)> {
        self.log.totals_at(conversation, user, upto).await
    }

    async fn remove_older_than(&self, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
        self.log.remove_older_than(cutoff_ms, limit).await
    }

    async fn ping(&self) -> StoreResult<()> {
        let row: Option<(String,)> = self.log.server.row(&self.log.statements.ping, ()).await?;
        row.map(|_| ()).ok_or_else(|| StoreError::Corrupt("the log's servers have lost the epoch".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_becomes_a_ttl_unless_the_servers_would_refuse_it() {
        assert_eq!(ttl_s(None), 0);
        assert_eq!(ttl_s(Some(Duration::from_millis(1_500))), 2);
        assert_eq!(ttl_s(Some(TTL_MAX)), i32::try_from(TTL_MAX.as_secs()).unwrap());
        assert_eq!(ttl_s(Some(TTL_MAX + Duration::from_secs(1))), 0, "the job removes it");
    }
}
