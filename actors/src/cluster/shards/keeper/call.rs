//! One call of the directory: renews the lease of this node and of all its shards, gives up what is handed over, and claims.
//!
//! One at a time. So a shard can't be renewed behind its release, and all that is ours has one lease.

use std::{sync::Arc, time::Duration};

use chinwag_schema::{ids::Shard, limits::shards::LEASE};

use crate::ports::{
    StoreError, StoreResult,
    directory::{Directory, NodeLease, Owner, Renewed},
};

/// What a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It is ours.
    Renew,
    /// It should become ours.
    Gain,
    /// It is handed to the node named.
    Offer,
}

/// A claim of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub shard: Shard,
    pub owner: Owner,
    pub why: Why,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// When it was sent, by the clock of leases: from then on counts what it renews.
    pub sent: Duration,
    pub releases: Vec<(Shard, Owner)>,
    pub claims: Vec<Claim>,
}

/// A call, and what the directory said: the renewal, and the holder of each claimed shard.
pub struct Called {
    pub(super) call: Call,
    pub(super) result: StoreResult<(Renewed, Vec<Owner>)>,
}

impl Call {
    pub(super) async fn run(self, port: Arc<dyn Directory>, me: NodeLease, deadline: Duration) -> Called {
        let result = match tokio::time::timeout(deadline, self.answer(&*port, me)).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable(format!("the directory did not answer within {deadline:?}"))),
        };
        Called { call: self, result }
    }

    async fn answer(&self, port: &dyn Directory, me: NodeLease) -> StoreResult<(Renewed, Vec<Owner>)> {
        let renewed = port.renew_node(me, LEASE).await?;
        if !self.releases.is_empty() {
            port.release_shards(&self.releases).await?;
        }
        if self.claims.is_empty() {
            return Ok((renewed, Vec::new()));
        }
        let claims: Vec<_> = self.claims.iter().map(|claim| (claim.shard, claim.owner)).collect();
        let holders = port.claim_shards(&claims, LEASE).await?;
        if holders.len() != claims.len() {
            return Err(StoreError::Corrupt(format!("{} holders of {} shards", holders.len(), claims.len())));
        }
        Ok((renewed, holders))
    }
}
