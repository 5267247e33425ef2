//! Users and what proves them.

use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::{MemberState, User},
    tables::postgres::users,
};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, Selectable, SelectableHelper,
    sql_types::{Array, BigInt, Bool, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;

use super::{
    super::{
        fault::{Outcome, taken},
        statement::statement,
    },
    at_most, can_exist, relaxed,
};
use crate::ports::{StoreError, account_store::Credentials};

type Columns = (BigInt, Text, Nullable<Text>, BigInt, Nullable<BigInt>, Bool);

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    id: i64,
    name: String,
    display_name: Option<String>,
    created_at_ms: i64,
    last_seen_ms: Option<i64>,
    banned: bool,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: UserId(row.id),
            name: row.name.into(),
            display_name: row.display_name,
            created_at_ms: row.created_at_ms,
            last_seen_ms: row.last_seen_ms,
            banned: row.banned,
        }
    }
}

statement! {
    Create<'a> {
        id: i64 as BigInt, name: &'a str as Text, display_name: Option<&'a str> as Nullable<Text>, created_at_ms: i64 as BigInt,
        last_seen_ms: Option<i64> as Nullable<BigInt>, banned: bool as Bool, password_hash: &'a str as Text,
    },
    "INSERT INTO users (id, name, display_name, created_at_ms, last_seen_ms, banned, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
}

statement! {
    ByIds<'a> { ids: &'a [i64] as Array<BigInt> } -> Columns,
    "SELECT id, name, display_name, created_at_ms, last_seen_ms, banned FROM users WHERE id = ANY (?)"
}

const _: () = assert!(MemberState::Leaving as i16 == 2);

statement! {
    /// The user, and the others of the chats on a page of its memberships (the page that `members::memberships` reads).
    Companions { user: i64 as BigInt, after: i64 as BigInt, limit: i64 as BigInt, not: i64 as BigInt, also: i64 as BigInt } -> Columns,
    "WITH page AS (SELECT conversation FROM members WHERE user_id = ? AND conversation > ? AND state <> 2 \
                   ORDER BY conversation LIMIT ?), \
          wanted AS (SELECT CASE WHEN c.user_lo = ? THEN c.user_hi ELSE c.user_lo END AS id \
                     FROM page JOIN conversations c ON c.id = page.conversation WHERE c.kind = 2 \
                     UNION SELECT ?) \
     SELECT u.id, u.name, u.display_name, u.created_at_ms, u.last_seen_ms, u.banned \
     FROM wanted JOIN users u ON u.id = wanted.id"
}

statement! {
    SetPassword<'a> { password_hash: &'a str as Text, at_ms: i64 as BigInt, user: i64 as BigInt },
    "UPDATE users SET password_hash = ?, tokens_valid_from_ms = greatest(tokens_valid_from_ms, ?) WHERE id = ?"
}

statement! {
    SetDisplayName<'a> { display_name: Option<&'a str> as Nullable<Text>, user: i64 as BigInt },
    "UPDATE users SET display_name = ? WHERE id = ?"
}

statement! {
    Ban { at_ms: i64 as BigInt, user: i64 as BigInt },
    "UPDATE users SET banned = TRUE, tokens_valid_from_ms = greatest(tokens_valid_from_ms, ?) WHERE id = ?"
}

statement! {
    Unban { user: i64 as BigInt },
    "UPDATE users SET banned = FALSE WHERE id = ?"
}

statement! {
    RemoveRefreshTokens { user: i64 as BigInt },
    "DELETE FROM refresh_tokens WHERE user_id = ?"
}

statement! {
    /// Locks the rows in the order of their ids, so that two of these never wait for each other.
    SetLastSeen<'a> { users: &'a [i64] as Array<BigInt>, at_ms: &'a [i64] as Array<BigInt> },
    concat!(
        "WITH relaxed AS MATERIALIZED (", relaxed!(), "), \
              seen AS (SELECT u.id, new.at_ms FROM unnest(?, ?) AS new (id, at_ms) JOIN users u ON u.id = new.id \
                       WHERE u.last_seen_ms IS NULL OR u.last_seen_ms < new.at_ms ORDER BY u.id FOR NO KEY UPDATE OF u) \
         UPDATE users u SET last_seen_ms = greatest(u.last_seen_ms, seen.at_ms) FROM seen, relaxed WHERE u.id = seen.id"
    )
}

statement! {
    /// The second condition is what lets the partial index serve.
    Revoked { since_ms: i64 as BigInt } -> (BigInt, BigInt),
    "SELECT id, tokens_valid_from_ms FROM users WHERE tokens_valid_from_ms > ? AND tokens_valid_from_ms > 0"
}

