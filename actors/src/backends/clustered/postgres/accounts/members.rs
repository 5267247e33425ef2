//! Members. The bounds hold exactly: joins of one conversation, and of one user, wait for each other by a lock on its row.

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits,
    model::{Member, MemberState, Membership, Role},
    tables::postgres::{conversations, members},
};
use diesel::{
    ExpressionMethods, JoinOnDsl, QueryDsl, SelectableHelper,
    sql_types::{BigInt, SmallInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;

use super::{
    super::{fault::Outcome, statement::statement},
    at_most,
    conversations::ConversationRow,
    cursors::CursorRow,
};
use crate::ports::{StoreError, StoreResult, account_store::MemberRow};

statement! {
    Change { role: i16 as SmallInt, state: i16 as SmallInt, conversation: i64 as BigInt, user: i64 as BigInt },
    "UPDATE members SET role = ?, state = ? WHERE conversation = ? AND user_id = ?"
}

statement! {
    LockConversation { conversation: i64 as BigInt } -> BigInt,
    "SELECT member_count FROM conversations WHERE id = ? FOR NO KEY UPDATE"
}

statement! {
    LockUser { user: i64 as BigInt },
    "SELECT 1 FROM users WHERE id = ? FOR NO KEY UPDATE"
}

statement! {
    CountOf { user: i64 as BigInt } -> BigInt,
    "SELECT count(*) FROM members WHERE user_id = ?"
}

statement! {
    Insert<'a> {
        conversation: i64 as BigInt, user: i64 as BigInt, name: &'a str as Text, role: i16 as SmallInt, state: i16 as SmallInt,
    },
    "INSERT INTO members (conversation, user_id, name, role, state) VALUES (?, ?, ?, ?, ?)"
}

statement! {
    CountOneMore { conversation: i64 as BigInt },
    "UPDATE conversations SET member_count = member_count + 1 WHERE id = ?"
}

statement! {
    /// Locks the conversation before the member, as joining does.
    Remove { conversation: i64 as BigInt, user: i64 as BigInt },
    "WITH locked AS MATERIALIZED (SELECT id FROM conversations WHERE id = ? FOR NO KEY UPDATE), \
          gone AS (DELETE FROM members m USING locked WHERE m.conversation = locked.id AND m.user_id = ? RETURNING m.conversation) \
     UPDATE conversations c SET member_count = c.member_count - 1 FROM gone WHERE c.id = gone.conversation"
}

/// Changes a member that is there; says whether it was.
pub(super) async fn change(mut db: &AsyncPgConnection, conversation: ConversationId, row: &MemberRow) -> Outcome<bool> {
    let (role, state) = (row.role as i16, row.state as i16);
    let changed =
        Change { role, state, conversation: conversation.0, user: row.member.user.0 }.execute(&mut db).await?;
    Ok(changed > 0)
}

/// Adds or changes a member; says whether it was added. Part of a transaction.
pub(super) async fn put(db: &AsyncPgConnection, conversation: ConversationId, row: &MemberRow) -> Outcome<bool> {
    // Sent in one go and run in this order: from the lock on, nobody else adds or changes this member.
    let lock = LockConversation { conversation: conversation.0 };
    let lock = async { Ok(lock.load::<i64>(&mut &*db).await?) };
    let (found, changed) = try_join(lock, change(db, conversation, row)).await?;
    let [count] = found[..] else {
        return Err(StoreError::NotFound.into());
    };
    if changed {
        return Ok(false);
    }
    let most = limits::conversation::MEMBERS_MAX as u64;
    if count.cast_unsigned() >= most {
        return Err(StoreError::LimitReached(most).into());
    }
    check_bound_of(db, row.member.user).await?;
    let count = async { Ok(CountOneMore { conversation: conversation.0 }.execute(&mut &*db).await?) };
    try_join(insert(db, conversation, &row.member, row.role, row.state), count).await?;
    Ok(true)
}

/// Refuses one more membership of a user that has as many as there may be. Until the transaction ends, nobody else adds one.
pub(super) async fn check_bound_of(db: &AsyncPgConnection, user: UserId) -> Outcome<()> {
    let (lock, count) = (LockUser { user: user.0 }, CountOf { user: user.0 });
    let (there, theirs): (usize, i64) = try_join(lock.execute(&mut &*db), count.get_result(&mut &*db)).await?;
    if there == 0 {
        return Err(StoreError::NotFound.into());
    }
    let most = limits::user::CONVERSATIONS_MAX as u64;
    if theirs.cast_unsigned() >= most { Err(StoreError::LimitReached(most).into()) } else { Ok(()) }
}

/// Adds a member that isn't there, without a look at the bounds, and without counting it.
pub(super) async fn insert(
    mut db: &AsyncPgConnection,
    conversation: ConversationId,
    member: &Member,
    role: Role,
    state: MemberState,
) -> Outcome<()> {
    let (role, state) = (role as i16, state as i16);
    let inserted = Insert { conversation: conversation.0, user: member.user.0, name: &member.name, role, state };
    inserted.execute(&mut db).await?;
    Ok(())
}

pub(super) async fn remove(mut db: &AsyncPgConnection, conversation: ConversationId, user: UserId) -> Outcome<bool> {
    let removed = Remove { conversation: conversation.0, user: user.0 }.execute(&mut db).await?;
    Ok(removed > 0)
}

pub(super) async fn list(
    mut db: &AsyncPgConnection,
    conversation: ConversationId,
    after: UserId,
    limit: usize,
) -> Outcome<Vec<MemberRow>> {
    let query = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::user_id.gt(after.0))
        .order(members::user_id.asc())
        .limit(at_most(limit))
        .select((members::user_id, members::name, members::role, members::state));
    let rows: Vec<(i64, String, i16, i16)> = query.load(&mut db).await?;
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

pub(super) async fn memberships(
    mut db: &AsyncPgConnection,
    user: UserId,
    after: ConversationId,
    limit: usize,
) -> Outcome<Vec<Membership>> {
    let query = members::table
        .inner_join(conversations::table.on(conversations::id.eq(members::conversation)))
        .filter(members::user_id.eq(user.0))
        .filter(members::conversation.gt(after.0))
        .filter(members::state.ne(MemberState::Leaving as i16))
        .order(members::conversation.asc())
        .limit(at_most(limit))
        .select((ConversationRow::as_select(), members::role, CursorRow::as_select()));
    let rows: Vec<(ConversationRow, i16, CursorRow)> = query.load(&mut db).await?;
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
