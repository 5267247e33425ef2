//! Who is where: nodes, the owners of shards, the nodes on which a user is, and who has a guest's name.

use std::time::Duration;

use async_trait::async_trait;
use chinwag_schema::{
    ids::{Incarnation, NodeId, Shard, Term, UserId},
    model::Name,
};

use super::StoreResult;

/// One life of a node. What it registered counts while its lease runs, and for no other life of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeLease {
    pub node: NodeId,
    pub incarnation: Incarnation,
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// The lease was not there: it is the first, it had run out, or everything was wiped. Whoever has something registered
    /// registers it again.
    pub anew: bool,
}

/// Who owns a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    pub node: NodeId,
    pub term: Term,
}

/// The directory. Leases run out by themselves; everything here is a hint that the store's fence backs up (invariants 2 and 3).
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    // ---- nodes
    /// Takes or renews a node's lease; `AlreadyExists` while another incarnation of this node holds it. Call it at least three
    /// times in each lease: it also keeps alive what the node registered.
    async fn renew_node(&self, node: NodeLease, lease: Duration) -> StoreResult<Renewed>;
    /// Ends this incarnation's lease, with the node's shards and registrations. Nothing happens when another one holds it.
    async fn leave(&self, node: NodeLease) -> StoreResult<()>;
    /// Returns the nodes whose leases run, in ascending order.
    async fn nodes(&self) -> StoreResult<Vec<NodeLease>>;

    // ---- shards
    /// Claims those shards that nobody holds and renews those that this owner holds with this term; returns who holds each now,
    /// in the order asked for. One round trip. A shard that goes missing may be claimed only after a whole lease of observed
    /// absence, because its owner may be alive and everything wiped; that is the caller's duty.
    async fn claim_shards(&self, claims: &[(Shard, Owner)], lease: Duration) -> StoreResult<Vec<Owner>>;
    /// Gives up those shards that their owner still holds. One round trip.
    async fn release_shards(&self, shards: &[(Shard, Owner)]) -> StoreResult<()>;
    /// Returns who holds each shard whose lease runs, in ascending order of shards.
    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>>;

    // ---- users
    /// Notes who has (true) or has no more (false) sockets on this node. One round trip for thousands; nobody may be named twice.
    async fn put_users(&self, node: NodeLease, users: &[(UserId, bool)]) -> StoreResult<()>;
    /// Returns the nodes on which each user has sockets, in the order asked for, each list ascending. Only nodes count whose leases
    /// run with the incarnation that registered the user. One round trip for thousands.
    async fn locate_users(&self, users: &[UserId]) -> StoreResult<Vec<Vec<NodeId>>>;

    // ---- guests
    /// Gives each name to its user for `hold`, unless somebody has it; returns who has each now, in order. Whoever has it keeps it for
    /// at least `hold` from now: entering under a name prolongs it. One round trip for thousands.
    async fn hold_guest_names(&self, names: &[(Name, UserId)], hold: Duration) -> StoreResult<Vec<UserId>>;
    /// The same for one name.
    async fn hold_guest_name(&self, name: &str, user: UserId, hold: Duration) -> StoreResult<UserId> {
        let held = self.hold_guest_names(&[(name.into(), user)], hold).await?;
        Ok(held.first().copied().unwrap_or(user))
    }
    /// Returns who has the name; prolongs nothing.
    async fn guest_name_holder(&self, name: &str) -> StoreResult<Option<UserId>>;
    /// Gives the name up, if this user has it.
    async fn release_guest_name(&self, name: &str, user: UserId) -> StoreResult<()>;

    async fn ping(&self) -> StoreResult<()>;
}
