//! Refresh, logout, tickets: what needs a token only.

use chinwag_actors::ports::account_store::Rotation;
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
    model::User,
};

use super::{Accounts, RevokedReason, Session, family_key, store_failed, texts};
use crate::auth::{counts::Operation, refresh, tickets::TICKET_TTL, tokens::Identity};

impl Accounts {
    /// Replaces a refresh token by new tokens. No password is hashed here: this is the path of a reconnect storm.
    ///
    /// # Errors
    /// `Unauthorized` for an unknown, expired or spent token (a spent one revokes its whole family), `Unavailable`.
    pub async fn refresh(&self, token: &str) -> Result<Session, ClientError> {
        self.counts.ended(Operation::Refresh, self.try_refresh(token).await)
    }

    async fn try_refresh(&self, token: &str) -> Result<Session, ClientError> {
        let invalid = || ClientError::new(ErrorCode::Unauthorized, "Invalid refresh token").field("refresh_token");
        let began_ms = self.clock.unix_ms();
        let old = refresh::hash_of(token).ok_or_else(invalid)?;
        let new = refresh::generate();
        let expires_at_ms = began_ms.saturating_add(self.refresh_ttl_ms);
        let rotation = self.store.rotate_refresh_token(&old, new.hash, expires_at_ms, began_ms).await;
        match rotation.map_err(store_failed)? {
            Rotation::Rotated { user, family } => {
                let user = self.user(user).await?.filter(|user| !user.banned).ok_or_else(invalid)?;
                let (access_token, identity) = self.issue(user.id, &user.name, family, began_ms);
                Ok(Session { identity, access_token, refresh_token: new.text })
            }
            Rotation::Reused { user, family } => {
                tracing::warn!(%user, "a spent refresh token came again: its family is revoked");
                self.revoke_family_tokens(family).await?;
                self.tell_revoked(|listener| listener.user_revoked(user, RevokedReason::RefreshTokenReused));
                Err(invalid())
            }
            Rotation::Refused => Err(invalid()),
        }
    }

    /// Ends the login that a token belongs to: the token, its successors and its refresh tokens.
    ///
    /// # Errors
    /// `Unavailable`: then nothing is known to be revoked, and the call can be repeated.
    pub async fn logout(&self, identity: &Identity) -> Result<(), ClientError> {
        self.counts.ended(Operation::Logout, self.try_logout(identity).await)
    }

    async fn try_logout(&self, identity: &Identity) -> Result<(), ClientError> {
        self.store.revoke_refresh_family(identity.family).await.map_err(store_failed)?;
        self.store.revoke_access_token(&identity.jti, identity.expires_at_ms).await.map_err(store_failed)?;
        self.revoke_family_tokens(identity.family).await?;
        self.revocations.revoke_key(identity.jti.to_string(), identity.expires_at_ms);
        self.tell_revoked(|listener| {
            listener.token_revoked(&identity.jti);
            listener.user_revoked(identity.user, RevokedReason::LoggedOut);
        });
        Ok(())
    }

    /// Voids the access tokens of a family, in the store and in memory.
    async fn revoke_family_tokens(&self, family: i64) -> Result<(), ClientError> {
        let now_ms = self.clock.unix_ms();
        self.revocations.has_room(now_ms)?;
        // A token issued just now lives longest.
        let until_ms = now_ms.saturating_add(self.access_ttl_ms());
        let key = family_key(family);
        self.store.revoke_access_token(&key, until_ms).await.map_err(store_failed)?;
        self.revocations.revoke_key(key, until_ms);
        Ok(())
    }

    /// Issues a ticket that opens one socket within 30 s.
    ///
    /// # Errors
    /// `RateLimited` when too many are unspent.
    pub fn ticket(&self, identity: &Identity) -> Result<String, ClientError> {
        let issued = if self.clustered {
            let signed = || self.tokens.issue_ticket(identity, TICKET_TTL, self.clock.unix_ms());
            self.tickets.count_signed(identity.user, self.now()).map(|()| signed())
        } else {
            self.tickets.issue(identity.clone(), self.now())
        };
        self.counts.ended(Operation::Ticket, issued)
    }

    /// Spends a ticket; `None` when it is unknown, spent or expired, or its login ended meanwhile.
    pub fn spend_ticket(&self, ticket: &str) -> Option<Identity> {
        let spent = if self.clustered {
            let (identity, id) = self.tokens.verify_ticket(ticket, self.clock.unix_ms()).ok()?;
            self.tickets.spend_signed(id, self.now()).then_some(identity)
        } else {
            self.tickets.spend(ticket, self.now())
        };
        spent.filter(|identity| self.still_valid(identity))
    }

    /// Returns a user's account.
    ///
    /// # Errors
    /// `Unauthorized` when it is gone, `Unavailable`.
    pub async fn profile(&self, user: UserId) -> Result<User, ClientError> {
        let gone = || ClientError::new(ErrorCode::Unauthorized, texts::INVALID_TOKEN);
        self.user(user).await?.ok_or_else(gone)
    }

    /// Sets (or, with `None`, clears) the display name and returns the account.
    ///
    /// # Errors
    /// `BadRequest` for an unfit name, `Unavailable`.
    pub async fn set_display_name(&self, user: UserId, display_name: Option<&str>) -> Result<User, ClientError> {
        let display_name = display_name.map(check_display_name).transpose()?;
        self.store.set_display_name(user, display_name).await.map_err(store_failed)?;
        self.profile(user).await
    }

    async fn user(&self, user: UserId) -> Result<Option<User>, ClientError> {
        Ok(self.store.users(&[user]).await.map_err(store_failed)?.pop())
    }
}

pub(super) fn check_display_name(name: &str) -> Result<&str, ClientError> {
    use chinwag_schema::{limits::text::DISPLAY_NAME_MAX_CHARS, names};
    let bad = |error: names::BadText| ClientError::new(ErrorCode::BadRequest, error.to_string());
    names::display_name(name).map_err(|error| bad(error).field("display_name").limit(DISPLAY_NAME_MAX_CHARS as u64))
}
