//! [`AccountStore`] on the embedded database: users, tokens, conversations, members and their cursors, numbers of nodes.

mod conversations;
mod members;
mod nodes;
mod tokens;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use chinwag_schema::{
    ids::{ConversationId, Epoch, NodeId, Shard, Term, UserId},
    model::{Conversation, Cursor, Membership, User},
};

use super::Database;
use crate::ports::{
    StoreResult,
    account_store::{AccountStore, Credentials, MemberRow, RefreshToken, Rotation},
};

/// Accounts and conversations, in the embedded database.
pub struct EmbeddedAccounts {
    database: Arc<Database>,
}

impl EmbeddedAccounts {
    /// Makes the store on an open database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

// Arguments are copied because the work outlives a caller that gives up.
#[async_trait]
impl AccountStore for EmbeddedAccounts {
    async fn create_user(&self, user: &User, password_hash: &str) -> StoreResult<()> {
        let (user, hash) = (user.clone(), password_hash.to_owned());
        self.database.write(move |conn| users::create(conn, &user, &hash)).await
    }

    async fn credentials(&self, name: &str) -> StoreResult<Option<Credentials>> {
        let name = name.to_owned();
        self.database.read(move |conn| users::credentials(conn, &name)).await
    }

    async fn user_by_name(&self, name: &str) -> StoreResult<Option<User>> {
        let name = name.to_owned();
        self.database.read(move |conn| users::by_name(conn, &name)).await
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        let ids = ids.to_vec();
        self.database.read(move |conn| users::by_ids(conn, &ids)).await
    }

    async fn list_users(&self, after: UserId, limit: usize) -> StoreResult<Vec<User>> {
        self.database.read(move |conn| users::list(conn, after, limit)).await
    }

    async fn set_password(&self, user: UserId, password_hash: &str, at_ms: i64) -> StoreResult<()> {
        let hash = password_hash.to_owned();
        self.database.write(move |conn| users::set_password(conn, user, &hash, at_ms)).await
    }

    async fn set_display_name(&self, user: UserId, display_name: Option<&str>) -> StoreResult<()> {
        let display_name = display_name.map(str::to_owned);
        self.database.write(move |conn| users::set_display_name(conn, user, display_name.as_deref())).await
    }

    async fn set_banned(&self, user: UserId, banned: bool, at_ms: i64) -> StoreResult<()> {
        self.database.write(move |conn| users::set_banned(conn, user, banned, at_ms)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, i64)]) -> StoreResult<()> {
        let seen = seen.to_vec();
        self.database.write_relaxed(move |conn| users::set_last_seen(conn, &seen)).await
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        let token = token.clone();
        self.database.write(move |conn| tokens::add_refresh(conn, &token)).await
    }

    async fn rotate_refresh_token(
        &self,
        old: &[u8; 32],
        new_hash: [u8; 32],
        new_expires_at_ms: i64,
        now_ms: i64,
    ) -> StoreResult<Rotation> {
        let old = *old;
        self.database.write(move |conn| tokens::rotate(conn, &old, &new_hash, new_expires_at_ms, now_ms)).await
    }

    async fn revoke_refresh_family(&self, family: i64) -> StoreResult<()> {
        self.database.write(move |conn| tokens::revoke_family(conn, family)).await
    }

    async fn revoke_access_token(&self, jti: &str, expires_at_ms: i64) -> StoreResult<()> {
        let jti = jti.to_owned();
        self.database.write(move |conn| tokens::revoke_access(conn, &jti, expires_at_ms)).await
    }

    async fn revoked_access_tokens(&self, now_ms: i64) -> StoreResult<Vec<(String, i64)>> {
        self.database.read(move |conn| tokens::revoked_access(conn, now_ms)).await
    }

    async fn revoked_users(&self, since_ms: i64) -> StoreResult<Vec<(UserId, i64)>> {
        self.database.read(move |conn| users::revoked(conn, since_ms)).await
    }

    async fn remove_expired_tokens(&self, now_ms: i64) -> StoreResult<usize> {
        self.database.write(move |conn| tokens::remove_expired(conn, now_ms)).await
    }

