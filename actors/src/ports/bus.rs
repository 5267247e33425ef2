//! The bus between nodes: one bounded mailbox per node, and a broadcast.

use async_trait::async_trait;
use chinwag_schema::ids::NodeId;
use tokio::sync::mpsc;

use super::StoreResult;

/// A message between nodes, opaque to the bus.
pub type Payload = bytes::Bytes;

/// Whom an envelope goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Node(NodeId),
    /// Every node that is subscribed, the sender included.
    All,
}

/// The bus between nodes. A hint, never a promise: an envelope may be lost, and nothing acknowledged depends on one (invariant 2).
/// Envelopes from one node to another that arrive do so in order.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends an envelope. `Ok` means handed over, not arrived; `LimitReached` that the receiver's mailbox is full
    /// (with [`To::All`]: one of them; the others got it); `NotFound` that the backend knows of no such mailbox.
    async fn send(&self, to: To, payload: Payload) -> StoreResult<()>;

    /// Opens this node's mailbox, in which at most `bound` envelopes wait; a later call replaces the earlier mailbox.
    async fn subscribe(&self, node: NodeId, bound: usize) -> StoreResult<mpsc::Receiver<Payload>>;

    async fn ping(&self) -> StoreResult<()>;
}
