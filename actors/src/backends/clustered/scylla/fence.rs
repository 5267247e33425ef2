//! Claiming: after it, nobody with a smaller term writes to the log (`ops/decisions/cql-log.md`).

use chinwag_schema::{
    ids::{ConversationId, Term},
    limits::cql::{FENCE_TRIES_MAX, WALK_BUCKETS_MAX},
};

use futures_util::future::{try_join, try_join3};

use super::{
    log::Log,
    owned::Tail,
    rows::{Statics, StoredLog},
};
use crate::ports::{StoreError, StoreResult};

impl Log {
    /// Claims a log for `term`; returns its end, and where it is. Fences the bucket of the head, then the next; if that one has events, walks
    /// on. Then it finishes the changes of older buckets that an earlier owner has left half done.
    pub(super) async fn load(&self, conversation: ConversationId, term: Term) -> StoreResult<(Tail, StoredLog)> {
        let term = i64::try_from(term.0)
            .map_err(|_| StoreError::Corrupt(format!("the term {} is beyond what a store can hold", term.0)))?;
        let mut bucket = self.stored_log(conversation).await?.head_bucket.unwrap_or(0);
        // The next is claimed before the first event of a bucket, and where the head is is written down before that: this ends after one
        // step, unless somebody goes on writing under the same term.
        for _ in 0..WALK_BUCKETS_MAX {
            let before = try_join(self.statics(conversation, bucket), self.statics(conversation, bucket + 1)).await?;
            self.fence_from(conversation, bucket, term, before.0).await?;
            self.fence_from(conversation, bucket + 1, term, before.1).await?;
            // All of it from after the fences: the last owner may have written, and begun a change, until then.
            let now = try_join3(
                self.statics(conversation, bucket),
                self.statics(conversation, bucket + 1),
                self.stored_log(conversation),
            );
            let (statics, next, log) = now.await?;
            if next.has_events(self.buckets.base(bucket + 1)) {
                bucket += 1;
                continue;
            }
            if bucket > 0 && !statics.has_events(self.buckets.base(bucket)) {
                return Err(StoreError::Corrupt(format!(
                    "bucket {bucket} of conversation {conversation} has lost its head"
                )));
            }
            let tail = self.tail(term, bucket, &statics, &log);
            if let Some((done, begun)) = log.unsettled() {
                self.settle(conversation, done, begun.min(tail.head)).await?;
            }
            return Ok((tail, log));
        }
        Err(StoreError::Unavailable(format!("the head of conversation {conversation} runs away")))
    }

    fn tail(&self, term: i64, bucket: i64, statics: &Statics, log: &StoredLog) -> Tail {
        Tail {
            term,
            bucket,
            head: statics.head.unwrap_or(self.buckets.base(bucket)),
            messages: statics.head_messages.unwrap_or(0),
            last_id: statics.head_id.unwrap_or(0),
            last_at_ms: statics.head_at_ms.unwrap_or(0),
            first_at_ms: statics.first_at_ms,
            claimed: bucket + 1,
            hint: log.head_bucket,
            expiring: log.expiring.unwrap_or(false),
            loading: self.owned.loading(),
        }
    }

    /// Makes `term` the least that may write to a bucket.
    pub(super) async fn fence(&self, conversation: ConversationId, bucket: i64, term: i64) -> StoreResult<()> {
        let seen = self.statics(conversation, bucket).await?;
        self.fence_from(conversation, bucket, term, seen).await
    }

    /// As [`Self::fence`], of a bucket that said this a moment ago.
    async fn fence_from(
        &self,
        conversation: ConversationId,
        bucket: i64,
        term: i64,
        mut seen: Statics,
    ) -> StoreResult<()> {
        let key = (conversation.0, bucket);
        for _ in 0..FENCE_TRIES_MAX {
            let fenced = match seen.term {
                Some(stored) if stored > term => return Err(StoreError::Fenced),
                Some(stored) if stored == term => {
                    // Nothing to change; the read finishes whatever write of this term is on its way.
                    let now: Option<Statics> = self.server.row(&self.statements.statics_serial, key).await?;
                    now.is_some_and(|now| now.term == Some(term))
                }
                Some(stored) => self.server.write_if(&self.statements.raise_term, (term, key.0, key.1, stored)).await?,
                // Not 'smaller than': that is false of a row that isn't there, and then nothing would be fenced.
                None => {
                    let base = self.buckets.base(bucket);
                    self.server.write_if(&self.statements.first_claim, (term, base, key.0, key.1)).await?
                }
            };
            if fenced {
                return Ok(());
            }
            seen = self.statics(conversation, bucket).await?;
        }
        Err(StoreError::Unavailable(format!("too many nodes claim conversation {conversation} at once")))
    }

    /// Reads what a bucket says about itself.
    pub(super) async fn statics(&self, conversation: ConversationId, bucket: i64) -> StoreResult<Statics> {
        Ok(self.server.row(&self.statements.statics, (conversation.0, bucket)).await?.unwrap_or_default())
    }

    /// Reads where a log is; the default for one never written to.
    pub(super) async fn stored_log(&self, conversation: ConversationId) -> StoreResult<StoredLog> {
        Ok(self.server.row(&self.statements.log, (conversation.0,)).await?.unwrap_or_default())
    }
}
