//! Conversations.

use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::{Conversation, ConversationKind, Member, MemberState, Role},
    tables::sqlite::conversations,
};
use diesel::{
    AppearsOnTable, Expression, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, Queryable, RunQueryDsl,
    Selectable, SelectableExpression, SelectableHelper, SqliteConnection,
    expression::ValidGrouping,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::Bool,
    sqlite::Sqlite,
};

use super::{super::sql::fault, members};
use crate::ports::{StoreError, StoreResult, account_store::MemberRow};

#[derive(Queryable, Selectable)]
#[diesel(table_name = conversations)]
pub(super) struct ConversationRow {
    id: i64,
    kind: i16,
    name: Option<String>,
    created_by: i64,
    created_at_ms: i64,
    user_lo: Option<i64>,
    name_lo: Option<String>,
    user_hi: Option<i64>,
    name_hi: Option<String>,
}

impl ConversationRow {
    pub(super) fn into_conversation(self) -> StoreResult<Conversation> {
        let Some(kind) = ConversationKind::from_i16(self.kind) else {
            return Err(StoreError::Corrupt(format!("conversation {} is of unknown kind {}", self.id, self.kind)));
        };
        let member = |user: Option<i64>, name: Option<String>| Some(Member { user: UserId(user?), name: name?.into() });
        let pair = match (member(self.user_lo, self.name_lo), member(self.user_hi, self.name_hi)) {
            (Some(lo), Some(hi)) => Some([lo, hi]),
            _ => None,
        };
        Ok(Conversation {
            id: ConversationId(self.id),
            kind,
            name: self.name.map(Into::into),
            created_by: UserId(self.created_by),
            created_at_ms: self.created_at_ms,
            pair,
        })
    }
}

pub(super) fn create(conn: &mut SqliteConnection, conversation: &Conversation) -> StoreResult<()> {
    let (lo, hi) = match &conversation.pair {
        Some([lo, hi]) => (Some(lo), Some(hi)),
        None => (None, None),
    };
    diesel::insert_into(conversations::table)
        .values((
            conversations::id.eq(conversation.id.0),
            conversations::kind.eq(conversation.kind as i16),
            conversations::name.eq(conversation.name.as_deref()),
            conversations::created_by.eq(conversation.created_by.0),
            conversations::created_at_ms.eq(conversation.created_at_ms),
            conversations::user_lo.eq(lo.map(|member| member.user.0)),
            conversations::name_lo.eq(lo.map(|member| &*member.name)),
            conversations::user_hi.eq(hi.map(|member| member.user.0)),
            conversations::name_hi.eq(hi.map(|member| &*member.name)),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

pub(super) fn open_direct(conn: &mut SqliteConnection, mut new: Conversation) -> StoreResult<(Conversation, bool)> {
    let Some(pair) = &mut new.pair else {
        return Err(StoreError::Corrupt(format!("chat {} has no two users", new.id)));
    };
    pair.sort_by_key(|member| member.user);
    let pair = pair.clone();
    if let Some(there) = direct_between(conn, pair[0].user, pair[1].user)? {
        return Ok((there, false));
    }
    members::check_bound_of(conn, new.created_by)?;
    create(conn, &new)?;
    for member in pair {
        members::insert(conn, new.id, &MemberRow { member, role: Role::Member, state: MemberState::Settled })?;
    }
    Ok((new, true))
}

/// Makes a condition on the kind that is written into the statement, not bound: the indexes of one kind serve only those whose kind is
/// known when they are planned. Unlike [`diesel::dsl::sql`] it leaves the statement to be prepared once.
macro_rules! of_kind {
    ($name:ident, $kind:expr, $sql:literal) => {
        #[derive(Debug, Clone, Copy, QueryId, ValidGrouping)]
        struct $name;

        impl Expression for $name {
            type SqlType = Bool;
        }

        impl QueryFragment<Sqlite> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                const { assert!($kind as i16 == $sql.as_bytes()[$sql.len() - 1] as i16 - b'0' as i16) };
                out.push_sql($sql);
                Ok(())
            }
        }

        impl AppearsOnTable<conversations::table> for $name {}
        impl SelectableExpression<conversations::table> for $name {}
    };
}

of_kind!(IsRoom, ConversationKind::Room, "conversations.kind = 0");
of_kind!(IsDirect, ConversationKind::Direct, "conversations.kind = 2");

pub(super) fn direct_between(conn: &mut SqliteConnection, a: UserId, b: UserId) -> StoreResult<Option<Conversation>> {
    found(
        conversations::table
            .filter(IsDirect)
            .filter(conversations::user_lo.eq(a.min(b).0))
            .filter(conversations::user_hi.eq(a.max(b).0))
            .select(ConversationRow::as_select())
            .get_result(conn),
    )
}

pub(super) fn by_id(conn: &mut SqliteConnection, id: ConversationId) -> StoreResult<Option<Conversation>> {
    found(conversations::table.filter(conversations::id.eq(id.0)).select(ConversationRow::as_select()).get_result(conn))
}

pub(super) fn room_by_name(conn: &mut SqliteConnection, name: &str) -> StoreResult<Option<Conversation>> {
    found(
        conversations::table
            .filter(IsRoom)
            .filter(conversations::name.eq(name))
            .select(ConversationRow::as_select())
            .get_result(conn),
    )
}

pub(super) fn list_rooms(
    conn: &mut SqliteConnection,
    after: ConversationId,
    limit: usize,
) -> StoreResult<Vec<Conversation>> {
    let rows: Vec<ConversationRow> = conversations::table
        .filter(IsRoom)
        .filter(conversations::id.gt(after.0))
        .order(conversations::id.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(ConversationRow::as_select())
        .load(conn)
        .map_err(fault)?;
    rows.into_iter().map(ConversationRow::into_conversation).collect()
}

fn found(row: diesel::QueryResult<ConversationRow>) -> StoreResult<Option<Conversation>> {
    row.optional().map_err(fault)?.map(ConversationRow::into_conversation).transpose()
}
