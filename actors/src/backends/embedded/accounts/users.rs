//! Users and what proves them.

use chinwag_schema::{
    ids::UserId,
    model::User,
    tables::sqlite::{refresh_tokens, users},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper, SqliteConnection,
};

use super::super::sql::fault;
use crate::ports::{StoreError, StoreResult, account_store::Credentials};

/// Ids looked up in one statement: SQLite's parameters are limited, and the text of each length is cached.
const IDS_PER_STATEMENT: usize = 100;

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

pub(super) fn create(conn: &mut SqliteConnection, user: &User, password_hash: &str) -> StoreResult<()> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(user.id.0),
            users::name.eq(&*user.name),
            users::display_name.eq(user.display_name.as_deref()),
            users::created_at_ms.eq(user.created_at_ms),
            users::last_seen_ms.eq(user.last_seen_ms),
            users::banned.eq(user.banned),
            users::password_hash.eq(password_hash),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

pub(super) fn credentials(conn: &mut SqliteConnection, name: &str) -> StoreResult<Option<Credentials>> {
    let found: Option<(UserRow, String, i64)> = users::table
        .filter(users::name.eq(name))
        .select((UserRow::as_select(), users::password_hash, users::tokens_valid_from_ms))
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    Ok(found.map(|(user, password_hash, tokens_valid_from_ms)| Credentials {
        user: user.into(),
        password_hash,
        tokens_valid_from_ms,
    }))
}

pub(super) fn by_name(conn: &mut SqliteConnection, name: &str) -> StoreResult<Option<User>> {
    let found = users::table.filter(users::name.eq(name)).select(UserRow::as_select()).get_result(conn).optional();
    Ok(found.map_err(fault)?.map(User::from))
}

pub(super) fn by_ids(conn: &mut SqliteConnection, ids: &[UserId]) -> StoreResult<Vec<User>> {
    let mut all = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_PER_STATEMENT) {
        let found: Vec<UserRow> = users::table
            .filter(users::id.eq_any(some.iter().map(|id| id.0)))
            .select(UserRow::as_select())
            .load(conn)
            .map_err(fault)?;
        all.extend(found.into_iter().map(User::from));
    }
    Ok(all)
}

pub(super) fn list(conn: &mut SqliteConnection, after: UserId, limit: usize) -> StoreResult<Vec<User>> {
    let found: Vec<UserRow> = users::table
        .filter(users::id.gt(after.0))
        .order(users::id.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(UserRow::as_select())
        .load(conn)
        .map_err(fault)?;
    Ok(found.into_iter().map(User::from).collect())
}

pub(super) fn set_password(
    conn: &mut SqliteConnection,
    user: UserId,
    password_hash: &str,
    at_ms: i64,
) -> StoreResult<()> {
    let changed = diesel::update(users::table.filter(users::id.eq(user.0)))
        .set(users::password_hash.eq(password_hash))
        .execute(conn);
    some_changed(changed)?;
    revoke(conn, user, at_ms)
}

pub(super) fn set_display_name(
    conn: &mut SqliteConnection,
    user: UserId,
    display_name: Option<&str>,
) -> StoreResult<()> {
    let changed = diesel::update(users::table.filter(users::id.eq(user.0)))
        .set(users::display_name.eq(display_name))
        .execute(conn);
    some_changed(changed)
}

pub(super) fn set_banned(conn: &mut SqliteConnection, user: UserId, banned: bool, at_ms: i64) -> StoreResult<()> {
    let changed = diesel::update(users::table.filter(users::id.eq(user.0))).set(users::banned.eq(banned)).execute(conn);
    some_changed(changed)?;
    if banned { revoke(conn, user, at_ms) } else { Ok(()) }
}

/// Voids all tokens of a user that were issued before `at_ms`.
fn revoke(conn: &mut SqliteConnection, user: UserId, at_ms: i64) -> StoreResult<()> {
    diesel::update(users::table.filter(users::id.eq(user.0)).filter(users::tokens_valid_from_ms.lt(at_ms)))
        .set(users::tokens_valid_from_ms.eq(at_ms))
        .execute(conn)
        .map_err(fault)?;
    diesel::delete(refresh_tokens::table.filter(refresh_tokens::user.eq(user.0)))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

pub(super) fn set_last_seen(conn: &mut SqliteConnection, seen: &[(UserId, i64)]) -> StoreResult<()> {
    for (user, at_ms) in seen {
        let earlier = users::last_seen_ms.is_null().or(users::last_seen_ms.lt(at_ms));
        diesel::update(users::table.filter(users::id.eq(user.0)).filter(earlier))
            .set(users::last_seen_ms.eq(at_ms))
            .execute(conn)
            .map_err(fault)?;
    }
    Ok(())
}

pub(super) fn revoked(conn: &mut SqliteConnection, since_ms: i64) -> StoreResult<Vec<(UserId, i64)>> {
    // The second condition is what lets the partial index serve.
    let found: Vec<(i64, i64)> = users::table
        .filter(users::tokens_valid_from_ms.gt(since_ms))
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>("tokens_valid_from_ms > 0"))
        .select((users::id, users::tokens_valid_from_ms))
        .load(conn)
        .map_err(fault)?;
    Ok(found.into_iter().map(|(user, at_ms)| (UserId(user), at_ms)).collect())
}

/// Turns 'no row changed' into 'no such user'.
fn some_changed(changed: diesel::QueryResult<usize>) -> StoreResult<()> {
    match changed.map_err(fault)? {
        0 => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}
