//! Members and their cursors, which live in the member's row: a cursor that comes late can't outlive the membership.

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits,
    model::{Cursor, Mark, Member, MemberState, Membership, Role},
    tables::sqlite::{conversations, members},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, OptionalExtension, QueryDsl, Queryable, RunQueryDsl,
    Selectable, SelectableHelper, SqliteConnection,
    sql_types::{BigInt, SmallInt},
};

use super::{
    super::sql::{fault, statement},
    conversations::ConversationRow,
};
use crate::ports::{StoreError, StoreResult, account_store::MemberRow};

statement! {
    MoveDelivered {
        seq: i64 as BigInt, messages: i64 as BigInt, own: i64 as BigInt,
        conversation: i64 as BigInt, user: i64 as BigInt, below: i64 as BigInt,
    },
    "UPDATE members SET delivered_seq = ?, delivered_messages = ?, delivered_own = ? \
     WHERE conversation = ? AND user = ? AND delivered_seq < ?"
}

statement! {
    MoveRead {
        seq: i64 as BigInt, messages: i64 as BigInt, own: i64 as BigInt,
        conversation: i64 as BigInt, user: i64 as BigInt, below: i64 as BigInt,
    },
    "UPDATE members SET read_seq = ?, read_messages = ?, read_own = ? \
     WHERE conversation = ? AND user = ? AND read_seq < ?"
}

statement! {
    SetMember { role: i16 as SmallInt, state: i16 as SmallInt, conversation: i64 as BigInt, user: i64 as BigInt },
    "UPDATE members SET role = ?, state = ? WHERE conversation = ? AND user = ?"
}

statement! {
    CountMembers { change: i64 as BigInt, conversation: i64 as BigInt },
    "UPDATE conversations SET member_count = member_count + ? WHERE id = ?"
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = members)]
struct CursorRow {
    delivered_seq: i64,
    delivered_messages: i64,
    delivered_own: i64,
    read_seq: i64,
    read_messages: i64,
    read_own: i64,
}

impl From<CursorRow> for Cursor {
    fn from(row: CursorRow) -> Self {
        let mark = |seq: i64, messages: i64, own: i64| Mark {
            seq: Seq(seq.cast_unsigned()),
            messages: messages.cast_unsigned(),
            own: own.cast_unsigned(),
        };
        Self {
            delivered: mark(row.delivered_seq, row.delivered_messages, row.delivered_own),
            read: mark(row.read_seq, row.read_messages, row.read_own),
        }
    }
}

pub(super) fn put(conn: &mut SqliteConnection, conversation: ConversationId, row: &MemberRow) -> StoreResult<bool> {
    let (role, state) = (row.role as i16, row.state as i16);
    let changed = SetMember { role, state, conversation: conversation.0, user: row.member.user.0 }
        .execute(conn)
        .map_err(fault)?;
    if changed > 0 {
        return Ok(false);
    }
    let count: i64 = conversations::table
        .filter(conversations::id.eq(conversation.0))
        .select(conversations::member_count)
        .get_result(conn)
        .map_err(fault)?;
    let most = limits::conversation::MEMBERS_MAX as u64;
    if count.cast_unsigned() >= most {
        return Err(StoreError::LimitReached(most));
    }
    check_bound_of(conn, row.member.user)?;
    insert(conn, conversation, row)?;
    Ok(true)
}

/// Refuses one more membership of a user that has as many as there may be.
pub(super) fn check_bound_of(conn: &mut SqliteConnection, user: UserId) -> StoreResult<()> {
    let theirs: i64 = members::table.filter(members::user.eq(user.0)).count().get_result(conn).map_err(fault)?;
    let most = limits::user::CONVERSATIONS_MAX as u64;
    if theirs.cast_unsigned() >= most { Err(StoreError::LimitReached(most)) } else { Ok(()) }
}

/// Adds a member that isn't there, without a look at the bounds.
pub(super) fn insert(conn: &mut SqliteConnection, conversation: ConversationId, row: &MemberRow) -> StoreResult<()> {
    diesel::insert_into(members::table)
        .values((
            members::conversation.eq(conversation.0),
            members::user.eq(row.member.user.0),
            members::name.eq(&*row.member.name),
            members::role.eq(row.role as i16),
            members::state.eq(row.state as i16),
        ))
        .execute(conn)
        .map_err(fault)?;
    CountMembers { change: 1, conversation: conversation.0 }.execute(conn).map(|_| ()).map_err(fault)
}