pub(super) async fn create(mut db: &AsyncPgConnection, user: &User, password_hash: &str) -> Outcome<()> {
    let created = Create {
        id: user.id.0,
        name: &user.name,
        display_name: user.display_name.as_deref(),
        created_at_ms: user.created_at_ms,
        last_seen_ms: user.last_seen_ms,
        banned: user.banned,
        password_hash,
    };
    created.execute(&mut db).await.map(|_| ()).map_err(taken)
}

pub(super) async fn credentials(mut db: &AsyncPgConnection, name: &str) -> Outcome<Option<Credentials>> {
    if !can_exist(name) {
        return Ok(None);
    }
    let found: Option<(UserRow, String, i64)> = users::table
        .filter(users::name.eq(name))
        .select((UserRow::as_select(), users::password_hash, users::tokens_valid_from_ms))
        .get_result(&mut db)
        .await
        .optional()?;
    Ok(found.map(|(user, password_hash, tokens_valid_from_ms)| Credentials {
        user: user.into(),
        password_hash,
        tokens_valid_from_ms,
    }))
}

pub(super) async fn by_name(mut db: &AsyncPgConnection, name: &str) -> Outcome<Option<User>> {
    if !can_exist(name) {
        return Ok(None);
    }
    let query = users::table.filter(users::name.eq(name)).select(UserRow::as_select());
    Ok(query.get_result(&mut db).await.optional()?.map(User::from))
}

pub(super) async fn by_ids(mut db: &AsyncPgConnection, ids: &[i64]) -> Outcome<Vec<User>> {
    let found: Vec<UserRow> = ByIds { ids }.load(&mut db).await?;
    Ok(found.into_iter().map(User::from).collect())
}

pub(super) async fn list(mut db: &AsyncPgConnection, after: UserId, limit: usize) -> Outcome<Vec<User>> {
    let query = users::table
        .filter(users::id.gt(after.0))
        .order(users::id.asc())
        .limit(at_most(limit))
        .select(UserRow::as_select());
    let found: Vec<UserRow> = query.load(&mut db).await?;
    Ok(found.into_iter().map(User::from).collect())
}

pub(super) async fn companions(
    mut db: &AsyncPgConnection,
    user: UserId,
    after: ConversationId,
    limit: usize,
) -> Outcome<Vec<User>> {
    let query = Companions { user: user.0, after: after.0, limit: at_most(limit), not: user.0, also: user.0 };
    let found: Vec<UserRow> = query.load(&mut db).await?;
    Ok(found.into_iter().map(User::from).collect())
}

/// Part of a transaction. The user's row is locked first: a refresh token that is being rotated is there, and removed, or not yet spent.
pub(super) async fn set_password(db: &AsyncPgConnection, user: UserId, password_hash: &str, at_ms: i64) -> Outcome<()> {
    let set = SetPassword { password_hash, at_ms, user: user.0 };
    let remove = RemoveRefreshTokens { user: user.0 };
    let (changed, _) = try_join(set.execute(&mut &*db), remove.execute(&mut &*db)).await?;
    some_changed(changed)
}

pub(super) async fn set_display_name(
    mut db: &AsyncPgConnection,
    user: UserId,
    display_name: Option<&str>,
) -> Outcome<()> {
    some_changed(SetDisplayName { display_name, user: user.0 }.execute(&mut db).await?)
}

/// Part of a transaction, as [`set_password`].
pub(super) async fn ban(db: &AsyncPgConnection, user: UserId, at_ms: i64) -> Outcome<()> {
    let (ban, remove) = (Ban { at_ms, user: user.0 }, RemoveRefreshTokens { user: user.0 });
    let (changed, _) = try_join(ban.execute(&mut &*db), remove.execute(&mut &*db)).await?;
    some_changed(changed)
}

pub(super) async fn unban(mut db: &AsyncPgConnection, user: UserId) -> Outcome<()> {
    some_changed(Unban { user: user.0 }.execute(&mut db).await?)
}

/// Each user once.
pub(super) async fn set_last_seen(mut db: &AsyncPgConnection, seen: &[(i64, i64)]) -> Outcome<()> {
    let (users, at_ms): (Vec<_>, Vec<_>) = seen.iter().copied().unzip();
    SetLastSeen { users: &users, at_ms: &at_ms }.execute(&mut db).await?;
    Ok(())
}

pub(super) async fn revoked(mut db: &AsyncPgConnection, since_ms: i64) -> Outcome<Vec<(UserId, i64)>> {
    let found: Vec<(i64, i64)> = Revoked { since_ms }.load(&mut db).await?;
    Ok(found.into_iter().map(|(user, at_ms)| (UserId(user), at_ms)).collect())
}

/// Turns 'no row changed' into 'no such user'.
fn some_changed(changed: usize) -> Outcome<()> {
    if changed == 0 { Err(StoreError::NotFound.into()) } else { Ok(()) }
}
