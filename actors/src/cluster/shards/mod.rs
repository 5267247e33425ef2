//! Who owns which shard, and how this node knows that it still does.
//!
//! ```text
//! lease    time that goes on while we sleep; the table that every message reads
//! sight    what this node has seen of the directory, look by look
//! plan     (what was seen, what we have, now) → what to claim and what to hand over; pure
//! keeper   the actor that looks, renews, claims and hands over
//! ```
//!
//! The rules:
//!
//! - A node owns a shard while the directory names it with its term and the node's own lease runs. The lease is measured here, on a
//!   clock that doesn't stop, from *before* a renewal was sent that renewed all shards at once. After its end [`ShardTable::term`] is
//!   `None`, whatever else this node believes.
//! - A shard that nobody holds is claimed after a whole lease of *observed* absence: looks that succeeded, one after another, none of
//!   which saw an owner. So an owner that lives registers again first when the directory was wiped or couldn't be reached. A first
//!   start is no exception: an empty directory can't be told from a wiped one. So a cluster that starts waits for one lease, and
//!   looks again at its very end.
//! - Each change of owner takes a fresh term from the account store, just before the claim.
//! - A shard that is handed over is *offered*: the old owner gives it up and notes the heir in its place, with term 0, which nobody
//!   owns with. The heir alone takes it, at once. Whoever ranks first for a shard (rendezvous hashing over the nodes that live)
//!   is its heir.
//!
//! The store's fence is what keeps two owners from writing; all this keeps them from serving, and from getting in each other's way.

pub mod keeper;
pub mod lease;
pub mod plan;
pub mod sight;

use chinwag_schema::ids::{NodeId, Shard, Term};
use futures_util::future::LocalBoxFuture;

use crate::{
    ports::{StoreResult, directory::NodeLease},
    runtime::Mailbox,
    storage::accounts::Accounts,
};

pub use keeper::{
    Shards, ShardsKeep, ShardsMessage,
    join::{JoinError, join},
};
pub use lease::{BootClock, LeaseClock, ShardCounts, ShardState, ShardTable};

/// Term of an offer: the node named has been handed the shard and hasn't taken it yet.
pub const OFFERED: Term = Term(0);

/// Returns all shards.
pub fn all() -> impl Iterator<Item = Shard> {
    (0..=u8::MAX).map(Shard)
}

/// What the keeper tells the node. It is told on the keeper's thread and must not wait.
#[derive(Debug)]
pub enum ShardEvent {
    /// Other nodes came or went. One that was absent for a whole lease is lost; one that started anew is lost and joined.
    NodesChanged { joined: Vec<NodeLease>, lost: Vec<NodeLease> },
    /// These shards are served here from now on.
    Gained(Vec<(Shard, Term)>),
    /// These are not ours any more, or can't be proven to be: their conversations stop at once and answer nothing that they
    /// remember.
    Lost(Vec<Shard>),
    /// The shard is handed over: its conversations settle what is being appended, then stop. Whoever is done completes `done`; after
    /// [`limits::shards::HAND_OVER_MAX`] the shard is given up anyway, and lost.
    ///
    /// [`limits::shards::HAND_OVER_MAX`]: chinwag_schema::limits::shards::HAND_OVER_MAX
    HandOver { shard: Shard, to: Option<NodeId>, done: HandedOver },
    /// These shards were given up and are offered to a node, which takes them within a second; at once if its keeper is told
    /// [`ShardsMessage::Look`].
    Offered { to: NodeId, shards: Vec<Shard> },
    /// Another owner of these shards became known: what waits for them can be told.
    OwnersChanged(Vec<Shard>),
    /// The directory had forgotten this node: everything has to be registered again.
    DirectoryAnew,
    /// Another process took this node's name while our lease had run out. This one must end: its identifiers would collide.
    Displaced,
}

/// Says that the conversations of a shard have stopped; dropping it says the same.
#[derive(Debug)]
pub struct HandedOver {
    keeper: Mailbox<ShardsMessage>,
    shard: Shard,
    term: Term,
}

impl HandedOver {
    /// All conversations of the shard have stopped.
    pub fn complete(self) {}
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        // Past the bound: one per hand-over, of which few run at a time.
        let _ = self.keeper.tell_always(ShardsMessage::HandedOver { shard: self.shard, term: self.term });
    }
}

/// Where terms come from. Each call has a deadline.
pub trait Terms: Send + Sync + 'static {
    /// Returns for each shard a term larger than any given before.
    fn next_terms(&self, shards: Vec<Shard>) -> LocalBoxFuture<'static, StoreResult<Vec<Term>>>;
    /// Makes later terms larger than those named.
    fn raise_terms(&self, terms: Vec<(Shard, Term)>) -> LocalBoxFuture<'static, StoreResult<()>>;
}

impl Terms for Accounts {
    fn next_terms(&self, shards: Vec<Shard>) -> LocalBoxFuture<'static, StoreResult<Vec<Term>>> {
        let accounts = self.clone();
        let next = move |store: std::sync::Arc<dyn crate::ports::account_store::AccountStore>| async move {
            store.next_terms(&shards).await
        };
        Box::pin(async move { accounts.call("next_terms", next).await })
    }

    fn raise_terms(&self, terms: Vec<(Shard, Term)>) -> LocalBoxFuture<'static, StoreResult<()>> {
        let accounts = self.clone();
        let raise = move |store: std::sync::Arc<dyn crate::ports::account_store::AccountStore>| async move {
            store.raise_terms(&terms).await
        };
        Box::pin(async move { accounts.call("raise_terms", raise).await })
    }
}