    async fn create_conversation(&self, conversation: &Conversation) -> StoreResult<()> {
        let conversation = conversation.clone();
        self.database.write(move |conn| conversations::create(conn, &conversation)).await
    }

    async fn open_direct(&self, new: &Conversation) -> StoreResult<(Conversation, bool)> {
        let new = new.clone();
        self.database.write(move |conn| conversations::open_direct(conn, new)).await
    }

    async fn direct_between(&self, a: UserId, b: UserId) -> StoreResult<Option<Conversation>> {
        self.database.read(move |conn| conversations::direct_between(conn, a, b)).await
    }

    async fn conversation(&self, id: ConversationId) -> StoreResult<Option<Conversation>> {
        self.database.read(move |conn| conversations::by_id(conn, id)).await
    }

    async fn room_by_name(&self, name: &str) -> StoreResult<Option<Conversation>> {
        let name = name.to_owned();
        self.database.read(move |conn| conversations::room_by_name(conn, &name)).await
    }

    async fn list_rooms(&self, after: ConversationId, limit: usize) -> StoreResult<Vec<Conversation>> {
        self.database.read(move |conn| conversations::list_rooms(conn, after, limit)).await
    }

    async fn memberships(&self, user: UserId, after: ConversationId, limit: usize) -> StoreResult<Vec<Membership>> {
        self.database.read(move |conn| members::memberships(conn, user, after, limit)).await
    }

    async fn put_member(&self, conversation: ConversationId, row: &MemberRow) -> StoreResult<bool> {
        let row = row.clone();
        self.database.write(move |conn| members::put(conn, conversation, &row)).await
    }

    async fn remove_member(&self, conversation: ConversationId, user: UserId) -> StoreResult<bool> {
        self.database.write(move |conn| members::remove(conn, conversation, user)).await
    }

    async fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> StoreResult<Vec<MemberRow>> {
        self.database.read(move |conn| members::list(conn, conversation, after, limit)).await
    }

    async fn put_cursors(&self, cursors: &[(ConversationId, UserId, Cursor)]) -> StoreResult<()> {
        let cursors = cursors.to_vec();
        // Relaxed: invariant 5 lets a crash take cursors back a little, and clients report them again.
        self.database.write_relaxed(move |conn| members::put_cursors(conn, &cursors)).await
    }

    async fn cursor(&self, conversation: ConversationId, user: UserId) -> StoreResult<Cursor> {
        self.database.read(move |conn| members::cursor(conn, conversation, user)).await
    }

    async fn cursors_of(&self, conversation: ConversationId, limit: usize) -> StoreResult<Vec<(UserId, Cursor)>> {
        self.database.read(move |conn| members::cursors_of(conn, conversation, limit)).await
    }

    async fn node_id(&self, name: &str) -> StoreResult<NodeId> {
        let name = name.to_owned();
        self.database.write(move |conn| nodes::node_id(conn, &name)).await
    }

    async fn reserve_ids(&self, node: u16, until_ms: i64) -> StoreResult<i64> {
        self.database.write(move |conn| nodes::reserve_ids(conn, node, until_ms)).await
    }

    async fn next_terms(&self, shards: &[Shard]) -> StoreResult<Vec<Term>> {
        let shards = shards.to_vec();
        self.database.write(move |conn| nodes::next_terms(conn, &shards)).await
    }

    async fn raise_terms(&self, terms: &[(Shard, Term)]) -> StoreResult<()> {
        let terms = terms.to_vec();
        self.database.write(move |conn| nodes::raise_terms(conn, &terms)).await
    }

    async fn log_epoch(&self, wanted: Epoch) -> StoreResult<Epoch> {
        self.database.write(move |conn| nodes::log_epoch(conn, wanted)).await
    }

    async fn put_log_epoch(&self, epoch: Epoch) -> StoreResult<()> {
        self.database.write(move |conn| nodes::put_log_epoch(conn, epoch)).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.database.ping().await
    }
}
