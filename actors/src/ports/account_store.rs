//! Accounts, tokens, conversations, members, cursors.

use async_trait::async_trait;
use chinwag_schema::{
    ids::{ConversationId, Epoch, NodeId, Shard, Term, UserId},
    model::{Conversation, Cursor, Member, MemberState, Membership, Role, User},
};
use serde::{Deserialize, Serialize};

use super::{StoreError, StoreResult};

/// An account with what proves it. Not for the log.
#[derive(Clone)]
pub struct Credentials {
    pub user: User,
    /// PHC string (argon2id).
    pub password_hash: String,
    /// Access tokens issued before this time (Unix ms) are void.
    pub tokens_valid_from_ms: i64,
}

/// A refresh token as stored: only its SHA-256.
#[derive(Clone)]
pub struct RefreshToken {
    pub hash: [u8; 32],
    /// All tokens that grew from one login share it; reuse of a spent one revokes the family.
    pub family: i64,
    pub user: UserId,
    pub expires_at_ms: i64,
}

/// What became of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    Rotated {
        user: UserId,
        family: i64,
    },
    /// A spent token came again: its family is revoked now.
    Reused {
        user: UserId,
        family: i64,
    },
    /// Unknown, expired or revoked.
    Refused,
}

/// A member's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    pub member: Member,
    pub role: Role,
    pub state: MemberState,
}

/// What is known of a name without asking the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// This account has it, for good: names are neither changed nor given again.
    User(UserId),
    /// No account had it when the question was asked.
    Nobody,
    /// Only the store can tell.
    Unknown,
}

