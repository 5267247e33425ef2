//! Who is where: nodes, the owners of shards, and the nodes on which a user is.

use std::time::Duration;

use async_trait::async_trait;
use chinwag_schema::ids::{NodeId, Shard, Term, UserId};

use super::StoreResult;

/// Who owns a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub node: NodeId,
    pub term: Term,
}

/// The directory. Leases run out by themselves; everything here is a hint that the store's fence backs up (invariants 2 and 3).
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Takes or renews this node's lease.
    async fn renew_node(&self, node: NodeId, lease: Duration) -> StoreResult<()>;
    /// Ends this node's lease, with its shards and registrations.
    async fn leave(&self, node: NodeId) -> StoreResult<()>;
    /// Returns the nodes whose leases run.
    async fn nodes(&self) -> StoreResult<Vec<NodeId>>;

    /// Claims a shard that nobody holds, or renews one that this node holds with this term; returns who holds it now.
    async fn claim_shard(&self, shard: Shard, owner: Owner, lease: Duration) -> StoreResult<Owner>;
    /// Gives a shard up, if this owner holds it.
    async fn release_shard(&self, shard: Shard, owner: Owner) -> StoreResult<()>;
    /// Returns who holds each shard.
    async fn owners(&self) -> StoreResult<Vec<(Shard, Owner)>>;

    /// Notes that the user has (or has no more) sockets on this node.
    async fn put_user(&self, node: NodeId, user: UserId, present: bool) -> StoreResult<()>;
    /// Returns the nodes on which the user has sockets.
    async fn locate_user(&self, user: UserId) -> StoreResult<Vec<NodeId>>;

    async fn ping(&self) -> StoreResult<()>;
}
