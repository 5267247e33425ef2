//! What is revoked, in memory: asked for every request and handshake, so it never waits for the store.
//!
//! Loaded from the store at the start; entries go when the tokens they void would have expired anyway, which bounds them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
};

use super::tokens::Identity;

/// Revoked tokens remembered at once (about 100 bytes each).
const REVOKED_MAX: usize = 1_000_000;

#[derive(Default)]
struct Inner {
    /// Revoked tokens and families, with the time (Unix ms) after which nobody needs the entry.
    keys: HashMap<String, i64>,
    /// Access tokens of this user issued earlier (Unix ms) are void.
    valid_from: HashMap<UserId, i64>,
}

/// Revoked tokens, families and users of this node.
#[derive(Default)]
pub struct Revocations {
    inner: RwLock<Inner>,
}

/// Returns the key under which a whole family is revoked. Its ':' keeps it apart from any `jti`.
pub fn family_key(family: i64) -> String {
    format!("family:{family}")
}

impl Revocations {
    /// Says whether the token of this identity is void.
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        self.covers(identity.user, &identity.jti, identity.family, identity.issued_at_ms)
    }

    /// Says whether a token is void.
    pub fn covers(&self, user: UserId, jti: &str, family: i64, issued_at_ms: i64) -> bool {
        let inner = self.read();
        let user_revoked = inner.valid_from.get(&user).is_some_and(|&from| issued_at_ms < from);
        user_revoked
            || (!inner.keys.is_empty()
                && (inner.keys.contains_key(jti) || inner.keys.contains_key(&family_key(family))))
    }

    /// Says whether this token or family is revoked already.
    pub fn knows(&self, key: &str) -> bool {
        self.read().keys.contains_key(key)
    }

    /// Revokes a token by `jti`, or a family by [`family_key`], until `expires_at_ms`.
    pub fn revoke_key(&self, key: String, expires_at_ms: i64) {
        self.write().keys.insert(key, expires_at_ms);
    }

    /// Voids the access tokens of a user that were issued before `from_ms`.
    pub fn revoke_user(&self, user: UserId, from_ms: i64) {
        let mut inner = self.write();
        let from = inner.valid_from.entry(user).or_insert(from_ms);
        *from = from_ms.max(*from);
    }

    /// Returns the time from which on the user's tokens count; 0 when nothing was revoked.
    pub fn valid_from(&self, user: UserId) -> i64 {
        self.read().valid_from.get(&user).copied().unwrap_or(0)
    }

    /// Says whether another token can be revoked and remembered.
    ///
    /// # Errors
    /// `Unavailable` beyond a million unexpired entries.
    pub fn has_room(&self, now_ms: i64) -> Result<(), ClientError> {
        if self.read().keys.len() < REVOKED_MAX {
            return Ok(());
        }
        self.purge(now_ms, 0);
        if self.read().keys.len() < REVOKED_MAX {
            return Ok(());
        }
        Err(ClientError::new(ErrorCode::Unavailable, "Too many logouts, try again later").retry_after_ms(60_000))
    }

    /// Forgets entries that expired at `now_ms`, and users all of whose voided tokens were issued before `issued_before_ms` (and so
    /// have expired).
    pub fn purge(&self, now_ms: i64, issued_before_ms: i64) {
        let mut inner = self.write();
        inner.keys.retain(|_, expires| *expires > now_ms);
        inner.valid_from.retain(|_, from| *from > issued_before_ms);
    }

    /// Returns how many entries of both kinds are held.
    pub fn len(&self) -> usize {
        let inner = self.read();
        inner.keys.len() + inner.valid_from.len()
    }

    /// Says whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: i64, jti: &str, family: i64, issued_at_ms: i64) -> Identity {
        Identity { user: UserId(user), name: "ann".into(), jti: jti.into(), family, issued_at_ms, expires_at_ms: 9_999 }
    }

    #[test]
    fn tokens_families_and_users_are_revoked_separately() {
        let revocations = Revocations::default();
        revocations.revoke_key("a".into(), 1000);
        revocations.revoke_key(family_key(7), 1000);
        revocations.revoke_user(UserId(2), 500);
        assert!(revocations.is_revoked(&identity(1, "a", 1, 0)));
        assert!(!revocations.is_revoked(&identity(1, "b", 1, 0)));
        assert!(revocations.is_revoked(&identity(1, "c", 7, 0)));
        assert!(revocations.is_revoked(&identity(2, "d", 1, 499)));
        assert!(!revocations.is_revoked(&identity(2, "e", 1, 500)));
    }

    #[test]
    fn a_users_time_only_moves_forward() {
        let revocations = Revocations::default();
        revocations.revoke_user(UserId(2), 500);
        revocations.revoke_user(UserId(2), 400);
        assert_eq!(revocations.valid_from(UserId(2)), 500);
    }

    #[test]
    fn expired_entries_are_forgotten() {
        let revocations = Revocations::default();
        revocations.revoke_key("a".into(), 1000);
        revocations.revoke_key("b".into(), 2000);
        revocations.revoke_user(UserId(2), 500);
        revocations.purge(1000, 400);
        assert_eq!(revocations.len(), 2);
        revocations.purge(2000, 500);
        assert!(revocations.is_empty());
    }
}
