//! Reading the log: pages, and one event by its id.

use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, EventId},
    tables::sqlite::events,
};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper, SqliteConnection};

use super::{
    super::sql::fault,
    rows::{self, EventRow, HeadRow, from_seq, kind, to_seq},
};
use crate::ports::{
    StoreResult,
    message_store::{Direction, Filter, Page},
};

/// Most events of one page, whatever the caller asks for: bounds memory. Callers that page on see no difference.
const PAGE_EVENTS_MAX: usize = 4096;

/// Reads a page.
pub(super) fn page(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    direction: Direction,
    limit: usize,
    filter: Filter,
) -> StoreResult<Page> {
    let limit = limit.min(PAGE_EVENTS_MAX);
    let HeadRow { oldest_seq, .. } = rows::checkpoint(conn, conversation)?.unwrap_or_default();
    let mut query =
        events::table.filter(events::conversation.eq(conversation.0)).select(EventRow::as_select()).into_boxed();
    query = match direction {
        Direction::Before(before) => query.filter(events::seq.lt(from_seq(before))).order(events::seq.desc()),
        Direction::After(after) => query.filter(events::seq.gt(from_seq(after))).order(events::seq.asc()),
    };
    if filter == Filter::Messages {
        query = query.filter(events::kind.eq(kind::MESSAGE));
    }
    // One more than asked for, to know whether there is more.
    let mut found = query.limit(limit as i64 + 1).load(conn).map_err(fault)?;
    let complete = found.len() <= limit;
    found.truncate(limit);
    if matches!(direction, Direction::Before(_)) {
        found.reverse();
    }
    let events = found.into_iter().map(EventRow::into_event).collect::<StoreResult<_>>()?;
    Ok(Page { events, complete, oldest_seq: to_seq(oldest_seq), targets: Vec::new() })
}

/// Finds an event by halving the range of seqs: ids grow with them.
pub(super) fn find(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    id: EventId,
) -> StoreResult<Option<LogEvent>> {
    let head = rows::head(conn, conversation)?.unwrap_or_default();
    let (mut low, mut high) = (head.oldest_seq, head.head);
    while low <= high {
        let middle = low + (high - low) / 2;
        let there: Option<i64> = events::table
            .filter(events::conversation.eq(conversation.0))
            .filter(events::seq.eq(middle))
            .select(events::id)
            .get_result(conn)
            .optional()
            .map_err(fault)?;
        match there {
            Some(there) if there == id.0 => {
                return rows::event(conn, conversation, to_seq(middle))?.map(EventRow::into_event).transpose();
            }
            Some(there) if there > id.0 => high = middle - 1,
            _ => low = middle + 1,
        }
    }
    Ok(None)
}
