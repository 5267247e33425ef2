//! Conversations.

use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::{Conversation, ConversationKind, Member, MemberState, Role},
    tables::postgres::conversations,
};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, Selectable, SelectableHelper,
    sql_types::{BigInt, Nullable, SmallInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;

use super::{
    super::{
        fault::{Outcome, taken},
        statement::statement,
    },
    at_most, can_exist, members,
};
use crate::ports::{StoreError, StoreResult};

type Columns = (
    BigInt,
    SmallInt,
    Nullable<Text>,
    BigInt,
    BigInt,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Text>,
);

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

macro_rules! columns {
    () => {
        "id, kind, name, created_by, created_at_ms, user_lo, name_lo, user_hi, name_hi"
    };
}

// The kind is written into these statements, not bound: the indexes of one kind serve only those whose kind is known when they are
// planned.
const _: () = assert!(ConversationKind::Room as i16 == 0 && ConversationKind::Direct as i16 == 2);

statement! {
    Create<'a> {
        id: i64 as BigInt, kind: i16 as SmallInt, name: Option<&'a str> as Nullable<Text>, created_by: i64 as BigInt,
        created_at_ms: i64 as BigInt,
    },
    "INSERT INTO conversations (id, kind, name, created_by, created_at_ms) VALUES (?, ?, ?, ?, ?)"
}

statement! {
    /// Waits for another one that makes the same chat, and does nothing if that one succeeds.
    CreateDirect<'a> {
        id: i64 as BigInt, created_by: i64 as BigInt, created_at_ms: i64 as BigInt,
        user_lo: i64 as BigInt, name_lo: &'a str as Text, user_hi: i64 as BigInt, name_hi: &'a str as Text,
    },
    "INSERT INTO conversations (id, kind, created_by, created_at_ms, user_lo, name_lo, user_hi, name_hi, member_count) \
     VALUES (?, 2, ?, ?, ?, ?, ?, ?, 2) ON CONFLICT (user_lo, user_hi) WHERE kind = 2 DO NOTHING"
}

statement! {
    DirectBetween { user_lo: i64 as BigInt, user_hi: i64 as BigInt } -> Columns,
    concat!("SELECT ", columns!(), " FROM conversations WHERE kind = 2 AND user_lo = ? AND user_hi = ?")
}

statement! {
    RoomByName<'a> { name: &'a str as Text } -> Columns,
    concat!("SELECT ", columns!(), " FROM conversations WHERE kind = 0 AND name = ?")
}

statement! {
    ListRooms { after: i64 as BigInt, limit: i64 as BigInt } -> Columns,
    concat!("SELECT ", columns!(), " FROM conversations WHERE kind = 0 AND id > ? ORDER BY id LIMIT ?")
}

pub(super) async fn create(mut db: &AsyncPgConnection, conversation: &Conversation) -> Outcome<()> {
    let created = Create {
        id: conversation.id.0,
        kind: conversation.kind as i16,
        name: conversation.name.as_deref(),
        created_by: conversation.created_by.0,
        created_at_ms: conversation.created_at_ms,
    };
    created.execute(&mut db).await.map(|_| ()).map_err(taken)
}

/// Part of a transaction. The pair's unique key decides who makes the chat.
pub(super) async fn open_direct(mut db: &AsyncPgConnection, new: &Conversation) -> Outcome<(Conversation, bool)> {
    let Some([lo, hi]) = &new.pair else {
        return Err(StoreError::Corrupt(format!("chat {} has no two users", new.id)).into());
    };
    let created = CreateDirect {
        id: new.id.0,
        created_by: new.created_by.0,
        created_at_ms: new.created_at_ms,
        user_lo: lo.user.0,
        name_lo: &lo.name,
        user_hi: hi.user.0,
        name_hi: &hi.name,
    };
    if created.execute(&mut db).await.map_err(taken)? == 0 {
        return match direct_between(db, lo.user, hi.user).await? {
            Some(there) => Ok((there, false)),
            None => Err(StoreError::Corrupt(format!("chat {} is and isn't there", new.id)).into()),
        };
    }
    members::check_bound_of(db, new.created_by).await?;
    let (role, state) = (Role::Member, MemberState::Settled);
    try_join(members::insert(db, new.id, lo, role, state), members::insert(db, new.id, hi, role, state)).await?;
    Ok((new.clone(), true))
}

pub(super) async fn direct_between(mut db: &AsyncPgConnection, a: UserId, b: UserId) -> Outcome<Option<Conversation>> {
    found(DirectBetween { user_lo: a.min(b).0, user_hi: a.max(b).0 }.get_result(&mut db).await)
}

pub(super) async fn by_id(mut db: &AsyncPgConnection, id: ConversationId) -> Outcome<Option<Conversation>> {
    let query = conversations::table.filter(conversations::id.eq(id.0)).select(ConversationRow::as_select());
    found(query.get_result(&mut db).await)
}

pub(super) async fn room_by_name(mut db: &AsyncPgConnection, name: &str) -> Outcome<Option<Conversation>> {
    if !can_exist(name) {
        return Ok(None);
    }
    found(RoomByName { name }.get_result(&mut db).await)
}

pub(super) async fn list_rooms(
    mut db: &AsyncPgConnection,
    after: ConversationId,
    limit: usize,
) -> Outcome<Vec<Conversation>> {
    let rows: Vec<ConversationRow> = ListRooms { after: after.0, limit: at_most(limit) }.load(&mut db).await?;
    rows.into_iter().map(|row| Ok(row.into_conversation()?)).collect()
}

fn found(row: diesel::QueryResult<ConversationRow>) -> Outcome<Option<Conversation>> {
    Ok(row.optional()?.map(ConversationRow::into_conversation).transpose()?)
}
