//! Register, login, password change: what needs a password.

use chinwag_actors::{
    ports::{
        StoreError,
        account_store::{Credentials, RefreshToken},
    },
    protection::Wait,
};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
    limits::text::{ACCOUNT_NAME_MAX_CHARS, ACCOUNT_NAME_MIN_CHARS},
    model::User,
    names,
};
use tokio::time::Instant;

use super::{Accounts, RevokedReason, Session, store_failed, texts};
use crate::{
    auth::{counts::Operation, passwords, refresh, tokens::Identity},
    http::client_addr::ClientAddr,
};

impl Accounts {
    /// Creates an account and returns it. The name is trimmed and composed (NFC).
    ///
    /// # Errors
    /// `BadRequest`/`TooLarge` naming the field, `AlreadyExists`, `RateLimited` per address, `Unavailable`.
    pub async fn register(&self, name: &str, password: &str, from: ClientAddr) -> Result<User, ClientError> {
        self.counts.ended(Operation::Register, self.try_register(name, password, from).await)
    }

    async fn try_register(&self, name: &str, password: &str, from: ClientAddr) -> Result<User, ClientError> {
        let name = new_name(name, password)?;
        self.throttle.register(from, self.now()).map_err(|wait| rate_limited("Too many registrations", wait))?;
        if self.store.user_by_name(&name).await.map_err(store_failed)?.is_some() {
            return Err(store_failed(StoreError::AlreadyExists));
        }
        let hash = self.passwords.hash(password).await?;
        self.create(&name, None, &hash).await
    }

    /// Stores a new account under a checked name.
    pub(super) async fn create(
        &self,
        name: &str,
        display_name: Option<String>,
        password_hash: &str,
    ) -> Result<User, ClientError> {
        let user = User {
            id: (self.new_user_id)().map_err(store_failed)?,
            name: name.into(),
            display_name,
            created_at_ms: self.clock.unix_ms(),
            last_seen_ms: None,
            banned: false,
        };
        self.store.create_user(&user, password_hash).await.map_err(store_failed)?;
        Ok(user)
    }

    /// Logs in with a password.
    ///
    /// # Errors
    /// `Unauthorized` with the same text for an unknown name, a wrong password and a ban; `BadRequest` when something is missing;
    /// `RateLimited`; `Unavailable`.
    pub async fn login(&self, name: &str, password: &str, from: ClientAddr) -> Result<Session, ClientError> {
        self.counts.ended(Operation::Login, self.try_login(name, password, from).await)
    }

    async fn try_login(&self, name: &str, password: &str, from: ClientAddr) -> Result<Session, ClientError> {
        let began_ms = self.clock.unix_ms();
        let credentials = self.check_password(name, password, from).await?;
        self.open_session(&credentials, began_ms).await
    }

    /// Checks a password without opening a session (rooms dialect: `auth` with a password). The identity holds for one access
    /// token's life.
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn authenticate(&self, name: &str, password: &str, from: ClientAddr) -> Result<Identity, ClientError> {
        self.counts.ended(Operation::Login, self.try_authenticate(name, password, from).await)
    }

    async fn try_authenticate(&self, name: &str, password: &str, from: ClientAddr) -> Result<Identity, ClientError> {
        let began_ms = self.clock.unix_ms();
        let credentials = self.check_password(name, password, from).await?;
        let (_, identity) = self.issue(credentials.user.id, &credentials.user.name, refresh::new_family(), began_ms);
        self.still_current(&credentials).await?;
        Ok(identity)
    }

    /// Changes a password: all tokens and sockets of the user end; the caller gets new tokens.
    ///
    /// # Errors
    /// As [`Self::login`], with `Forbidden` for a wrong current password; `BadRequest`/`TooLarge` for an unfit new one.
    pub async fn change_password(
        &self,
        identity: &Identity,
        current: &str,
        new: &str,
        from: ClientAddr,
    ) -> Result<Session, ClientError> {
        let result = self.try_change_password(identity, current, new, from).await;
        self.counts.ended(Operation::ChangePassword, result)
    }

    async fn try_change_password(
        &self,
        identity: &Identity,
        current: &str,
        new: &str,
        from: ClientAddr,
    ) -> Result<Session, ClientError> {
        passwords::check_new(new, "new_password")?;
        let wrong = |mut error: ClientError| {
            if error.code == ErrorCode::Unauthorized {
                error = ClientError::new(ErrorCode::Forbidden, "Current password is wrong").field("current_password");
            }
            error
        };
        self.check_password(&identity.name, current, from).await.map_err(wrong)?;
        let hash = self.passwords.hash(new).await?;
        self.replace_password(identity.user, &hash).await?;
        let began_ms = self.clock.unix_ms();
        let credentials = self.credentials(&identity.name).await?.ok_or_else(wrong_credentials)?;
        self.open_session(&credentials, began_ms).await
    }

