//! [`AccountStore`] on Postgres: users, tokens, conversations, members and their cursors, numbers of nodes.

mod arrivals;
mod conversations;
mod cursors;
mod members;
mod nodes;
mod tokens;
mod users;

use std::collections::BTreeMap;

use async_trait::async_trait;
use chinwag_schema::{
    ids::{ConversationId, Epoch, NodeId, Shard, Term, UserId},
    limits::postgres::ROWS_PER_STATEMENT,
    model::{Conversation, Cursor, Membership, User},
};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::try_join;

use super::{
    Connections, Pending, PostgresError, PostgresOptions,
    connect::Connector,
    migrate::{self, migrate},
    pool::Pool,
};
use crate::ports::{
    StoreError, StoreResult,
    account_store::{AccountStore, Credentials, MemberRow, RefreshToken, Rotation},
};

/// What makes a statement's commit not wait for its fsync: for what is repaired anyway. A crash of the server may take back what was
/// committed in the last moments (three times its `wal_writer_delay`, 0.6 s by default).
macro_rules! relaxed {
    () => {
        "SELECT set_config('synchronous_commit', 'off', true)"
    };
}
use relaxed;

/// Accounts and conversations, on Postgres.
pub struct PostgresAccounts {
    pool: Pool,
}

impl PostgresAccounts {
    /// Connects, brings the schema up to date, and fills the pool. The pool's connections live on the calling runtime.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let connector = Connector::new(options)?;
        for done in migrate(&connector).await? {
            tracing::info!(version = done.version, name = done.name, "the accounts' schema was migrated");
        }
        Ok(Self { pool: Pool::new(connector, options) })
    }

    /// Returns the migrations that [`Self::connect`] would run, and changes nothing.
    ///
    /// # Errors
    /// Each says what to do.
    pub async fn pending(options: &PostgresOptions) -> Result<Vec<Pending>, PostgresError> {
        migrate::pending(&Connector::new(options)?).await
    }

    /// Says when the copy of an embedded store into this cluster was begun (Unix ms) that isn't finished. While there is one, no node may
    /// serve.
    ///
    /// # Errors
    /// When Postgres doesn't answer.
    pub async fn copy_begun_at(&self) -> StoreResult<Option<i64>> {
        self.pool.repeatable(|db| async move { nodes::copy_begun_at(&db).await }).await
    }

    /// Returns how many connections there are.
    pub fn connections(&self) -> Connections {
        self.pool.connections()
    }

    /// Runs SQL in the store, each time on any connection. For tests that simulate faults.
    #[doc(hidden)]
    pub async fn execute(&self, sql: &str) -> StoreResult<()> {
        self.pool.once(|db| async move { Ok((&*db).batch_execute(sql).await?) }).await
    }
}

#[async_trait]
impl AccountStore for PostgresAccounts {
    async fn create_user(&self, user: &User, password_hash: &str) -> StoreResult<()> {
        self.pool.once(|db| async move { users::create(&db, user, password_hash).await }).await
    }

    async fn credentials(&self, name: &str) -> StoreResult<Option<Credentials>> {
        self.pool.repeatable(|db| async move { users::credentials(&db, name).await }).await
    }

    async fn user_by_name(&self, name: &str) -> StoreResult<Option<User>> {
        self.pool.repeatable(|db| async move { users::by_name(&db, name).await }).await
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = &ids.iter().map(|id| id.0).collect::<Vec<_>>();
        self.pool.repeatable(|db| async move { users::by_ids(&db, ids).await }).await
    }

    async fn list_users(&self, after: UserId, limit: usize) -> StoreResult<Vec<User>> {
        self.pool.repeatable(|db| async move { users::list(&db, after, limit).await }).await
    }

    async fn set_password(&self, user: UserId, password_hash: &str, at_ms: i64) -> StoreResult<()> {
        self.pool.transaction(|db| async move { users::set_password(&db, user, password_hash, at_ms).await }).await
    }

    async fn set_display_name(&self, user: UserId, display_name: Option<&str>) -> StoreResult<()> {
        self.pool.repeatable(|db| async move { users::set_display_name(&db, user, display_name).await }).await
    }

