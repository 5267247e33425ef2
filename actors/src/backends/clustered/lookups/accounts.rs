//! An account store with what is remembered of names before it.

use std::sync::Arc;

use async_trait::async_trait;
use chinwag_schema::{
    ids::{ConversationId, Epoch, NodeId, Shard, Term, UserId},
    limits::lookups::{NAME_MAX_BYTES, PAGE, REMEMBERED_FOR, REMEMBERED_MAX, SHARING_MAX},
    model::{Conversation, Cursor, Membership, Name, User},
};
use moka::sync::Cache;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use super::{
    arrivals::Arrivals,
    counts::{LookupCounts, add},
    gate::Gate,
    keeper::Keeper,
};
use crate::{
    backends::clustered::redis::RedisNames,
    ports::{
        StoreResult,
        account_store::{AccountStore, Credentials, MemberRow, Recall, RefreshToken, Rotation},
    },
};

/// An account store that remembers which account a name belongs to. Everything but [`AccountStore::recall_user`] goes to the store.
pub struct CachedAccounts<S> {
    store: Arc<S>,
    remembered: Cache<Name, UserId>,
    gate: Arc<Gate>,
    redis: Option<Arc<RedisNames>>,
    sharing: Arc<Semaphore>,
    home: Handle,
    keeper: JoinHandle<()>,
}

impl<S> Drop for CachedAccounts<S> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<S: AccountStore + Arrivals> CachedAccounts<S> {
    /// Begins to make the filter; until it is there, everything passes. Its tasks run on `home` and end with it.
    pub fn start(store: Arc<S>, redis: Option<RedisNames>, home: Handle) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build();
        let gate = Arc::new(Gate::new());
        let keeper = Keeper { arrivals: store.clone(), gate: gate.clone(), remembered: remembered.clone(), page: PAGE };
        let keeper = home.spawn(keeper.run());
        let sharing = Arc::new(Semaphore::new(SHARING_MAX));
        Self { store, remembered, gate, redis: redis.map(Arc::new), sharing, home, keeper }
    }

    /// Returns what was counted since the start, and the state of the filter.
    pub fn counts(&self) -> LookupCounts {
        self.gate.read()
    }

    /// Remembers, here and for the other nodes, what the store said.
    fn found(&self, name: &Name, id: UserId) {
        self.remembered.insert(name.clone(), id);
        let Some(redis) = self.redis.clone() else { return };
        // Not shared this time is no loss.
        let Ok(place) = self.sharing.clone().try_acquire_owned() else { return };
        let (name, gate) = (name.clone(), self.gate.clone());
        self.home.spawn(async move {
            if redis.put(&name, id).await.is_err() {
                add(&gate.counts.redis_failures);
            }
            drop(place);
        });
    }

    async fn ask_redis(&self, name: &str) -> Option<UserId> {
        // Its trouble is no reason not to ask Postgres; it is counted, and the connection's own log says more.
        let found = self.redis.as_ref()?.get(name).await;
        let found = found.inspect_err(|_| add(&self.gate.counts.redis_failures)).ok()??;
        add(&self.gate.counts.redis);
        self.remembered.insert(name.into(), found);
        Some(found)
    }
}

/// Writes the whole implementation, with those operations that only go on to the store in the short form.
macro_rules! account_store {
    (
        { $($own:item)* }
        $($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*
    ) => {
        #[async_trait]
        impl<S: AccountStore + Arrivals> AccountStore for CachedAccounts<S> {
            $($own)*
            $(async fn $name(&self, $($arg: $ty),*) -> StoreResult<$out> {
                self.store.$name($($arg),*).await
            })*
        }
    };
}

account_store! {
    {
        async fn create_user(&self, user: &User, password_hash: &str) -> StoreResult<()> {
            self.store.create_user(user, password_hash).await?;
            self.gate.add(std::iter::once(&*user.name));
            self.found(&user.name, user.id);
            Ok(())
        }

        async fn user_by_name(&self, name: &str) -> StoreResult<Option<User>> {
            let found = self.store.user_by_name(name).await?;
            match &found {
                Some(user) => {
                    add(&self.gate.counts.store_found);
                    self.found(&user.name, user.id);
                }
                None => add(&self.gate.counts.store_unknown),
            }
            Ok(found)
        }

        async fn recall_user(&self, name: &str) -> Recall {
            if let Some(id) = self.remembered.get(name) {
                add(&self.gate.counts.memory);
                return Recall::User(id);
            }
            if name.len() > NAME_MAX_BYTES {
                return Recall::Unknown;
            }
            if self.gate.denies(name).await {
                return Recall::Nobody;
            }
            self.ask_redis(name).await.map_or(Recall::Unknown, Recall::User)
        }
    }
    credentials(name: &str) -> Option<Credentials>;
    users(ids: &[UserId]) -> Vec<User>;
    list_users(after: UserId, limit: usize) -> Vec<User>;
    set_password(user: UserId, password_hash: &str, at_ms: i64) -> ();
    set_display_name(user: UserId, display_name: Option<&str>) -> ();
    set_banned(user: UserId, banned: bool, at_ms: i64) -> ();
    set_last_seen(seen: &[(UserId, i64)]) -> ();
    add_refresh_token(token: &RefreshToken) -> ();
    rotate_refresh_token(old: &[u8; 32], new_hash: [u8; 32], new_expires_at_ms: i64, now_ms: i64) -> Rotation;
    revoke_refresh_family(family: i64) -> ();
    revoke_access_token(jti: &str, expires_at_ms: i64) -> ();
    revoked_access_tokens(now_ms: i64) -> Vec<(String, i64)>;
    revoked_users(since_ms: i64) -> Vec<(UserId, i64)>;
    remove_expired_tokens(now_ms: i64) -> usize;
    create_conversation(conversation: &Conversation) -> ();
    open_direct(new: &Conversation) -> (Conversation, bool);
    direct_between(a: UserId, b: UserId) -> Option<Conversation>;
    conversation(id: ConversationId) -> Option<Conversation>;
    room_by_name(name: &str) -> Option<Conversation>;
    list_rooms(after: ConversationId, limit: usize) -> Vec<Conversation>;
    memberships(user: UserId, after: ConversationId, limit: usize) -> Vec<Membership>;
    memberships_and_users(user: UserId, after: ConversationId, limit: usize) -> (Vec<Membership>, Vec<User>);
    put_member(conversation: ConversationId, row: &MemberRow) -> bool;
    remove_member(conversation: ConversationId, user: UserId) -> bool;
    members(conversation: ConversationId, after: UserId, limit: usize) -> Vec<MemberRow>;
    put_cursors(cursors: &[(ConversationId, UserId, Cursor)]) -> ();
    cursor(conversation: ConversationId, user: UserId) -> Cursor;
    cursors_of(conversation: ConversationId, limit: usize) -> Vec<(UserId, Cursor)>;
    node_id(name: &str) -> NodeId;
    reserve_ids(node: u16, until_ms: i64) -> i64;
    next_terms(shards: &[Shard]) -> Vec<Term>;
    raise_terms(terms: &[(Shard, Term)]) -> ();
    next_term(shard: u8) -> u64;
    log_epoch(wanted: Epoch) -> Epoch;
    put_log_epoch(epoch: Epoch) -> ();
    ping() -> ();
}
