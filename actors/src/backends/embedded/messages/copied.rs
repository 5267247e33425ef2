//! What a copy of the log reads: whole rows, in pages, and what retention has left of the totals.

use chinwag_schema::{
    ids::ConversationId,
    limits::copy::{PAGE_MAX_BYTES, PAGE_MAX_EVENTS},
    tables::sqlite::{events, log_heads},
};
use diesel::{
    ExpressionMethods, QueryDsl, Queryable, QueryableByName, RunQueryDsl, Selectable, SelectableHelper,
    SqliteConnection,
    connection::{DefaultLoadingMode, SimpleConnection},
    sql_query,
    sql_types::BigInt,
};

use super::{super::sql::fault, rows};
use crate::{
    backends::copy::Event,
    ports::{StoreError, StoreResult},
};

/// The end and the beginning of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHead {
    pub conversation: i64,
    pub term: i64,
    pub head: i64,
    pub messages: i64,
    /// head + 1 when no event is stored.
    pub oldest_seq: i64,
    pub last_id: i64,
    pub last_at_ms: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
struct WholeRow {
    seq: i64,
    id: i64,
    at_ms: i64,
    kind: i16,
    sender: i64,
    sender_name: String,
    messages: i64,
    own: i64,
    client_id: Option<Vec<u8>>,
    content: String,
    content_digest: Option<Vec<u8>>,
    target_seq: Option<i64>,
    target_id: Option<i64>,
    edited_at_ms: Option<i64>,
    deleted: bool,
}

#[derive(QueryableByName)]
struct Total {
    #[diesel(sql_type = BigInt)]
    sender: i64,
    #[diesel(sql_type = BigInt)]
    own: i64,
}

/// Makes room for [`stage_removed`], on disk: there may be as many senders as there ever were guests.
pub(in crate::backends::embedded) fn prepare(conn: &mut SqliteConnection) -> diesel::QueryResult<()> {
    conn.batch_execute(
        "PRAGMA temp_store = FILE; \
         CREATE TEMP TABLE removed (conversation INTEGER, sender INTEGER, own INTEGER, PRIMARY KEY (conversation, sender)) WITHOUT ROWID",
    )
}

/// Returns the logs of conversations after this one that were ever written to, by ascending conversation.
pub(in crate::backends::embedded) fn heads(
    conn: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> StoreResult<Vec<LogHead>> {
    let mut heads: Vec<LogHead> = Vec::new();
    let mut after = after;
    while heads.len() < limit {
        let missing = i64::try_from(limit - heads.len()).unwrap_or(i64::MAX);
        let some: Vec<i64> = log_heads::table
            .filter(log_heads::conversation.gt(after))
            .order(log_heads::conversation.asc())
            .limit(missing)
            .select(log_heads::conversation)
            .load(conn)
            .map_err(fault)?;
        let Some(last) = some.last() else { break };
        after = *last;
        for conversation in some {
            let row = rows::head(conn, ConversationId(conversation))?.unwrap_or_default();
            // Merely claimed.
            if row.head == 0 {
                continue;
            }
            let rows::HeadRow { term, head, messages, oldest_seq, last_id, last_at_ms, .. } = row;
            heads.push(LogHead { conversation, term, head, messages, oldest_seq, last_id, last_at_ms });
        }
    }
    Ok(heads)
}

/// Returns the events after a seq, and up to another one, oldest first: as many as a page takes, and one at least if there is any.
pub(in crate::backends::embedded) fn events(
    conn: &mut SqliteConnection,
    conversation: i64,
    after: i64,
    upto: i64,
) -> StoreResult<Vec<Event>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let rows = events::table
        .filter(events::conversation.eq(conversation))
        .filter(events::seq.gt(after))
        .filter(events::seq.le(upto))
        .order(events::seq.asc())
        .limit(PAGE_MAX_EVENTS as i64)
        .select(WholeRow::as_select())
        .load_iter::<WholeRow, DefaultLoadingMode>(conn)
        .map_err(fault)?;
    for row in rows {
        let row = row.map_err(fault)?;
        let kind = i8::try_from(row.kind)
            .map_err(|_| StoreError::Corrupt(format!("event {} is of unknown kind {}", row.id, row.kind)))?;
        bytes += row.content.len();
        found.push(Event {
            seq: row.seq,
            id: row.id,
            at_ms: row.at_ms,
            kind,
            sender: row.sender,
            sender_name: row.sender_name,
            messages: row.messages,
            own: row.own,
            client_id: row.client_id,
            content: row.content,
            digest: row.content_digest,
            target: row.target_seq.zip(row.target_id),
            edited_at_ms: row.edited_at_ms,
            deleted: row.deleted,
        });
        if bytes >= PAGE_MAX_BYTES {
            break;
        }
    }
    Ok(found)
}

/// Works out how many messages each sender had sent before the first event that is stored; [`removed`] pages it.
pub(in crate::backends::embedded) fn stage_removed(conn: &mut SqliteConnection, conversation: i64) -> StoreResult<()> {
    // `own_totals` is as of the checkpoint.
    let counted = sql_query(
        "INSERT OR REPLACE INTO removed (conversation, sender, own) \
         SELECT o.conversation, o.sender, o.own - coalesce(k.kept, 0) FROM own_totals o LEFT JOIN \
         (SELECT sender, count(*) AS kept FROM events WHERE conversation = ? AND kind = 0 \
          AND seq <= (SELECT head FROM log_heads WHERE conversation = ?) GROUP BY sender) k ON k.sender = o.sender \
         WHERE o.conversation = ? AND o.own > coalesce(k.kept, 0)",
    );
    let counted = counted.bind::<BigInt, _>(conversation).bind::<BigInt, _>(conversation);
    counted.bind::<BigInt, _>(conversation).execute(conn).map(|_| ()).map_err(fault)
}

/// Returns (sender, messages removed) for senders after this one, by ascending sender.
pub(in crate::backends::embedded) fn removed(
    conn: &mut SqliteConnection,
    conversation: i64,
    after: i64,
    limit: usize,
) -> StoreResult<Vec<(i64, i64)>> {
    let page =
        sql_query("SELECT sender, own FROM removed WHERE conversation = ? AND sender > ? ORDER BY sender LIMIT ?");
    let page = page.bind::<BigInt, _>(conversation).bind::<BigInt, _>(after);
    let page: Vec<Total> =
        page.bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX)).load(conn).map_err(fault)?;
    Ok(page.into_iter().map(|total| (total.sender, total.own)).collect())
}

/// Forgets what [`stage_removed`] worked out.
pub(in crate::backends::embedded) fn forget_removed(conn: &mut SqliteConnection, conversation: i64) -> StoreResult<()> {
    let forget = sql_query("DELETE FROM removed WHERE conversation = ?");
    forget.bind::<BigInt, _>(conversation).execute(conn).map(|_| ()).map_err(fault)
}
