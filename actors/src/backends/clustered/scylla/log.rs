//! The log as all parts of this backend see it, and what they read of it: heads, where it begins.

use chinwag_schema::{
    ids::{ConversationId, EventId, Seq},
    limits::cql::WALK_BUCKETS_MAX,
    model::Head,
};

use super::{
    owned::Owned,
    rows::{Buckets, EventRow, StoredEvent, StoredLog, to_seq},
    server::Server,
    statements::Statements,
};
use crate::ports::{StoreError, StoreResult};

/// The servers, and what this process knows.
pub(super) struct Log {
    pub server: Server,
    pub statements: Statements,
    pub buckets: Buckets,
    /// How long what is written now lives; 0 is for ever.
    pub ttl_s: i32,
    pub owned: Owned,
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    pub bucket: i64,
    pub head: i64,
    pub messages: i64,
    last_id: i64,
    last_at_ms: i64,
}

impl Log {
    /// Returns the head of a conversation.
    pub(super) async fn head(&self, conversation: ConversationId) -> StoreResult<Head> {
        let log = self.stored_log(conversation).await?;
        let Some(end) = self.end(conversation, &log).await? else {
            return Ok(Head { oldest_seq: Seq(1), ..Head::default() });
        };
        self.head_at(conversation, &log, end).await
    }

    /// Returns the head of a log that ends here.
    pub(super) async fn head_at(&self, conversation: ConversationId, log: &StoredLog, end: End) -> StoreResult<Head> {
        Ok(Head {
            seq: to_seq(end.head),
            messages: end.messages.cast_unsigned(),
            oldest_seq: to_seq(self.oldest(conversation, log, end.head).await?),
            last_id: EventId(end.last_id),
            last_at_ms: end.last_at_ms,
        })
    }

    /// Finds the end of a log; `None` if it was never written to.
    pub(super) async fn end(&self, conversation: ConversationId, log: &StoredLog) -> StoreResult<Option<End>> {
        let Some(hint) = log.head_bucket else { return Ok(None) };
        let mut end = self.end_in(conversation, hint).await?;
        // The hint may be one behind; more only if somebody writes very fast meanwhile.
        for _ in 0..WALK_BUCKETS_MAX {
            if end.head < self.buckets.last(end.bucket) {
                return Ok(Some(end));
            }
            let next = self.end_in(conversation, end.bucket + 1).await?;
            if next.head == self.buckets.base(next.bucket) {
                return Ok(Some(end));
            }
            end = next;
        }
        Err(StoreError::Unavailable(format!("the head of conversation {conversation} runs away")))
    }

    async fn end_in(&self, conversation: ConversationId, bucket: i64) -> StoreResult<End> {
        let statics = self.statics(conversation, bucket).await?;
        Ok(End {
            bucket,
            head: statics.head.unwrap_or(self.buckets.base(bucket)),
            messages: statics.head_messages.unwrap_or(0),
            last_id: statics.head_id.unwrap_or(0),
            last_at_ms: statics.head_at_ms.unwrap_or(0),
        })
    }

    /// Returns the first seq that is still stored; head + 1 when none is.
    pub(super) async fn oldest(&self, conversation: ConversationId, log: &StoredLog, head: i64) -> StoreResult<i64> {
        let known = log.oldest();
        // What expires by itself tells nobody.
        if !log.expiring.unwrap_or(false) || known > head {
            return Ok(known.min(head + 1));
        }
        let (lowest, highest) = (self.buckets.of(known), self.buckets.of(head));
        if let Some(first) = self.first_in(conversation, lowest, known).await? {
            return Ok(first.seq);
        }
        // Older events expire before newer ones: halve.
        let (mut low, mut high) = (lowest + 1, highest + 1);
        let mut oldest = head + 1;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_in(conversation, middle, known).await? {
                Some(first) => (oldest, high) = (first.seq, middle),
                None => low = middle + 1,
            }
        }
        // For the next one; not needed.
        let _ = self.put_oldest(conversation, oldest).await;
        Ok(oldest)
    }

    /// Notes that retention has removed, or removes now, all below a seq.
    pub(super) async fn put_oldest(&self, conversation: ConversationId, seq: i64) -> StoreResult<()> {
        self.server.write(&self.statements.put_oldest, (seq, seq, conversation.0)).await
    }

    /// Returns the first event of a bucket with a seq of at least `from`.
    pub(super) async fn first_in(
        &self,
        conversation: ConversationId,
        bucket: i64,
        mut from: i64,
    ) -> StoreResult<Option<EventRow>> {
        loop {
            let values = (conversation.0, bucket, from, i64::MAX, 1);
            let stored: Option<StoredEvent> = self.server.row(&self.statements.oldest, values).await?;
            let Some(stored) = stored else { return Ok(None) };
            from = stored.number + 1;
            if let Some(row) = stored.read()? {
                return Ok(Some(row));
            }
        }
    }
}

impl End {
    /// Returns the end as an owner knows it.
    pub(super) fn of(tail: &super::owned::Tail) -> Self {
        Self {
            bucket: tail.bucket,
            head: tail.head,
            messages: tail.messages,
            last_id: tail.last_id,
            last_at_ms: tail.last_at_ms,
        }
    }
}
