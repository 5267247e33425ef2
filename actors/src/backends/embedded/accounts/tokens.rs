//! Refresh tokens and revoked access tokens.

use chinwag_schema::{
    ids::UserId,
    tables::sqlite::{refresh_tokens, revoked_tokens},
};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

use super::super::sql::fault;
use crate::ports::{
    StoreResult,
    account_store::{RefreshToken, Rotation},
};

pub(super) fn add_refresh(conn: &mut SqliteConnection, token: &RefreshToken) -> StoreResult<()> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::hash.eq(token.hash.as_slice()),
            refresh_tokens::family.eq(token.family),
            refresh_tokens::user.eq(token.user.0),
            refresh_tokens::expires_at_ms.eq(token.expires_at_ms),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

/// A spent token isn't removed but marked, so that its second use gives the thief, or the robbed, away.
pub(super) fn rotate(
    conn: &mut SqliteConnection,
    old: &[u8; 32],
    new_hash: &[u8; 32],
    new_expires_at_ms: i64,
    now_ms: i64,
) -> StoreResult<Rotation> {
    let found: Option<(i64, i64, i64, bool)> = refresh_tokens::table
        .filter(refresh_tokens::hash.eq(old.as_slice()))
        .select((refresh_tokens::family, refresh_tokens::user, refresh_tokens::expires_at_ms, refresh_tokens::spent))
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    let Some((family, user, expires_at_ms, spent)) = found else {
        return Ok(Rotation::Refused);
    };
    if expires_at_ms <= now_ms {
        return Ok(Rotation::Refused);
    }
    let user = UserId(user);
    if spent {
        revoke_family(conn, family)?;
        return Ok(Rotation::Reused { user, family });
    }
    diesel::update(refresh_tokens::table.filter(refresh_tokens::hash.eq(old.as_slice())))
        .set(refresh_tokens::spent.eq(true))
        .execute(conn)
        .map_err(fault)?;
    add_refresh(conn, &RefreshToken { hash: *new_hash, family, user, expires_at_ms: new_expires_at_ms })?;
    Ok(Rotation::Rotated { user, family })
}

pub(super) fn revoke_family(conn: &mut SqliteConnection, family: i64) -> StoreResult<()> {
    diesel::delete(refresh_tokens::table.filter(refresh_tokens::family.eq(family)))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

pub(super) fn revoke_access(conn: &mut SqliteConnection, jti: &str, expires_at_ms: i64) -> StoreResult<()> {
    diesel::insert_or_ignore_into(revoked_tokens::table)
        .values((revoked_tokens::jti.eq(jti), revoked_tokens::expires_at_ms.eq(expires_at_ms)))
        .execute(conn)
        .map(|_| ())
        .map_err(fault)
}

pub(super) fn revoked_access(conn: &mut SqliteConnection, now_ms: i64) -> StoreResult<Vec<(String, i64)>> {
    revoked_tokens::table.filter(revoked_tokens::expires_at_ms.gt(now_ms)).load(conn).map_err(fault)
}

pub(super) fn remove_expired(conn: &mut SqliteConnection, now_ms: i64) -> StoreResult<usize> {
    let refresh = diesel::delete(refresh_tokens::table.filter(refresh_tokens::expires_at_ms.le(now_ms)))
        .execute(conn)
        .map_err(fault)?;
    let access = diesel::delete(revoked_tokens::table.filter(revoked_tokens::expires_at_ms.le(now_ms)))
        .execute(conn)
        .map_err(fault)?;
    Ok(refresh + access)
}