    /// Sets a password hash, which voids everything issued before.
    pub(super) async fn replace_password(&self, user: UserId, hash: &str) -> Result<(), ClientError> {
        let from_ms = self.revocation_time(user);
        self.store.set_password(user, hash, from_ms).await.map_err(store_failed)?;
        self.end_user(user, from_ms, RevokedReason::PasswordChanged);
        Ok(())
    }

    /// Returns a time after that of every token issued to the user so far.
    pub(super) fn revocation_time(&self, user: UserId) -> i64 {
        self.clock.unix_ms().max(self.revocations.valid_from(user)).saturating_add(1)
    }

    /// Voids in memory what the store has voided as of `from_ms`, and whatever was issued while it wrote.
    pub(super) fn end_user(&self, user: UserId, from_ms: i64, reason: RevokedReason) {
        self.revocations.revoke_user(user, from_ms.max(self.revocation_time(user)));
        self.tell_revoked(|listener| listener.user_revoked(user, reason));
    }

    async fn check_password(&self, name: &str, password: &str, from: ClientAddr) -> Result<Credentials, ClientError> {
        if name.trim().is_empty() || password.is_empty() {
            let field = if name.trim().is_empty() { "username" } else { "password" };
            return Err(ClientError::new(ErrorCode::BadRequest, texts::BOTH_REQUIRED).field(field));
        }
        passwords::check_length(password, "password")?;
        // A name that can't be one is treated as one that nobody has: it takes as long and gets the same answer.
        let name = names::account_name(name).unwrap_or_default();
        let attempt = self.throttle.login(&name, from, self.now());
        let attempt = attempt.map_err(|wait| rate_limited("Too many attempts", wait))?;
        let found = match self.credentials(&name).await {
            Ok(found) => found,
            Err(error) => {
                attempt.cancelled();
                return Err(error);
            }
        };
        let hash = found.as_ref().map(|credentials| credentials.password_hash.as_str());
        match (self.passwords.verify(password, hash).await, found) {
            (Ok(true), Some(credentials)) if !credentials.user.banned => {
                attempt.succeeded();
                Ok(credentials)
            }
            (Ok(_), _) => {
                attempt.failed();
                Err(wrong_credentials())
            }
            (Err(error), _) => {
                attempt.cancelled();
                Err(error)
            }
        }
    }

    async fn credentials(&self, name: &str) -> Result<Option<Credentials>, ClientError> {
        self.store.credentials(name).await.map_err(store_failed)
    }

    async fn open_session(&self, credentials: &Credentials, began_ms: i64) -> Result<Session, ClientError> {
        let user = &credentials.user;
        let (family, refresh) = (refresh::new_family(), refresh::generate());
        let at_ms = began_ms.max(credentials.tokens_valid_from_ms);
        let (access_token, identity) = self.issue(user.id, &user.name, family, at_ms);
        let row = RefreshToken {
            hash: refresh.hash,
            family,
            user: user.id,
            expires_at_ms: self.clock.unix_ms().saturating_add(self.refresh_ttl_ms),
        };
        self.store.add_refresh_token(&row).await.map_err(store_failed)?;
        // A ban or password change that came before the row was added didn't revoke it; one that comes later does.
        if let Err(error) = self.still_current(credentials).await {
            self.store.revoke_refresh_family(family).await.map_err(store_failed)?;
            return Err(error);
        }
        Ok(Session { identity, access_token, refresh_token: refresh.text })
    }

    async fn still_current(&self, credentials: &Credentials) -> Result<(), ClientError> {
        match self.credentials(&credentials.user.name).await? {
            Some(now)
                if now.tokens_valid_from_ms == credentials.tokens_valid_from_ms
                    && now.user.id == credentials.user.id
                    && !now.user.banned =>
            {
                Ok(())
            }
            _ => Err(wrong_credentials()),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Checks name and password of a new account; returns the name as stored.
pub(super) fn new_name(name: &str, password: &str) -> Result<String, ClientError> {
    if name.trim().is_empty() || password.is_empty() {
        let field = if name.trim().is_empty() { "username" } else { "password" };
        return Err(ClientError::new(ErrorCode::BadRequest, texts::BOTH_REQUIRED).field(field));
    }
    let bad = |text: &str, limit| ClientError::new(ErrorCode::BadRequest, text).field("username").limit(limit);
    let checked = names::account_name(name).map_err(|wrong| match name.trim().chars().count() {
        0..ACCOUNT_NAME_MIN_CHARS => bad(texts::USERNAME_SHORT, ACCOUNT_NAME_MIN_CHARS as u64),
        _ => bad(&wrong.to_string(), ACCOUNT_NAME_MAX_CHARS as u64),
    })?;
    passwords::check_new(password, "password")?;
    Ok(checked)
}

pub(super) fn wrong_credentials() -> ClientError {
    ClientError::new(ErrorCode::Unauthorized, texts::WRONG_CREDENTIALS)
}

fn rate_limited(what: &str, wait: Wait) -> ClientError {
    ClientError::new(ErrorCode::RateLimited, format!("{what}, retry in {} s", wait.as_s())).retry_after_ms(wait.as_ms())
}
