//! Claiming: after it, nobody with a smaller term writes to the log (`ops/decisions/cql-log.md`).

use chinwag_schema::{
    ids::{ConversationId, Term},
    limits::cql::{FENCE_TRIES_MAX, WALK_BUCKETS_MAX},
};

use super::{
    log::Log,
    owned::Tail,
    rows::{Statics, StoredLog},
};
use crate::ports::{StoreError, StoreResult};

impl Log {
    /// Claims a log for `term` and returns its end. Fences the bucket of the head, then the next; if that one has events, walks on. Then
    /// it finishes the changes of older buckets that an earlier owner has left half done.
    pub(super) async fn load(&self, conversation: ConversationId, term: Term) -> StoreResult<Tail> {
        let term = i64::try_from(term.0)
            .map_err(|_| StoreError::Corrupt(format!("the term {} is beyond what a store can hold", term.0)))?;
        let mut bucket = self.stored_log(conversation).await?.head_bucket.unwrap_or(0);
        let mut statics = self.fence(conversation, bucket, term).await?;
        for walked in 0.. {
            let next = self.fence(conversation, bucket + 1, term).await?;
            if !next.has_events(self.buckets.base(bucket + 1)) {
                break;
            }
            // The next is claimed before the first event of a bucket, and where the head is is written down before that: this ends after
            // one step, unless somebody goes on writing under the same term.
            if walked >= WALK_BUCKETS_MAX {
                return Err(StoreError::Unavailable(format!("the head of conversation {conversation} runs away")));
            }
            (bucket, statics) = (bucket + 1, next);
        }
        if bucket > 0 && !statics.has_events(self.buckets.base(bucket)) {
            return Err(StoreError::Corrupt(format!(
                "bucket {bucket} of conversation {conversation} has lost its head"
            )));
        }
        // Not the row from before the fence: the last owner may have begun a change in between.
        let log = self.stored_log(conversation).await?;
        let tail = self.tail(term, bucket, &statics, &log);
        if let Some((done, begun)) = log.unsettled() {
            self.settle(conversation, done, begun.min(tail.head)).await?;
        }
        Ok(tail)
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

    /// Makes `term` the least that may write to a bucket; returns what the bucket says from then on.
    pub(super) async fn fence(&self, conversation: ConversationId, bucket: i64, term: i64) -> StoreResult<Statics> {
        let key = (conversation.0, bucket);
        for _ in 0..FENCE_TRIES_MAX {
            let seen: Statics = self.server.row(&self.statements.statics, key).await?.unwrap_or_default();
            let applied = match seen.term {
                Some(stored) if stored > term => return Err(StoreError::Fenced),
                Some(stored) if stored == term => {
                    // Nothing to change; the read finishes whatever write of this term is on its way.
                    let now: Statics = self.server.row(&self.statements.statics_serial, key).await?.unwrap_or_default();
                    match now.term {
                        Some(stored) if stored == term => return Ok(now),
                        _ => continue,
                    }
                }
                Some(stored) => self.server.write_if(&self.statements.raise_term, (term, key.0, key.1, stored)).await?,
                // Not 'smaller than': that is false of a row that isn't there, and then nothing would be fenced.
                None => {
                    let base = self.buckets.base(bucket);
                    self.server.write_if(&self.statements.first_claim, (term, base, key.0, key.1)).await?
                }
            };
            if applied {
                // What the last owner wrote until then is committed, and shows.
                return Ok(self.server.row(&self.statements.statics, key).await?.unwrap_or_default());
            }
        }
        Err(StoreError::Unavailable(format!("too many nodes claim conversation {conversation} at once")))
    }

    /// Reads where a log is; the default for one never written to.
    pub(super) async fn stored_log(&self, conversation: ConversationId) -> StoreResult<StoredLog> {
        Ok(self.server.row(&self.statements.log, (conversation.0,)).await?.unwrap_or_default())
    }
}
