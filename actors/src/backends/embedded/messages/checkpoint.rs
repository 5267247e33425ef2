//! Checkpoints of a log's head and totals.
//!
//! Each event's row carries the head's seq, id and time, the messages so far and its sender's total. So an append writes events only;
//! `log_heads` and `own_totals` say how things stood at an earlier seq, the checkpoint. Invariants: every event past the checkpoint is
//! stored, so that whoever reads a head or a total finds in them what came since; and after a transaction there are fewer than
//! [`DISTANCE_EVENTS`] of them.
//!
//! The term isn't in the events: who changes it writes a checkpoint.

use chinwag_schema::ids::ConversationId;
use diesel::{
    RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Nullable, SmallInt},
};

use super::{
    super::sql::{fault, statement},
    rows::{HeadRow, kind},
};
use crate::ports::StoreResult;

/// Events past the checkpoint at which an append writes a new one. Large enough that an event's share of it is small beside its own
/// row, small enough that the rows to look through for a total are few pages.
pub(super) const DISTANCE_EVENTS: i64 = 64;

statement! {
    /// Writes the whole row. That renews its entry in the index of `oldest_at_ms` as well: too rare to be worth a second form.
    StoreHead {
        conversation: i64 as BigInt, term: i64 as BigInt, head: i64 as BigInt, messages: i64 as BigInt,
        oldest_seq: i64 as BigInt, oldest_at_ms: Option<i64> as Nullable<BigInt>, last_id: i64 as BigInt, last_at_ms: i64 as BigInt,
    },
    "INSERT INTO log_heads (conversation, term, head, messages, oldest_seq, oldest_at_ms, last_id, last_at_ms) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation) DO UPDATE SET term = excluded.term, head = excluded.head, \
     messages = excluded.messages, oldest_seq = excluded.oldest_seq, oldest_at_ms = excluded.oldest_at_ms, \
     last_id = excluded.last_id, last_at_ms = excluded.last_at_ms"
}

statement! {
    /// Takes the totals of those who sent messages after a seq from the events. Each sender's only grow.
    StoreOwn { conversation: i64 as BigInt, after: i64 as BigInt, message: i16 as SmallInt },
    "INSERT INTO own_totals (conversation, sender, own) SELECT conversation, sender, max(own) FROM events \
     WHERE conversation = ? AND seq > ? AND kind = ? GROUP BY sender \
     ON CONFLICT (conversation, sender) DO UPDATE SET own = excluded.own"
}

/// Makes this head the checkpoint; returns it as it is stored now. All events up to it must have been inserted, and none past the
/// checkpoint before it been removed.
pub(super) fn store(conn: &mut SqliteConnection, conversation: ConversationId, row: HeadRow) -> StoreResult<HeadRow> {
    let HeadRow { checkpoint, term, head, messages, oldest_seq, oldest_at_ms, last_id, last_at_ms } = row;
    let conversation = conversation.0;
    if head > checkpoint {
        StoreOwn { conversation, after: checkpoint, message: kind::MESSAGE }.execute(conn).map_err(fault)?;
    }
    StoreHead { conversation, term, head, messages, oldest_seq, oldest_at_ms, last_id, last_at_ms }
        .execute(conn)
        .map_err(fault)?;
    Ok(HeadRow { checkpoint: head, ..row })
}
