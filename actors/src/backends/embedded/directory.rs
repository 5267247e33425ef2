//! [`Directory`] in this process: a real one with leases that run out, of which embedded mode just has one node.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chinwag_schema::ids::{NodeId, Shard, UserId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::ports::{
    StoreResult,
    directory::{Directory, Owner},
};

/// Time since some fixed moment; it must not go back.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// The directory of the nodes in this process. Memory is bounded by nodes, shards, and users with sockets.
pub struct EmbeddedDirectory {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When each node's lease ends.
    nodes: BTreeMap<NodeId, Duration>,
    shards: BTreeMap<Shard, (Owner, Duration)>,
    /// Nearly always one node per user.
    users: FxHashMap<UserId, FxHashSet<NodeId>>,
}

impl EmbeddedDirectory {
    /// Makes an empty directory on the monotonic clock.
    pub fn new() -> Self {
        let start = Instant::now();
        Self::with_clock(move || start.elapsed())
    }

    /// Makes an empty directory that reads the time (since any fixed moment) from `clock`.
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EmbeddedDirectory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Directory for EmbeddedDirectory {
    async fn renew_node(&self, node: NodeId, lease: Duration) -> StoreResult<()> {
        let end = (self.clock)() + lease;
        self.state().nodes.insert(node, end);
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> StoreResult<()> {
        let mut state = self.state();
        state.nodes.remove(&node);
        state.shards.retain(|_, (owner, _)| owner.node != node);
        state.users.retain(|_, nodes| {
            nodes.remove(&node);
            !nodes.is_empty()
        });
        Ok(())
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeId>> {
        let now = (self.clock)();
        Ok(self.state().nodes.iter().filter(|(_, end)| **end > now).map(|(node, _)| *node).collect())
    }

    async fn claim_shard(&self, shard: Shard, owner: Owner, lease: Duration) -> StoreResult<Owner> {
        let now = (self.clock)();
        let mut state = self.state();
        match state.shards.get(&shard) {
            Some((holder, end)) if *end > now && *holder != owner => Ok(*holder),
            _ => {
                state.shards.insert(shard, (owner, now + lease));
                Ok(owner)
            }
        }
    }

    async fn release_shard(&self, shard: Shard, owner: Owner) -> StoreResult<()> {
        let mut state = self.state();
        if state.shards.get(&shard).is_some_and(|(holder, _)| *holder == owner) {
            state.shards.remove(&shard);
        }
        Ok(())
    }

    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>> {
        let now = (self.clock)();
        let state = self.state();
        Ok(state.shards.iter().filter(|(_, (_, end))| *end > now).map(|(shard, (owner, _))| (*shard, *owner)).collect())
    }

    async fn put_user(&self, node: NodeId, user: UserId, present: bool) -> StoreResult<()> {
        let mut state = self.state();
        if present {
            state.users.entry(user).or_default().insert(node);
        } else if let Some(nodes) = state.users.get_mut(&user) {
            nodes.remove(&node);
            if nodes.is_empty() {
                state.users.remove(&user);
            }
        }
        Ok(())
    }

    async fn locate_user(&self, user: UserId) -> StoreResult<Vec<NodeId>> {
        let now = (self.clock)();
        let state = self.state();
        let runs = |node: &&NodeId| state.nodes.get(node).is_some_and(|end| *end > now);
        let mut nodes: Vec<_> = state.users.get(&user).into_iter().flatten().filter(runs).copied().collect();
        nodes.sort_unstable();
        Ok(nodes)
    }

    async fn ping(&self) -> StoreResult<()> {
        Ok(())
    }
}
