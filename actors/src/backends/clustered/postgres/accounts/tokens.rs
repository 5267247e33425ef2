//! Refresh tokens and revoked access tokens.
//!
//! Whatever adds to or takes from a user's refresh tokens beyond one statement locks the user's row first. Without that, a rotation
//! under way while the family is revoked, or the password changed, would leave a token that nobody revoked.

use chinwag_schema::{ids::UserId, limits::postgres::ROWS_PER_STATEMENT, tables::postgres::revoked_tokens};
use diesel::{
    ExpressionMethods, QueryDsl,
    sql_types::{BigInt, Binary, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;

use super::{
    super::{
        fault::{Outcome, taken},
        statement::statement,
    },
    at_most,
};
use crate::ports::account_store::{RefreshToken, Rotation};

statement! {
    Add<'a> { hash: &'a [u8] as Binary, family: i64 as BigInt, user: i64 as BigInt, expires_at_ms: i64 as BigInt },
    "INSERT INTO refresh_tokens (hash, family, user_id, expires_at_ms) VALUES (?, ?, ?, ?)"
}

statement! {
    LockOwner<'a> { hash: &'a [u8] as Binary },
    "SELECT 1 FROM users WHERE id = (SELECT user_id FROM refresh_tokens WHERE hash = ?) FOR NO KEY UPDATE"
}

statement! {
    LockOwnerOfFamily { family: i64 as BigInt },
    "SELECT 1 FROM users WHERE id = (SELECT user_id FROM refresh_tokens WHERE family = ? LIMIT 1) FOR NO KEY UPDATE"
}

statement! {
    Find<'a> { hash: &'a [u8] as Binary } -> (BigInt, BigInt, BigInt, Bool),
    "SELECT family, user_id, expires_at_ms, spent FROM refresh_tokens WHERE hash = ?"
}

statement! {
    Spend<'a> { hash: &'a [u8] as Binary },
    "UPDATE refresh_tokens SET spent = TRUE WHERE hash = ?"
}

statement! {
    RevokeFamily { family: i64 as BigInt },
    "DELETE FROM refresh_tokens WHERE family = ?"
}

statement! {
    RevokeAccess<'a> { jti: &'a str as Text, expires_at_ms: i64 as BigInt },
    "INSERT INTO revoked_tokens (jti, expires_at_ms) VALUES (?, ?) ON CONFLICT (jti) DO NOTHING"
}

statement! {
    /// Several nodes may do this at once: each takes what no other has locked.
    RemoveExpiredRefresh { now_ms: i64 as BigInt, limit: i64 as BigInt },
    "DELETE FROM refresh_tokens WHERE hash = ANY (ARRAY \
     (SELECT hash FROM refresh_tokens WHERE expires_at_ms <= ? LIMIT ? FOR UPDATE SKIP LOCKED))"
}

statement! {
    RemoveExpiredAccess { now_ms: i64 as BigInt, limit: i64 as BigInt },
    "DELETE FROM revoked_tokens WHERE jti = ANY (ARRAY \
     (SELECT jti FROM revoked_tokens WHERE expires_at_ms <= ? LIMIT ? FOR UPDATE SKIP LOCKED))"
}

pub(super) async fn add_refresh(mut db: &AsyncPgConnection, token: &RefreshToken) -> Outcome<()> {
    let RefreshToken { hash, family, user, expires_at_ms } = token;
    let added = Add { hash, family: *family, user: user.0, expires_at_ms: *expires_at_ms };
    added.execute(&mut db).await.map(|_| ()).map_err(taken)
}

/// Part of a transaction. A spent token isn't removed but marked, so that its second use gives the thief, or the robbed, away.
pub(super) async fn rotate(
    mut db: &AsyncPgConnection,
    old: &[u8; 32],
    new_hash: &[u8; 32],
    new_expires_at_ms: i64,
    now_ms: i64,
) -> Outcome<Rotation> {
    let (_, found) = try_join(
        LockOwner { hash: old }.execute(&mut &*db),
        Find { hash: old }.load::<(i64, i64, i64, bool)>(&mut &*db),
    )
    .await?;
    let [(family, user, expires_at_ms, spent)] = found[..] else {
        return Ok(Rotation::Refused);
    };
    if expires_at_ms <= now_ms {
        return Ok(Rotation::Refused);
    }
    let user = UserId(user);
    if spent {
        RevokeFamily { family }.execute(&mut db).await?;
        return Ok(Rotation::Reused { user, family });
    }
    let new = RefreshToken { hash: *new_hash, family, user, expires_at_ms: new_expires_at_ms };
    let spend = async { Ok(Spend { hash: old }.execute(&mut &*db).await?) };
    try_join(spend, add_refresh(db, &new)).await?;
    Ok(Rotation::Rotated { user, family })
}

/// Part of a transaction.
pub(super) async fn revoke_family(db: &AsyncPgConnection, family: i64) -> Outcome<()> {
    let (lock, revoke) = (LockOwnerOfFamily { family }, RevokeFamily { family });
    try_join(lock.execute(&mut &*db), revoke.execute(&mut &*db)).await?;
    Ok(())
}

pub(super) async fn revoke_access(mut db: &AsyncPgConnection, jti: &str, expires_at_ms: i64) -> Outcome<()> {
    RevokeAccess { jti, expires_at_ms }.execute(&mut db).await?;
    Ok(())
}

pub(super) async fn revoked_access(mut db: &AsyncPgConnection, now_ms: i64) -> Outcome<Vec<(String, i64)>> {
    let query = revoked_tokens::table
        .filter(revoked_tokens::expires_at_ms.gt(now_ms))
        .select((revoked_tokens::jti, revoked_tokens::expires_at_ms));
    Ok(query.load(&mut db).await?)
}

/// Removes some of the expired tokens of each kind; returns how many, and whether there may be more.
pub(super) async fn remove_some_expired(mut db: &AsyncPgConnection, now_ms: i64) -> Outcome<(usize, bool)> {
    let limit = at_most(ROWS_PER_STATEMENT);
    let refresh = RemoveExpiredRefresh { now_ms, limit }.execute(&mut db).await?;
    let access = RemoveExpiredAccess { now_ms, limit }.execute(&mut db).await?;
    Ok((refresh + access, refresh.max(access) >= ROWS_PER_STATEMENT))
}
