//! [`Accounts`]: everything that proves who somebody is, over the account store.
//!
//! The HTTP routes and the sessions call it; it knows neither. Whoever must act when credentials end (the engine closes sockets)
//! registers as [`Revoked`].

mod admin;
mod elsewhere;
mod login;
mod sessions;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use admin::Ban;
pub use elsewhere::Learnt;

use std::sync::{Arc, PoisonError, RwLock, atomic::AtomicI64};

use chinwag_actors::{
    ports::{StoreError, account_store::AccountStore},
    runtime::Clock,
};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
    model::Name,
};

use super::{
    counts::{Count, Counts},
    passwords::Passwords,
    revocations::{Revocations, family_key},
    secret::Keys,
    throttle::Throttle,
    tickets::Tickets,
    tokens::{Identity, TokenError, Tokens},
};
use crate::config::Config;

/// Texts of the messenger dialect, exact.
pub mod texts {
    pub const BOTH_REQUIRED: &str = "Username and password are required";
    pub const USERNAME_SHORT: &str = "Username must be at least 3 characters long";
    pub const USERNAME_EXISTS: &str = "Username already exists";
    pub const WRONG_CREDENTIALS: &str = "Invalid username or password";
    pub const NO_TOKEN: &str = "No token provided";
    pub const INVALID_TOKEN: &str = "Invalid token";
}

/// Makes the id of a new user.
pub type NewUserId = Box<dyn Fn() -> Result<UserId, StoreError> + Send + Sync>;

/// Why the credentials of a user ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedReason {
    LoggedOut,
    PasswordChanged,
    Banned,
    /// A spent refresh token came again: somebody has a copy.
    RefreshTokenReused,
}

/// Hears when credentials end, after the store and this node's memory know it. Must not block.
pub trait Revoked: Send + Sync {
    /// All sockets of this user must be closed.
    fn user_revoked(&self, user: UserId, reason: RevokedReason);
    /// Sockets opened with this access token must be closed. After a logout [`Self::user_revoked`] follows.
    fn token_revoked(&self, jti: &str);
}

/// What a login gives.
#[derive(Clone)]
pub struct Session {
    pub identity: Identity,
    pub access_token: String,
    pub refresh_token: String,
}

/// Accounts and their credentials, on one node.
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    clock: Arc<dyn Clock>,
    new_user_id: NewUserId,
    passwords: Passwords,
    tokens: Tokens,
    refresh_ttl_ms: i64,
    tickets: Tickets,
    /// Other nodes take our tickets.
    clustered: bool,
    revocations: Revocations,
    /// When the store was last asked what is revoked.
    learnt_until_ms: AtomicI64,
    throttle: Throttle,
    counts: Counts,
    revoked: RwLock<Vec<Arc<dyn Revoked>>>,
}

impl Accounts {
    /// Starts the hashing threads and loads what is revoked.
    ///
    /// # Errors
    /// When a thread can't be started or the store doesn't answer.
    pub async fn start(
        config: &Config,
        keys: &Keys,
        store: Arc<dyn AccountStore>,
        clock: Arc<dyn Clock>,
        new_user_id: NewUserId,
    ) -> anyhow::Result<Self> {
        let accounts = Self {
            passwords: Passwords::start(config.password_hash_threads, config.password_hash_queue)?,
            tokens: Tokens::new(keys, config.access_token_ttl),
            refresh_ttl_ms: i64::try_from(config.refresh_token_ttl.as_millis()).unwrap_or(i64::MAX),
            tickets: Tickets::default(),
            clustered: config.cluster.is_some(),
            revocations: Revocations::default(),
            learnt_until_ms: AtomicI64::new(0),
            throttle: Throttle::new(&config.rates, !config.unlimited),
            counts: Counts::default(),
            revoked: RwLock::default(),
            store,
            clock,
            new_user_id,
        };
        accounts.learn_revocations().await?;
        Ok(accounts)
    }

    /// Returns the earliest time of issue of a token that has not expired.
    fn oldest_issue_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.access_ttl_ms())
    }

    fn access_ttl_ms(&self) -> i64 {
        i64::try_from(self.tokens.ttl().as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns how long an access token lives, seconds.
    pub fn access_ttl_s(&self) -> u64 {
        self.tokens.ttl().as_secs()
    }

    /// Registers somebody who must hear of ended credentials.
    pub fn on_revoked(&self, listener: Arc<dyn Revoked>) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    fn tell_revoked(&self, tell: impl Fn(&dyn Revoked)) {
        for listener in self.revoked.read().unwrap_or_else(PoisonError::into_inner).iter() {
            tell(&**listener);
        }
    }

    /// Says who an access token belongs to. Needs no store: microseconds.
    ///
    /// # Errors
    /// When it isn't ours, not at this time, or revoked.
    pub fn verify_token(&self, token: &str) -> Result<Identity, TokenError> {
        let identity = self.tokens.verify(token, self.clock.unix_ms())?;
        if self.revocations.is_revoked(&identity) { Err(TokenError::Revoked) } else { Ok(identity) }
    }

    /// Says whether an identity proven earlier still holds (not expired, not revoked).
    pub fn still_valid(&self, identity: &Identity) -> bool {
        self.clock.unix_ms() < identity.expires_at_ms && !self.revocations.is_revoked(identity)
    }

    /// Says whether a token verified earlier is revoked now.
    pub fn is_revoked(&self, user: UserId, jti: &str, family: i64, issued_at_ms: i64) -> bool {
        self.revocations.covers(user, jti, family, issued_at_ms)
    }

    /// Returns the rates of addresses, for whoever accepts sockets.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Returns how often what was asked and how it ended: for metrics.
    pub fn counts(&self) -> Vec<Count> {
        self.counts.all()
    }

    /// Returns how many passwords wait to be hashed or are being hashed.
    pub fn passwords_waiting(&self) -> usize {
        self.passwords.waiting()
    }

    /// Removes expired tokens from the store and from memory; to be called about once an hour.
    ///
    /// # Errors
    /// When the store doesn't answer.
    pub async fn remove_expired(&self) -> Result<usize, StoreError> {
        let now_ms = self.clock.unix_ms();
        self.revocations.purge(now_ms, self.oldest_issue_ms(now_ms));
        self.store.remove_expired_tokens(now_ms).await
    }

    /// Issues tokens as of `at_ms`, the time at which the login *began*: whatever is revoked meanwhile voids them.
    fn issue(&self, user: UserId, name: &Name, family: i64, at_ms: i64) -> (String, Identity) {
        // Never before the last revocation, though the wall clock may have stepped back.
        self.tokens.issue(user, name, family, at_ms.max(self.revocations.valid_from(user)))
    }
}

/// Maps a store's failure to what a client may know; defects are logged here.
pub(crate) fn store_failed(error: StoreError) -> ClientError {
    match error {
        StoreError::Unavailable(why) => {
            tracing::warn!(%why, "account store unavailable");
            ClientError::unavailable("storage")
        }
        StoreError::NotFound => ClientError::new(ErrorCode::NotFound, "Not found"),
        StoreError::AlreadyExists => {
            ClientError::new(ErrorCode::AlreadyExists, texts::USERNAME_EXISTS).field("username")
        }
        StoreError::LimitReached(limit) => ClientError::new(ErrorCode::LimitReached, "Limit reached").limit(limit),
        error @ (StoreError::Fenced | StoreError::Corrupt(_)) => {
            tracing::error!(%error, "account store failed");
            ClientError::new(ErrorCode::Internal, "Internal server error").retry_after_ms(1000)
        }
    }
}