pub(super) fn remove(conn: &mut SqliteConnection, conversation: ConversationId, user: UserId) -> StoreResult<bool> {
    let row = members::table.filter(members::conversation.eq(conversation.0)).filter(members::user.eq(user.0));
    let removed = diesel::delete(row).execute(conn).map_err(fault)?;
    if removed > 0 {
        CountMembers { change: -1, conversation: conversation.0 }.execute(conn).map_err(fault)?;
    }
    Ok(removed > 0)
}

pub(super) fn list(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    after: UserId,
    limit: usize,
) -> StoreResult<Vec<MemberRow>> {
    let rows: Vec<(i64, String, i16, i16)> = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::user.gt(after.0))
        .order(members::user.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select((members::user, members::name, members::role, members::state))
        .load(conn)
        .map_err(fault)?;
    rows.into_iter()
        .map(|(user, name, role, state)| {
            Ok(MemberRow {
                member: Member { user: UserId(user), name: name.into() },
                role: to_role(role)?,
                state: to_state(state)?,
            })
        })
        .collect()
}

pub(super) fn memberships(
    conn: &mut SqliteConnection,
    user: UserId,
    after: ConversationId,
    limit: usize,
) -> StoreResult<Vec<Membership>> {
    let rows: Vec<(ConversationRow, i16, CursorRow)> = members::table
        .inner_join(conversations::table.on(conversations::id.eq(members::conversation)))
        .filter(members::user.eq(user.0))
        .filter(members::conversation.gt(after.0))
        .filter(members::state.ne(MemberState::Leaving as i16))
        .order(members::conversation.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select((ConversationRow::as_select(), members::role, CursorRow::as_select()))
        .load(conn)
        .map_err(fault)?;
    rows.into_iter()
        .map(|(conversation, role, cursor)| {
            Ok(Membership {
                conversation: conversation.into_conversation()?,
                role: to_role(role)?,
                cursor: cursor.into(),
            })
        })
        .collect()
}

/// Moves cursors forward. Those of users that are no members are dropped.
pub(super) fn put_cursors(
    conn: &mut SqliteConnection,
    cursors: &[(ConversationId, UserId, Cursor)],
) -> StoreResult<()> {
    for (conversation, user, Cursor { delivered, read }) in cursors {
        let (conversation, user) = (conversation.0, user.0);
        let stored = |mark: &Mark| (mark.seq.0.cast_signed(), mark.messages.cast_signed(), mark.own.cast_signed());
        if delivered.seq > Seq::ZERO {
            let (seq, messages, own) = stored(delivered);
            MoveDelivered { seq, messages, own, conversation, user, below: seq }.execute(conn).map_err(fault)?;
        }
        if read.seq > Seq::ZERO {
            let (seq, messages, own) = stored(read);
            MoveRead { seq, messages, own, conversation, user, below: seq }.execute(conn).map_err(fault)?;
        }
    }
    Ok(())
}

pub(super) fn cursor(conn: &mut SqliteConnection, conversation: ConversationId, user: UserId) -> StoreResult<Cursor> {
    let row = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::user.eq(user.0))
        .select(CursorRow::as_select())
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    Ok(row.map(Cursor::from).unwrap_or_default())
}

pub(super) fn cursors_of(
    conn: &mut SqliteConnection,
    conversation: ConversationId,
    limit: usize,
) -> StoreResult<Vec<(UserId, Cursor)>> {
    let rows: Vec<(i64, CursorRow)> = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::delivered_seq.gt(0).or(members::read_seq.gt(0)))
        .order(members::user.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select((members::user, CursorRow::as_select()))
        .load(conn)
        .map_err(fault)?;
    Ok(rows.into_iter().map(|(user, row)| (UserId(user), row.into())).collect())
}

fn to_role(stored: i16) -> StoreResult<Role> {
    [Role::Member, Role::Admin]
        .into_iter()
        .find(|role| *role as i16 == stored)
        .ok_or_else(|| StoreError::Corrupt(format!("unknown role {stored}")))
}

fn to_state(stored: i16) -> StoreResult<MemberState> {
    [MemberState::Joining, MemberState::Settled, MemberState::Leaving]
        .into_iter()
        .find(|state| *state as i16 == stored)
        .ok_or_else(|| StoreError::Corrupt(format!("unknown member state {stored}")))
}