    async fn set_banned(&self, user: UserId, banned: bool, at_ms: i64) -> StoreResult<()> {
        if banned {
            self.pool.transaction(|db| async move { users::ban(&db, user, at_ms).await }).await
        } else {
            self.pool.repeatable(|db| async move { users::unban(&db, user).await }).await
        }
    }

    async fn set_last_seen(&self, seen: &[(UserId, i64)]) -> StoreResult<()> {
        let mut latest = BTreeMap::new();
        for (user, at_ms) in seen {
            let place = latest.entry(user.0).or_insert(*at_ms);
            *place = (*place).max(*at_ms);
        }
        let latest: Vec<_> = latest.into_iter().collect();
        for some in latest.chunks(ROWS_PER_STATEMENT) {
            self.pool.repeatable(|db| async move { users::set_last_seen(&db, some).await }).await?;
        }
        Ok(())
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        self.pool.once(|db| async move { tokens::add_refresh(&db, token).await }).await
    }

    async fn rotate_refresh_token(
        &self,
        old: &[u8; 32],
        new_hash: [u8; 32],
        new_expires_at_ms: i64,
        now_ms: i64,
    ) -> StoreResult<Rotation> {
        let new_hash = &new_hash;
        self.pool
            .transaction(|db| async move { tokens::rotate(&db, old, new_hash, new_expires_at_ms, now_ms).await })
            .await
    }

    async fn revoke_refresh_family(&self, family: i64) -> StoreResult<()> {
        self.pool.transaction(|db| async move { tokens::revoke_family(&db, family).await }).await
    }

    async fn revoke_access_token(&self, jti: &str, expires_at_ms: i64) -> StoreResult<()> {
        self.pool.repeatable(|db| async move { tokens::revoke_access(&db, jti, expires_at_ms).await }).await
    }

    async fn revoked_access_tokens(&self, now_ms: i64) -> StoreResult<Vec<(String, i64)>> {
        self.pool.repeatable(|db| async move { tokens::revoked_access(&db, now_ms).await }).await
    }

    async fn revoked_users(&self, since_ms: i64) -> StoreResult<Vec<(UserId, i64)>> {
        self.pool.repeatable(|db| async move { users::revoked(&db, since_ms).await }).await
    }

    async fn remove_expired_tokens(&self, now_ms: i64) -> StoreResult<usize> {
        let mut removed = 0;
        loop {
            let (some, more) =
                self.pool.repeatable(|db| async move { tokens::remove_some_expired(&db, now_ms).await }).await?;
            removed += some;
            if !more {
                return Ok(removed);
            }
        }
    }

    async fn create_conversation(&self, conversation: &Conversation) -> StoreResult<()> {
        self.pool.once(|db| async move { conversations::create(&db, conversation).await }).await
    }

    async fn open_direct(&self, new: &Conversation) -> StoreResult<(Conversation, bool)> {
        let mut new = new.clone();
        let Some(pair) = &mut new.pair else {
            return Err(StoreError::Corrupt(format!("chat {} has no two users", new.id)));
        };
        pair.sort_by_key(|member| member.user);
        let [a, b] = [pair[0].user, pair[1].user];
        let new = &new;
        match self.direct_between(a, b).await? {
            Some(there) => Ok((there, false)),
            None => self.pool.transaction(|db| async move { conversations::open_direct(&db, new).await }).await,
        }
    }

    async fn direct_between(&self, a: UserId, b: UserId) -> StoreResult<Option<Conversation>> {
        self.pool.repeatable(|db| async move { conversations::direct_between(&db, a, b).await }).await
    }

    async fn conversation(&self, id: ConversationId) -> StoreResult<Option<Conversation>> {
        self.pool.repeatable(|db| async move { conversations::by_id(&db, id).await }).await
    }

    async fn room_by_name(&self, name: &str) -> StoreResult<Option<Conversation>> {
        self.pool.repeatable(|db| async move { conversations::room_by_name(&db, name).await }).await
    }

    async fn list_rooms(&self, after: ConversationId, limit: usize) -> StoreResult<Vec<Conversation>> {
        self.pool.repeatable(|db| async move { conversations::list_rooms(&db, after, limit).await }).await
    }

