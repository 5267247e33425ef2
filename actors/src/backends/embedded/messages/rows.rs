//! Rows of the log, and what all parts of it read.

use chinwag_schema::{
    event::{EventBody, LogEvent, MessageBody},
    ids::{ConversationId, EventId, Seq, UserId},
    model::Head,
    tables::sqlite::{events, log_heads, own_totals},
};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper,
    SqliteConnection,
};
use uuid::Uuid;

use super::super::sql::fault;
use crate::ports::{StoreError, StoreResult};

/// Stored numbers of the kinds of event: never reuse one.
pub(super) mod kind {
    pub const MESSAGE: i16 = 0;
    pub const EDITED: i16 = 1;
    pub const DELETED: i16 = 2;
    pub const JOINED: i16 = 3;
    pub const LEFT: i16 = 4;
}

/// A row of `events`, without what only the append needs.
#[derive(Queryable, Selectable)]
#[diesel(table_name = events)]
pub(super) struct EventRow {
    pub seq: i64,
    pub id: i64,
    pub at_ms: i64,
    pub kind: i16,
    pub sender: i64,
    pub sender_name: String,
    pub messages: i64,
    pub own: i64,
    pub client_id: Option<Vec<u8>>,
    pub content: String,
    pub target_seq: Option<i64>,
    pub target_id: Option<i64>,
    pub edited_at_ms: Option<i64>,
    pub deleted: bool,
}

impl EventRow {
    /// Reads the row as an event.
    pub(super) fn into_event(self) -> StoreResult<LogEvent> {
        let target = || match (self.target_id, self.target_seq) {
            (Some(id), Some(seq)) => Ok((EventId(id), to_seq(seq))),
            _ => Err(StoreError::Corrupt(format!("event {} has no target", self.id))),
        };
        let body =
            match self.kind {
                kind::MESSAGE => EventBody::Message(MessageBody {
                    client_id: self.client_id.as_deref().map(Uuid::from_slice).transpose().map_err(|error| {
                        StoreError::Corrupt(format!("event {} has a bad client id: {error}", self.id))
                    })?,
                    content: self.content.as_str().into(),
                    edited_at_ms: self.edited_at_ms,
                    deleted: self.deleted,
                }),
                kind::EDITED => target().map(|(target, target_seq)| EventBody::Edited { target, target_seq })?,
                kind::DELETED => target().map(|(target, target_seq)| EventBody::Deleted { target, target_seq })?,
                kind::JOINED => EventBody::Joined,
                kind::LEFT => EventBody::Left,
                other => return Err(StoreError::Corrupt(format!("event {} is of unknown kind {other}", self.id))),
            };
        Ok(LogEvent {
            seq: to_seq(self.seq),
            id: EventId(self.id),
            at_ms: self.at_ms,
            sender: UserId(self.sender),
            sender_name: self.sender_name.into(),
            messages: self.messages.cast_unsigned(),
            own: self.own.cast_unsigned(),
            body,
        })
    }
}

/// A row of `log_heads`, moved on to the newest event. The default is that of a conversation never written to.
#[derive(Queryable, Selectable, Clone, Copy)]
#[diesel(table_name = log_heads)]
pub(super) struct HeadRow {
    /// The head that is stored in the row. Totals as stored are those at this seq.
    #[diesel(column_name = head)]
    pub checkpoint: i64,
    pub term: i64,
    pub head: i64,
    pub messages: i64,
    pub oldest_seq: i64,
    /// `None` when no event is stored.
    pub oldest_at_ms: Option<i64>,
    pub last_id: i64,
    pub last_at_ms: i64,
}

impl Default for HeadRow {
    fn default() -> Self {
        Self {
            checkpoint: 0,
            term: 0,
            head: 0,
            messages: 0,
            oldest_seq: 1,
            oldest_at_ms: None,
            last_id: 0,
            last_at_ms: 0,
        }
    }
}

impl From<HeadRow> for Head {
    fn from(row: HeadRow) -> Self {
        Self {
            seq: to_seq(row.head),
            messages: row.messages.cast_unsigned(),
            oldest_seq: to_seq(row.oldest_seq),
            last_id: EventId(row.last_id),
            last_at_ms: row.last_at_ms,
        }
    }
}

/// Reads a stored seq.
pub(super) fn to_seq(stored: i64) -> Seq {
    Seq(stored.cast_unsigned())
}

/// Writes a seq; positions that no log can reach become the largest one.
pub(super) fn from_seq(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Returns the head of a conversation; `None` when it was never written to.
pub(super) fn head(conn: &mut SqliteConnection, conversation: ConversationId) -> StoreResult<Option<HeadRow>> {
    let Some(stored) = checkpoint(conn, conversation)? else {
        return Ok(None);
    };
    // `get_result` reads one row; `first` would bind a limit, see `statement!`.
    let newest: Option<(i64, i64, i64, i64)> = events::table
        .filter(events::conversation.eq(conversation.0))
        .filter(events::seq.gt(stored.checkpoint))
        .order(events::seq.desc())
        .select((events::seq, events::messages, events::id, events::at_ms))
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    Ok(Some(newest.map_or(stored, |(head, messages, last_id, last_at_ms)| HeadRow {
        head,
        messages,
        last_id,
        last_at_ms,
        ..stored
    })))
}

/// Returns the head as it was at the checkpoint. Its term and its oldest event are those of now.
pub(super) fn checkpoint(conn: &mut SqliteConnection, conversation: ConversationId) -> StoreResult<Option<HeadRow>> {
    log_heads::table
        .filter(log_heads::conversation.eq(conversation.0))
        .select(HeadRow::as_select())
        .get_result(conn)
        .optional()
        .map_err(fault)
}

/// Returns the row at this seq.
pub(super) fn event(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    seq: Seq,
) -> StoreResult<Option<EventRow>> {
    events::table
        .filter(events::conversation.eq(conversation.0))
        .filter(events::seq.eq(from_seq(seq)))
        .select(EventRow::as_select())
        .get_result(conn)
        .optional()
        .map_err(fault)
}

/// Returns how many messages the user has sent in the conversation, whose checkpoint is this.
pub(super) fn own_total(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    checkpoint: i64,
    user: UserId,
) -> StoreResult<u64> {
    // Any event of theirs has the total, also one that doesn't count.
    let since: Option<i64> = events::table
        .filter(events::conversation.eq(conversation.0))
        .filter(events::seq.gt(checkpoint))
        .filter(events::sender.eq(user.0))
        .order(events::seq.desc())
        .select(events::own)
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    if let Some(own) = since {
        return Ok(own.cast_unsigned());
    }
    let own: Option<i64> = own_totals::table
        .filter(own_totals::conversation.eq(conversation.0))
        .filter(own_totals::sender.eq(user.0))
        .select(own_totals::own)
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    Ok(own.unwrap_or(0).cast_unsigned())
}
