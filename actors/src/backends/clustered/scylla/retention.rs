//! Removing what is too old, in slices, always from a conversation's old end.
//!
//! With a retention, events and ids are stored with a TTL and go by themselves. This notes what has gone, and removes what was stored with
//! another TTL or none: so a retention that is shortened, or was set later, holds for old events as well.
//!
//! `ages` has a row for each log, at the age of its oldest event or an older one; whoever comes to it brings it up to date. Any number of
//! nodes may do that at once: what is removed from a bucket is removed under a condition on how much was removed before, and the rest
//! can be repeated.

use chinwag_schema::{ids::ConversationId, limits::cql::AGES_PER_READ};

use super::{
    log::Log,
    rows::{EventRow, Statics, StoredEvent},
    server::Values,
};
use crate::ports::StoreResult;

/// Milliseconds of a day, one row of partitions of `ages`.
const DAY_MS: i64 = 86_400_000;
/// Partitions of one day: bounds each to what a day's new conversations are, divided by this.
const SLOTS: i8 = 32;
/// Days that stay listed though nothing of them is left: clocks of nodes may differ.
const DAYS_KEPT: i64 = 2;

/// Returns day and slot of a conversation whose oldest event is of this time.
pub(super) fn place(conversation: ConversationId, at_ms: i64) -> (i64, i8) {
    let slot = conversation.shard().0 % SLOTS.cast_unsigned();
    (at_ms.div_euclid(DAY_MS), slot.cast_signed())
}

/// What a look at one log came to.
struct Slice {
    removed: usize,
    /// The age of what is stored now; at least the cutoff if nothing older is left.
    age_ms: i64,
}

impl Log {
    /// Removes at most `limit` events from before `cutoff_ms`; returns how many. The first event of a conversation that is young enough
    /// ends its prefix, even if a clock that jumped put older ones after it. Ends where another node is doing the same.
    pub(super) async fn remove_older_than(&self, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
        let mut removed = 0;
        let cutoff_day = cutoff_ms.div_euclid(DAY_MS);
        let days: Vec<(i64,)> = self.server.rows(&self.statements.days, (cutoff_day,)).await?;
        for (day,) in days {
            for slot in 0..SLOTS {
                // Each row that is worked on leaves this range, or uses the limit up.
                loop {
                    let values = (day, slot, cutoff_ms, AGES_PER_READ);
                    let rows: Vec<(i64, i64)> = self.server.rows(&self.statements.ages, values).await?;
                    if rows.is_empty() {
                        break;
                    }
                    for (age_ms, conversation) in rows {
                        if removed >= limit {
                            return Ok(removed);
                        }
                        let id = ConversationId(conversation);
                        let Some(slice) = self.remove_prefix(id, cutoff_ms, limit - removed).await? else {
                            return Ok(removed);
                        };
                        removed += slice.removed;
                        if slice.age_ms != age_ms {
                            self.put_age(id, slice.age_ms).await?;
                            self.server.write(&self.statements.remove_age, (day, slot, age_ms, conversation)).await?;
                        }
                    }
                }
            }
            if day < cutoff_day - DAYS_KEPT {
                self.server.write(&self.statements.remove_day, (day,)).await?;
            }
        }
        Ok(removed)
    }

    /// Removes the old end of one log. `None`: another node does.
    async fn remove_prefix(
        &self,
        conversation: ConversationId,
        cutoff_ms: i64,
        limit: usize,
    ) -> StoreResult<Option<Slice>> {
        let log = self.stored_log(conversation).await?;
        let Some(end) = self.end(conversation, &log).await? else {
            return Ok(Some(Slice { removed: 0, age_ms: cutoff_ms }));
        };
        let mut removed = 0;
        let mut oldest = log.oldest();
        // One bucket back: whoever removed last may have died between saying so and doing it.
        let mut bucket = self.buckets.of(oldest - 1);
        while bucket <= end.bucket {
            let rows = self.head_of(conversation, bucket, limit - removed).await?;
            let old = |row: &&EventRow| row.seq < oldest || row.at_ms < cutoff_ms;
            let gone = rows.iter().take(limit - removed).take_while(old).count();
            let stays = rows.get(gone);
            // Right after the bucket, or the log, if nothing stays; what has expired before the first that stays counts as well.
            let next = match stays {
                Some(row) => row.seq,
                None => self.buckets.last(bucket).min(end.head) + 1,
            };
            if next > oldest {
                // Said before it is done: whoever reads sees a beginning without holes.
                self.put_oldest(conversation, next).await?;
            }
            if gone > 0 {
                let emptied = stays.is_none() && bucket < end.bucket;
                if !self.remove_rows(conversation, bucket, next, &rows[..gone], emptied).await? {
                    return Ok(None);
                }
            }
            removed += usize::try_from(next - oldest).unwrap_or(0).min(limit - removed);
            oldest = oldest.max(next);
            match stays {
                Some(row) if row.at_ms < cutoff_ms => return Ok(Some(Slice { removed, age_ms: row.at_ms })),
                Some(row) => return Ok(Some(Slice { removed, age_ms: row.at_ms.max(cutoff_ms) })),
                None => bucket += 1,
            }
        }
        // Nothing is stored. What comes next is not older than this, or stays a little longer.
        Ok(Some(Slice { removed, age_ms: cutoff_ms }))
    }

    /// Reads the first events of a bucket: one more than may go, to learn which is the first that stays.
    async fn head_of(&self, conversation: ConversationId, bucket: i64, count: usize) -> StoreResult<Vec<EventRow>> {
        let limit = i32::try_from(count.saturating_add(1)).unwrap_or(i32::MAX);
        let values = (conversation.0, bucket, 0_i64, i64::MAX, limit);
        let mut rows = Vec::new();
        for stored in self.server.rows::<StoredEvent>(&self.statements.oldest, values).await? {
            rows.extend(stored.read()?);
        }
        Ok(rows)
    }

    /// Removes all events of a bucket below a seq, and the ids of these rows; of a bucket that is emptied, all ids. Says whether it did, or
    /// another node was faster.
    async fn remove_rows(
        &self,
        conversation: ConversationId,
        bucket: i64,
        below: i64,
        rows: &[EventRow],
        emptied: bool,
    ) -> StoreResult<bool> {
        let of = &self.statements;
        let key = (conversation.0, bucket);
        let statics: Option<Statics> = self.server.row(&of.statics_serial, key).await?;
        let seen = statics.and_then(|statics| statics.removed_below);
        let mut statements: Vec<(_, Values<'_>)> = vec![
            (&of.removed_below, Box::new((below, key.0, key.1, seen))),
            (&of.remove_events, Box::new((key.0, key.1, below))),
        ];
        if emptied {
            statements.push((&of.remove_ids, Box::new(key)));
        } else {
            for row in rows {
                if let Some(id) = &row.client_id {
                    statements.push((&of.remove_id, Box::new((key.0, key.1, row.sender, id.as_bytes().as_slice()))));
                }
            }
        }
        self.server.batch_if(&statements).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_of_any_time() {
        assert_eq!(place(ConversationId(1), 0).0, 0);
        assert_eq!(place(ConversationId(1), -1).0, -1);
        assert_eq!(place(ConversationId(1), DAY_MS).0, 1);
        assert!((0..1000).all(|n| (0..SLOTS).contains(&place(ConversationId(n << 22), 0).1)));
    }
}