    async fn memberships(&self, user: UserId, after: ConversationId, limit: usize) -> StoreResult<Vec<Membership>> {
        self.pool.repeatable(|db| async move { members::memberships(&db, user, after, limit).await }).await
    }

    async fn memberships_and_users(
        &self,
        user: UserId,
        after: ConversationId,
        limit: usize,
    ) -> StoreResult<(Vec<Membership>, Vec<User>)> {
        self.pool
            .repeatable(|db| async move {
                let page = members::memberships(&db, user, after, limit);
                try_join(page, users::companions(&db, user, after, limit)).await
            })
            .await
    }

    async fn put_member(&self, conversation: ConversationId, row: &MemberRow) -> StoreResult<bool> {
        if self.pool.repeatable(|db| async move { members::change(&db, conversation, row).await }).await? {
            return Ok(false);
        }
        self.pool.transaction(|db| async move { members::put(&db, conversation, row).await }).await
    }

    async fn remove_member(&self, conversation: ConversationId, user: UserId) -> StoreResult<bool> {
        self.pool.once(|db| async move { members::remove(&db, conversation, user).await }).await
    }

    async fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> StoreResult<Vec<MemberRow>> {
        self.pool.repeatable(|db| async move { members::list(&db, conversation, after, limit).await }).await
    }

    async fn put_cursors(&self, cursors: &[(ConversationId, UserId, Cursor)]) -> StoreResult<()> {
        let mut furthest = BTreeMap::<_, Cursor>::new();
        for (conversation, user, cursor) in cursors {
            let place = furthest.entry((*conversation, *user)).or_default();
            *place = place.further(*cursor);
        }
        let mut furthest = furthest.into_iter().peekable();
        while furthest.peek().is_some() {
            let some: &cursors::Columns = &furthest.by_ref().take(ROWS_PER_STATEMENT).collect();
            self.pool.repeatable(|db| async move { cursors::put(&db, some).await }).await?;
        }
        Ok(())
    }

    async fn cursor(&self, conversation: ConversationId, user: UserId) -> StoreResult<Cursor> {
        self.pool.repeatable(|db| async move { cursors::one(&db, conversation, user).await }).await
    }

    async fn cursors_of(&self, conversation: ConversationId, limit: usize) -> StoreResult<Vec<(UserId, Cursor)>> {
        self.pool.repeatable(|db| async move { cursors::of_conversation(&db, conversation, limit).await }).await
    }

    async fn node_id(&self, name: &str) -> StoreResult<NodeId> {
        match self.pool.repeatable(|db| async move { nodes::node_of_name(&db, name).await }).await? {
            Some(node) => Ok(node),
            None => self.pool.transaction(|db| async move { nodes::node_id(&db, name).await }).await,
        }
    }

    // Should the connection be lost and these repeated, some time or a term is skipped, which harms nobody.
    async fn reserve_ids(&self, node: u16, until_ms: i64) -> StoreResult<i64> {
        self.pool.repeatable(|db| async move { nodes::reserve_ids(&db, node, until_ms).await }).await
    }

    async fn next_terms(&self, shards: &[Shard]) -> StoreResult<Vec<Term>> {
        self.pool.repeatable(|db| async move { nodes::next_terms(&db, shards).await }).await
    }

    async fn raise_terms(&self, terms: &[(Shard, Term)]) -> StoreResult<()> {
        self.pool.repeatable(|db| async move { nodes::raise_terms(&db, terms).await }).await
    }

    async fn log_epoch(&self, wanted: Epoch) -> StoreResult<Epoch> {
        self.pool.repeatable(|db| async move { nodes::log_epoch(&db, wanted).await }).await
    }

    async fn put_log_epoch(&self, epoch: Epoch) -> StoreResult<()> {
        self.pool.repeatable(|db| async move { nodes::put_log_epoch(&db, epoch).await }).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.pool.repeatable(|db| async move { Ok((&*db).batch_execute("SELECT 1").await?) }).await
    }
}

/// Says whether a row may have this name: Postgres stores no NUL, and takes one in a question for an error.
fn can_exist(name: &str) -> bool {
    !name.contains('\0')
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