/// Accounts, tokens, conversations, members, cursors.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    // ---- users
    /// Creates an account; `AlreadyExists` when the name is taken (names are case-sensitive).
    async fn create_user(&self, user: &User, password_hash: &str) -> StoreResult<()>;
    async fn credentials(&self, name: &str) -> StoreResult<Option<Credentials>>;
    async fn user_by_name(&self, name: &str) -> StoreResult<Option<User>>;
    /// Looks for the account of a name in what a store in a cluster remembers, so that whom to write to is found without it. Never for
    /// login, registration or guests' names: those ask the store itself.
    async fn recall_user(&self, _name: &str) -> Recall {
        Recall::Unknown
    }
    /// Returns those that exist, in no particular order.
    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>>;
    /// Pages all users by ascending id.
    async fn list_users(&self, after: UserId, limit: usize) -> StoreResult<Vec<User>>;
    /// Sets the hash, revokes all refresh tokens, and makes access tokens issued before `at_ms` void.
    async fn set_password(&self, user: UserId, password_hash: &str, at_ms: i64) -> StoreResult<()>;
    async fn set_display_name(&self, user: UserId, display_name: Option<&str>) -> StoreResult<()>;
    /// A ban also revokes as `set_password` does.
    async fn set_banned(&self, user: UserId, banned: bool, at_ms: i64) -> StoreResult<()>;
    /// Moves last-seen times forward.
    async fn set_last_seen(&self, seen: &[(UserId, i64)]) -> StoreResult<()>;

    // ---- tokens
    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()>;
    /// Spends `old` and adds `new_hash` to its family, in one transaction.
    async fn rotate_refresh_token(
        &self,
        old: &[u8; 32],
        new_hash: [u8; 32],
        new_expires_at_ms: i64,
        now_ms: i64,
    ) -> StoreResult<Rotation>;
    async fn revoke_refresh_family(&self, family: i64) -> StoreResult<()>;
    /// Makes one access token (by its `jti`) void until it would have expired anyway.
    async fn revoke_access_token(&self, jti: &str, expires_at_ms: i64) -> StoreResult<()>;
    /// Returns the revoked `jti`s that have not expired at `now_ms`.
    async fn revoked_access_tokens(&self, now_ms: i64) -> StoreResult<Vec<(String, i64)>>;
    /// Returns users whose `tokens_valid_from_ms` is later than `since_ms`, with it.
    async fn revoked_users(&self, since_ms: i64) -> StoreResult<Vec<(UserId, i64)>>;
    /// Removes expired tokens of both kinds; returns how many.
    async fn remove_expired_tokens(&self, now_ms: i64) -> StoreResult<usize>;

    // ---- conversations
    /// Creates a room or group. `AlreadyExists` when a room's name is taken. No member is added.
    async fn create_conversation(&self, conversation: &Conversation) -> StoreResult<()>;
    /// Returns the chat of these two users, making it (with both as settled members) if need be; the flag says 'made now'.
    /// `LimitReached` when its maker (`created_by`) has `limits::user::CONVERSATIONS_MAX` memberships; the other one is not asked.
    async fn open_direct(&self, new: &Conversation) -> StoreResult<(Conversation, bool)>;
    async fn direct_between(&self, a: UserId, b: UserId) -> StoreResult<Option<Conversation>>;
    async fn conversation(&self, id: ConversationId) -> StoreResult<Option<Conversation>>;
    async fn room_by_name(&self, name: &str) -> StoreResult<Option<Conversation>>;
    /// Pages the public rooms by ascending id.
    async fn list_rooms(&self, after: ConversationId, limit: usize) -> StoreResult<Vec<Conversation>>;
    /// Pages a user's memberships (not those that are leaving) by ascending conversation id.
    async fn memberships(&self, user: UserId, after: ConversationId, limit: usize) -> StoreResult<Vec<Membership>>;
    /// Returns a page of memberships, and the accounts of the user and of the others of its one-to-one chats: what a user who connects
    /// needs, in one round trip where that counts.
    async fn memberships_and_users(
        &self,
        user: UserId,
        after: ConversationId,
        limit: usize,
    ) -> StoreResult<(Vec<Membership>, Vec<User>)> {
        let page = self.memberships(user, after, limit).await?;
        let others = page.iter().filter_map(|member| Some(member.conversation.other(user)?.user));
        let users = self.users(&others.chain([user]).collect::<Vec<_>>()).await?;
        Ok((page, users))
    }

    // ---- members
    /// Adds or updates a member; the flag says 'was not there'. `LimitReached` beyond `limits::conversation::MEMBERS_MAX` members or
    /// `limits::user::CONVERSATIONS_MAX` memberships; `NotFound` when there is no such conversation or account.
    async fn put_member(&self, conversation: ConversationId, row: &MemberRow) -> StoreResult<bool>;
    /// Removes a member with its cursor; the flag says 'was there'.
    async fn remove_member(&self, conversation: ConversationId, user: UserId) -> StoreResult<bool>;
    /// Pages members by ascending user id.
    async fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> StoreResult<Vec<MemberRow>>;

    // ---- cursors
    /// Stores cursors, each only where it lies further than the stored one (per pointer). Those of users that are no members
    /// (any more) are dropped. A power loss may take the last ones back.
    async fn put_cursors(&self, cursors: &[(ConversationId, UserId, Cursor)]) -> StoreResult<()>;
    async fn cursor(&self, conversation: ConversationId, user: UserId) -> StoreResult<Cursor>;
    /// Returns the cursors of a conversation's members that have one, `limit` at most.
    async fn cursors_of(&self, conversation: ConversationId, limit: usize) -> StoreResult<Vec<(UserId, Cursor)>>;

    // ---- nodes
    /// Returns the number of the node of this name: the same for ever, each name another one, the smallest that is free for a new name.
    /// `LimitReached` when all [`NodeId::COUNT`] are given.
    async fn node_id(&self, name: &str) -> StoreResult<NodeId>;
    /// Reserves snowflake time: returns the reservation stored before (0 for none) and stores the larger of it and `until_ms`.
    async fn reserve_ids(&self, node: u16, until_ms: i64) -> StoreResult<i64>;
    /// Returns for each shard, in the order asked for, a term larger than any given before for it. Each shard is named once.
    async fn next_terms(&self, shards: &[Shard]) -> StoreResult<Vec<Term>>;
    /// Makes later terms of these shards larger than those named here, which were found in the log; never lowers one.
    async fn raise_terms(&self, terms: &[(Shard, Term)]) -> StoreResult<()>;
    /// As [`Self::next_terms`], for one shard.
    async fn next_term(&self, shard: u8) -> StoreResult<u64> {
        let terms = self.next_terms(&[Shard(shard)]).await?;
        terms.first().map(|term| term.0).ok_or_else(|| StoreError::Corrupt("no term came back".to_owned()))
    }
    /// Returns the epoch of the message log that these accounts belong to; stores `wanted` if there is none yet. Of several callers at
    /// once, all hear the same.
    async fn log_epoch(&self, wanted: Epoch) -> StoreResult<Epoch>;
    /// Replaces the epoch of the message log that these accounts belong to.
    async fn put_log_epoch(&self, epoch: Epoch) -> StoreResult<()>;
    async fn ping(&self) -> StoreResult<()>;
}
