//! Running totals: now, and at a position.
//!
//! Each event's row has the messages so far and its sender's total. A sender's total at the end of each bucket with events of theirs is a row
//! of its own that outlives them; `senders` says which buckets these are. So no question walks the log: it costs a few rows, and at most
//! the rows of one bucket on the server.

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits::cql::SENDER_BUCKETS_PER_READ,
};

use super::{
    log::Log,
    rows::{from_seq, what},
};
use crate::ports::StoreResult;

impl Log {
    /// Returns how many messages a user has sent in a conversation.
    pub(super) async fn own_total(&self, conversation: ConversationId, user: UserId) -> StoreResult<u64> {
        let found = self.own_below(conversation, user, i64::MAX).await?;
        Ok(found.map_or(0, |(own, ..)| own.cast_unsigned()))
    }

    /// Returns a user's total at the end of the newest bucket below `before` that has events of theirs, with that bucket and a time not
    /// after their first event in it; `None` if there is none.
    pub(super) async fn own_below(
        &self,
        conversation: ConversationId,
        user: UserId,
        mut before: i64,
    ) -> StoreResult<Option<(i64, i64, i64)>> {
        loop {
            let values = (conversation.0, user.0, before, SENDER_BUCKETS_PER_READ);
            let buckets: Vec<(i64, i64)> = self.server.rows(&self.statements.sender_buckets, values).await?;
            let more = buckets.len() == SENDER_BUCKETS_PER_READ as usize;
            for (bucket, first_at_ms) in buckets {
                // They may only have meant to write there.
                if let Some(own) = self.own_in(conversation, user, bucket).await? {
                    return Ok(Some((own, bucket, first_at_ms)));
                }
                before = bucket;
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// Returns a user's total at the end of a bucket; `None` if it has no events of theirs.
    async fn own_in(&self, conversation: ConversationId, user: UserId, bucket: i64) -> StoreResult<Option<i64>> {
        let row: Option<(Option<i64>,)> =
            self.server.row(&self.statements.own, (conversation.0, bucket, user.0)).await?;
        Ok(row.and_then(|(own,)| own))
    }

    /// Returns (messages, the user's messages) up to and including `upto`. Below the oldest stored event it is the totals right before
    /// that event: what retention removed can't be unread any more.
    pub(super) async fn totals_at(
        &self,
        conversation: ConversationId,
        user: UserId,
        upto: Seq,
    ) -> StoreResult<(u64, u64)> {
        let log = self.stored_log(conversation).await?;
        let upto = from_seq(upto);
        let Some(end) = self.end(conversation, &log).await?.filter(|_| upto > 0) else { return Ok((0, 0)) };
        let oldest = self.oldest(conversation, &log, end.head).await?;
        if upto >= end.head || oldest > end.head {
            return Ok((end.messages.cast_unsigned(), self.own_total(conversation, user).await?));
        }
        let upto = upto.max(oldest - 1);
        let messages = self.messages_at(conversation, end.bucket, upto).await?.unwrap_or(end.messages);
        let own = self.own_at(conversation, user, upto).await?;
        Ok((messages.cast_unsigned(), own.cast_unsigned()))
    }

    /// Returns the messages up to `upto`; `None` if no event from there on is stored.
    async fn messages_at(&self, conversation: ConversationId, last: i64, upto: i64) -> StoreResult<Option<i64>> {
        if upto > 0
            && let Some(row) = self.stored_event(conversation, upto).await?
        {
            return Ok(Some(row.messages));
        }
        for bucket in self.buckets.of(upto + 1)..=last {
            if let Some(row) = self.first_in(conversation, bucket, upto + 1).await? {
                return Ok(Some(row.messages - i64::from(row.what == what::MESSAGE)));
            }
        }
        Ok(None)
    }

    /// Returns the user's messages up to `upto`.
    async fn own_at(&self, conversation: ConversationId, user: UserId, upto: i64) -> StoreResult<i64> {
        let bucket = self.buckets.of(upto);
        if let Some(at_end) = self.own_in(conversation, user, bucket).await? {
            let key = (conversation.0, bucket);
            let values = (key.0, key.1, upto, user.0);
            let below: Option<(i64,)> = self.server.row(&self.statements.own_before, values).await?;
            if let Some((own,)) = below {
                return Ok(own);
            }
            let above: Option<(i64, i8)> = self.server.row(&self.statements.own_after, values).await?;
            if let Some((own, kind)) = above {
                return Ok(own - i64::from(kind == what::MESSAGE));
            }
            // All of theirs in this bucket is gone, so it was below.
            return Ok(at_end);
        }
        Ok(self.own_below(conversation, user, bucket).await?.map_or(0, |(own, ..)| own))
    }
}
