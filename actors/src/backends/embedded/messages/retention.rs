//! Removing what is too old, in slices, always from a conversation's old end.

use chinwag_schema::{
    ids::ConversationId,
    tables::sqlite::{events, log_heads},
};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Binary},
};

use super::{
    super::sql::{fault, statement},
    checkpoint,
    rows::{self, HeadRow},
};
use crate::ports::{StoreError, StoreResult};

statement! {
    ForgetMessageId<'a> { conversation: i64 as BigInt, sender: i64 as BigInt, client_id: &'a [u8] as Binary },
    "DELETE FROM message_ids WHERE conversation = ? AND sender = ? AND client_id = ?"
}

statement! {
    RemoveUpTo { conversation: i64 as BigInt, seq: i64 as BigInt },
    "DELETE FROM events WHERE conversation = ? AND seq <= ?"
}

/// Removes at most `limit` events from before `cutoff_ms`, oldest conversations first; returns how many. The first event of a
/// conversation that is young enough ends its prefix, even if a clock that jumped put older ones after it.
pub(super) fn remove_older_than(conn: &mut SqliteConnection, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
    let mut removed = 0;
    while removed < limit {
        // Each conversation that is worked on leaves this range, or uses the limit up.
        let oldest: Option<i64> = log_heads::table
            .filter(log_heads::oldest_at_ms.is_not_null())
            .filter(log_heads::oldest_at_ms.lt(cutoff_ms))
            .order(log_heads::oldest_at_ms.asc())
            .select(log_heads::conversation)
            .first(conn)
            .optional()
            .map_err(fault)?;
        let Some(conversation) = oldest else { break };
        removed += remove_prefix(conn, conversation, cutoff_ms, limit - removed)?;
    }
    Ok(removed)
}

fn remove_prefix(conn: &mut SqliteConnection, conversation: i64, cutoff_ms: i64, limit: usize) -> StoreResult<usize> {
    // One more than may go, to learn when the first that stays is from.
    let oldest: Vec<(i64, i64, i64, Option<Vec<u8>>)> = events::table
        .filter(events::conversation.eq(conversation))
        .order(events::seq.asc())
        .select((events::seq, events::at_ms, events::sender, events::client_id))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        .load(conn)
        .map_err(fault)?;
    let old = oldest.iter().take(limit).take_while(|(_, at_ms, ..)| *at_ms < cutoff_ms).count();
    let (gone, stay) = oldest.split_at(old);
    let (oldest_seq, oldest_at_ms) = match (stay.first(), gone.last()) {
        (Some((seq, at_ms, ..)), _) => (*seq, Some(*at_ms)),
        (None, Some((last, ..))) => (last + 1, None),
        (None, None) => {
            return Err(StoreError::Corrupt(format!("conversation {conversation} has an oldest event but no events")));
        }
    };
    // Before anything goes: the head and totals may still have to be taken from these events.
    let head = rows::head(conn, ConversationId(conversation))?.unwrap_or_default();
    checkpoint::store(conn, ConversationId(conversation), HeadRow { oldest_seq, oldest_at_ms, ..head })?;
    if let Some((last, ..)) = gone.last() {
        for (_, _, sender, client_id) in gone {
            if let Some(client_id) = client_id {
                ForgetMessageId { conversation, sender: *sender, client_id }.execute(conn).map_err(fault)?;
            }
        }
        RemoveUpTo { conversation, seq: *last }.execute(conn).map_err(fault)?;
    }
    Ok(old)
}
