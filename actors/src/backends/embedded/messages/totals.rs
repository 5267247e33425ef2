//! Running totals at a position, for cursors and unread counts (invariant 5).

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    tables::sqlite::events,
};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

use super::{
    super::sql::fault,
    rows::{self, HeadRow, from_seq, kind},
};
use crate::ports::StoreResult;

/// Events looked at in the first step on either side; each further step doubles it.
const FIRST_STEP_EVENTS: i64 = 128;

/// Returns (messages, the user's messages) up to and including `upto`. Below the oldest stored event it is the totals right before
/// that event: what retention removed can't be unread any more.
pub(super) fn totals_at(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    user: UserId,
    upto: Seq,
) -> StoreResult<(u64, u64)> {
    let Some(head) = rows::head(conn, conversation)? else {
        return Ok((0, 0));
    };
    let upto = from_seq(upto);
    if upto == 0 {
        return Ok((0, 0));
    }
    let own_total = rows::own_total(conn, conversation, head.checkpoint, user)?;
    if upto >= head.head || head.oldest_seq > head.head {
        return Ok((head.messages.cast_unsigned(), own_total));
    }
    let upto = upto.max(head.oldest_seq - 1);
    let messages = messages_at(conn, conversation, &head, upto)?;
    let own = if own_total == 0 { 0 } else { own_at(conn, conversation, user, &head, upto)?.unwrap_or(own_total) };
    Ok((messages, own))
}

fn messages_at(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    head: &HeadRow,
    upto: i64,
) -> StoreResult<u64> {
    let at = |conn: &mut SqliteConnection, seq: i64| -> StoreResult<(i64, i16)> {
        events::table
            .filter(events::conversation.eq(conversation.0))
            .filter(events::seq.eq(seq))
            .select((events::messages, events::kind))
            .get_result(conn)
            .map_err(fault)
    };
    let messages = if upto >= head.oldest_seq {
        at(conn, upto)?.0
    } else {
        let (messages, kind) = at(conn, head.oldest_seq)?;
        messages - i64::from(kind == kind::MESSAGE)
    };
    Ok(messages.cast_unsigned())
}

/// Returns the user's messages up to `upto` from the nearest stored event of theirs on either side; `None` if no event of theirs
/// is stored. Looks at both sides in doubling steps, so that the cost depends on the distance to it and not on the log's length.
fn own_at(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    user: UserId,
    head: &HeadRow,
    upto: i64,
) -> StoreResult<Option<u64>> {
    let (mut below, mut above) = (upto, upto);
    let mut step = FIRST_STEP_EVENTS;
    while below >= head.oldest_seq || above < head.head {
        // Theirs at or below `upto`: it carries the total.
        let lower = below.saturating_sub(step);
        let found: Option<i64> = events::table
            .filter(events::conversation.eq(conversation.0))
            .filter(events::seq.gt(lower))
            .filter(events::seq.le(below))
            .filter(events::sender.eq(user.0))
            .order(events::seq.desc())
            .select(events::own)
            .first(conn)
            .optional()
            .map_err(fault)?;
        if let Some(own) = found {
            return Ok(Some(own.cast_unsigned()));
        }
        below = lower;

        // Theirs above: the total before it is one less if it is a message.
        let upper = above.saturating_add(step);
        let found: Option<(i64, i16)> = events::table
            .filter(events::conversation.eq(conversation.0))
            .filter(events::seq.gt(above))
            .filter(events::seq.le(upper))
            .filter(events::sender.eq(user.0))
            .order(events::seq.asc())
            .select((events::own, events::kind))
            .first(conn)
            .optional()
            .map_err(fault)?;
        if let Some((own, kind)) = found {
            return Ok(Some((own - i64::from(kind == kind::MESSAGE)).cast_unsigned()));
        }
        above = upper;
        step = step.saturating_mul(2);
    }
    Ok(None)
}
