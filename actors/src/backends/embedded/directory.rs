//! [`Directory`] in this process: a real one with leases that run out, of which embedded mode just has one node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chinwag_schema::{
    ids::{Incarnation, NodeId, Shard, UserId},
    model::Name,
};
use rustc_hash::FxHashMap;

use crate::ports::{
    StoreError, StoreResult,
    directory::{Directory, NodeLease, Owner, Renewed},
};

/// Time since some fixed moment; it must not go back.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// Guests' names beyond which those that ran out are looked for.
const GUESTS_BEFORE_SWEEP: usize = 1024;

/// The directory of the nodes in this process. Memory is bounded by nodes, shards, users with sockets, and guests that hold names.
pub struct EmbeddedDirectory {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who holds each node, and until when.
    nodes: BTreeMap<NodeId, (Incarnation, Duration)>,
    shards: BTreeMap<Shard, (Owner, Duration)>,
    /// Nearly always one node per user.
    users: FxHashMap<UserId, BTreeSet<NodeLease>>,
    guests: HashMap<Name, (UserId, Duration)>,
    /// How many guests there may be before the next sweep.
    sweep_guests_at: usize,
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

impl State {
    fn runs(&self, lease: NodeLease, now: Duration) -> bool {
        self.nodes.get(&lease.node).is_some_and(|&(held, end)| held == lease.incarnation && end > now)
    }

    /// Forgets leases that ran out, and whoever is registered on a node without one.
    fn sweep_nodes(&mut self, now: Duration) {
        let before = self.nodes.len();
        self.nodes.retain(|_, (_, end)| *end > now);
        if self.nodes.len() < before {
            self.sweep_users();
        }
    }

    fn sweep_users(&mut self) {
        let Self { nodes, users, .. } = self;
        users.retain(|_, leases| {
            leases.retain(|lease| nodes.get(&lease.node).is_some_and(|(held, _)| *held == lease.incarnation));
            !leases.is_empty()
        });
    }

    fn hold_guest_name(&mut self, name: &Name, user: UserId, now: Duration, end: Duration) -> UserId {
        if self.guests.len() >= self.sweep_guests_at {
            self.guests.retain(|_, (_, end)| *end > now);
            self.sweep_guests_at = (2 * self.guests.len()).max(GUESTS_BEFORE_SWEEP);
        }
        match self.guests.get_mut(name) {
            Some((holder, held_until)) if *held_until > now => {
                *held_until = end.max(*held_until);
                *holder
            }
            _ => {
                self.guests.insert(name.clone(), (user, end));
                user
            }
        }
    }
}

#[async_trait]
impl Directory for EmbeddedDirectory {
    async fn renew_node(&self, node: NodeLease, lease: Duration) -> StoreResult<Renewed> {
        let now = (self.clock)();
        let mut state = self.state();
        state.sweep_nodes(now);
        match state.nodes.get(&node.node) {
            Some((held, _)) if *held != node.incarnation => Err(StoreError::AlreadyExists),
            held => {
                let anew = held.is_none();
                state.nodes.insert(node.node, (node.incarnation, now + lease));
                Ok(Renewed { anew })
            }
        }
    }

    async fn leave(&self, node: NodeLease) -> StoreResult<()> {
        let mut state = self.state();
        if state.nodes.get(&node.node).is_some_and(|(held, _)| *held == node.incarnation) {
            state.nodes.remove(&node.node);
            state.shards.retain(|_, (owner, _)| owner.node != node.node);
            state.sweep_users();
        }
        Ok(())
    }

    async fn nodes(&self) -> StoreResult<Vec<NodeLease>> {
        let now = (self.clock)();
        let state = self.state();
        let running = state.nodes.iter().filter(|(_, (_, end))| *end > now);
        Ok(running.map(|(&node, &(incarnation, _))| NodeLease { node, incarnation }).collect())
    }

    async fn claim_shards(&self, claims: &[(Shard, Owner)], lease: Duration) -> StoreResult<Vec<Owner>> {
        let now = (self.clock)();
        let mut state = self.state();
        let mut claim = |&(shard, owner): &(Shard, Owner)| match state.shards.get(&shard) {
            Some((holder, end)) if *end > now && *holder != owner => *holder,
            _ => {
                state.shards.insert(shard, (owner, now + lease));
                owner
            }
        };
        Ok(claims.iter().map(&mut claim).collect())
    }

    async fn release_shards(&self, shards: &[(Shard, Owner)]) -> StoreResult<()> {
        let mut state = self.state();
        for (shard, owner) in shards {
            if state.shards.get(shard).is_some_and(|(holder, _)| holder == owner) {
                state.shards.remove(shard);
            }
        }
        Ok(())
    }

    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>> {
        let now = (self.clock)();
        let state = self.state();
        Ok(state.shards.iter().filter(|(_, (_, end))| *end > now).map(|(shard, (owner, _))| (*shard, *owner)).collect())
    }

    async fn put_users(&self, node: NodeLease, users: &[(UserId, bool)]) -> StoreResult<()> {
        let mut state = self.state();
        for &(user, present) in users {
            if present {
                state.users.entry(user).or_default().insert(node);
            } else if let Some(leases) = state.users.get_mut(&user) {
                leases.remove(&node);
                if leases.is_empty() {
                    state.users.remove(&user);
                }
            }
        }
        Ok(())
    }

    async fn locate_users(&self, users: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>> {
        let now = (self.clock)();
        let state = self.state();
        let locate = |user| {
            let leases = state.users.get(user).into_iter().flatten();
            leases.filter(|lease| state.runs(**lease, now)).map(|lease| lease.node).collect()
        };
        Ok(users.iter().map(locate).collect())
    }

    async fn hold_guest_names(&self, names: &[(Name, UserId)], hold: Duration) -> StoreResult<Vec<UserId>> {
        let now = (self.clock)();
        let mut state = self.state();
        Ok(names.iter().map(|(name, user)| state.hold_guest_name(name, *user, now, now + hold)).collect())
    }

    async fn guest_name_holder(&self, name: &str) -> StoreResult<Option<UserId>> {
        let now = (self.clock)();
        Ok(self.state().guests.get(name).filter(|(_, end)| *end > now).map(|(user, _)| *user))
    }

    async fn release_guest_name(&self, name: &str, user: UserId) -> StoreResult<()> {
        let mut state = self.state();
        if state.guests.get(name).is_some_and(|(holder, _)| *holder == user) {
            state.guests.remove(name);
        }
        Ok(())
    }

    async fn ping(&self) -> StoreResult<()> {
        Ok(())
    }
}
