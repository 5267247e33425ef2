//! Envelopes from node to node.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{StoreResult, directory::NodeLease};

/// A message between nodes, opaque to the bus.
pub type Payload = bytes::Bytes;

/// The bus between nodes. A hint, never a promise: an envelope may be lost, and nothing acknowledged depends on one (invariant 2).
/// Envelopes from one node to another that arrive do so in the order in which they were sent; sends that were not awaited one
/// after the other have no order.
///
/// A mailbox belongs to one incarnation of a node: what was sent to a node that died is never read by its next life.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends an envelope. `Ok` means handed over, not arrived; `LimitReached` that the receiver's mailbox is full or the payload
    /// larger than [`chinwag_schema::limits::cluster::ENVELOPE_MAX_BYTES`]; `NotFound` that this incarnation has no mailbox (any more).
    async fn send(&self, to: NodeLease, payload: Payload) -> StoreResult<()>;

    /// Sends many, in order, in as few round trips as possible; returns what became of each, in order.
    async fn send_many(&self, envelopes: Vec<(NodeLease, Payload)>) -> Vec<StoreResult<()>>;

    /// Sends to every node that is subscribed, the sender included. `LimitReached` that a mailbox was full; the others got it.
    async fn broadcast(&self, payload: Payload) -> StoreResult<()>;

    /// Opens this node's mailbox, in which at most `bound` envelopes wait; a later call replaces the earlier mailbox, whose
    /// receiver ends. Dropping the receiver closes the mailbox.
    async fn subscribe(&self, node: NodeLease, bound: usize) -> StoreResult<mpsc::Receiver<Payload>>;

    /// Deletes the mailbox with all that waits in it; its receiver ends.
    async fn unsubscribe(&self, node: NodeLease) -> StoreResult<()>;

    async fn ping(&self) -> StoreResult<()>;
}
