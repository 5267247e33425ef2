//! Finding repeats: messages whose client id their sender has used here before.
//!
//! A group with an id that is there already would be refused as a whole if the batch asked for its absence, so ids are looked for before.
//! Nothing can come in between: the batch is refused when the head has moved.

use std::collections::{BTreeMap, HashMap};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::{
        conversation::MESSAGE_ID_AHEAD_MAX,
        cql::{IDS_PER_READ, READS_AT_ONCE, SENDER_BUCKETS_PER_READ},
    },
};
use uuid::Uuid;

use super::{
    log::Log,
    owned::{Sender, Tail},
    rows::part,
    server::at_once,
};
use crate::ports::{
    StoreError, StoreResult,
    message_store::{NewBody, NewEvent},
};

/// Seqs of ids that are stored, by (sender, id).
pub(super) type Repeats = HashMap<(i64, Uuid), i64>;

impl Log {
    /// Looks for the client ids of a group. `senders` has all its senders.
    pub(super) async fn repeats(
        &self,
        conversation: ConversationId,
        tail: &Tail,
        events: &[NewEvent],
        senders: &HashMap<i64, Sender>,
    ) -> StoreResult<Repeats> {
        // By sender: their ids, and since when the first of them can have been stored.
        let mut wanted: BTreeMap<i64, (Vec<Uuid>, i64)> = BTreeMap::new();
        for event in events {
            if let NewBody::Message { client_id: Some(id), .. } = &event.body {
                let (ids, since) = wanted.entry(event.sender.0).or_insert_with(|| (Vec::new(), i64::MAX));
                ids.push(*id);
                *since = (*since).min(possible_since(id));
            }
        }
        let calls = wanted
            .iter()
            .map(|(sender, (_, since))| {
                let known = senders.get(sender).copied().unwrap_or_default();
                self.buckets_since(conversation, tail, UserId(*sender), known, *since)
            })
            .collect();
        let mut by_bucket: BTreeMap<i64, Vec<(i8, i64, Vec<u8>)>> = BTreeMap::new();
        for ((sender, (ids, _)), buckets) in wanted.iter().zip(at_once(READS_AT_ONCE, calls).await) {
            for bucket in buckets? {
                let keys = ids.iter().map(|id| (part::MESSAGE_ID, *sender, id.as_bytes().to_vec()));
                by_bucket.entry(bucket).or_default().extend(keys);
            }
        }
        let calls = by_bucket
            .iter()
            .flat_map(|(bucket, keys)| keys.chunks(IDS_PER_READ).map(move |keys| (*bucket, keys)))
            .map(|(bucket, keys)| {
                self.server.rows::<(i64, Vec<u8>, Option<i64>)>(&self.statements.ids, (conversation.0, bucket, keys))
            })
            .collect();
        let mut repeats = Repeats::new();
        for rows in at_once(READS_AT_ONCE, calls).await {
            for (sender, id, seq) in rows? {
                let id = Uuid::from_slice(&id).map_err(|error| {
                    StoreError::Corrupt(format!("conversation {conversation} has a bad id: {error}"))
                })?;
                if let Some(seq) = seq {
                    repeats.insert((sender, id), seq);
                }
            }
        }
        Ok(repeats)
    }

    /// Returns the buckets in which a sender's messages of this time or later can be.
    async fn buckets_since(
        &self,
        conversation: ConversationId,
        tail: &Tail,
        sender: UserId,
        known: Sender,
        since_ms: i64,
    ) -> StoreResult<Vec<i64>> {
        let Some((newest, first_at_ms)) = known.newest else { return Ok(Vec::new()) };
        // All of theirs in older buckets is older than their first here, and than the bucket itself.
        let opened_before = newest == tail.bucket && tail.first_at_ms.is_some_and(|opened| opened < since_ms);
        if first_at_ms < since_ms || opened_before {
            return Ok(vec![newest]);
        }
        let mut buckets = vec![newest];
        let mut before = newest;
        loop {
            let values = (conversation.0, sender.0, before, SENDER_BUCKETS_PER_READ);
            let rows: Vec<(i64, i64)> = self.server.rows(&self.statements.sender_buckets, values).await?;
            let more = rows.len() == SENDER_BUCKETS_PER_READ as usize;
            for (bucket, first_at_ms) in rows {
                buckets.push(bucket);
                before = bucket;
                if first_at_ms < since_ms {
                    return Ok(buckets);
                }
            }
            if !more {
                return Ok(buckets);
            }
        }
    }
}

/// Returns the time before which a message with this id can't have been stored: ids may be ahead of the server by so much. Ids that don't
/// carry a time may be as old as the log.
fn possible_since(id: &Uuid) -> i64 {
    let Some(at) = id.get_timestamp().filter(|_| id.get_version_num() == 7) else { return i64::MIN };
    let (seconds, nanos) = at.to_unix();
    let at_ms =
        i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000));
    at_ms.saturating_sub(i64::try_from(MESSAGE_ID_AHEAD_MAX.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_can_be_stored_ten_minutes_before_their_own_time() {
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_800_000_000, 5_000_000));
        assert_eq!(possible_since(&id), 1_800_000_000_005 - 600_000);
        assert_eq!(possible_since(&Uuid::from_u128(7)), i64::MIN);
    }
}
