//! What operators do with accounts: `chinwag user …`, later the admin API.

use chinwag_actors::ports::StoreError;
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::UserId,
    model::User,
    names,
};

use super::{Accounts, RevokedReason, login::new_name, sessions::check_display_name, store_failed};
use crate::auth::passwords;

impl Accounts {
    /// Creates an account without any rate.
    ///
    /// # Errors
    /// `BadRequest`/`TooLarge` naming the field, `AlreadyExists`, `Unavailable`.
    pub async fn add_user(&self, name: &str, display_name: Option<&str>, password: &str) -> Result<User, ClientError> {
        let name = new_name(name, password)?;
        let display_name = display_name.map(check_display_name).transpose()?.map(str::to_owned);
        let hash = self.passwords.hash(password).await?;
        self.create(&name, display_name, &hash).await
    }

    /// Sets a user's password; everything issued to it before is void, its sockets close.
    ///
    /// # Errors
    /// `NotFound`, `BadRequest`/`TooLarge`, `Unavailable`.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<User, ClientError> {
        passwords::check_new(password, "password")?;
        let user = self.existing(name).await?;
        let hash = self.passwords.hash(password).await?;
        self.replace_password(user.id, &hash).await?;
        Ok(user)
    }

    /// Bans a user (everything issued to it is void, its sockets close) or lifts the ban.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn set_banned(&self, name: &str, ban: Ban) -> Result<User, ClientError> {
        let user = self.existing(name).await?;
        let (banned, from_ms) = (ban == Ban::Set, self.revocation_time(user.id));
        self.store.set_banned(user.id, banned, from_ms).await.map_err(store_failed)?;
        if banned {
            self.end_user(user.id, from_ms, RevokedReason::Banned);
        }
        Ok(User { banned, ..user })
    }

    /// Pages all accounts by ascending id.
    ///
    /// # Errors
    /// When the store doesn't answer.
    pub async fn list_users(&self, after: UserId, limit: usize) -> Result<Vec<User>, StoreError> {
        self.store.list_users(after, limit).await
    }

    async fn existing(&self, name: &str) -> Result<User, ClientError> {
        let unknown =
            || ClientError::new(ErrorCode::NotFound, format!("User {name} does not exist.")).field("username");
        let name = names::account_name(name).map_err(|_| unknown())?;
        self.store.user_by_name(&name).await.map_err(store_failed)?.ok_or_else(unknown)
    }
}

/// What to do with a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    Set,
    Lift,
}
