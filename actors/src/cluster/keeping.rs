//! What a node does when shards, nodes or the directory change.

use std::{sync::Arc, time::Duration};

use chinwag_schema::ids::{ConversationId, Term};
use tokio::{sync::oneshot, time::timeout};

use super::{
    peer::PeerMessage,
    shards::{ShardEvent, Shards, ShardsKeep, ShardsMessage},
};
use crate::{
    directory::DirectoryMessage, engine::Node, ports::directory::Directory, presence::PresenceMessage, runtime::Mailbox,
};

/// All shards of a node that drains: a few at a time, each with a second for its appends.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(20);
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Starts the keeper of a node that has joined.
pub fn start(node: &Arc<Node>, port: Arc<dyn Directory>) -> Mailbox<ShardsMessage> {
    let here = Arc::downgrade(node);
    let heed = move |event| {
        if let Some(node) = here.upgrade() {
            heed(&node, event);
        }
    };
    let (me, terms, table) = (node.cluster.me, Arc::new(node.accounts.clone()), node.shards.clone());
    let clock = Arc::new(node.runtime.clock().clone());
    let keep = ShardsKeep::new(me, port, terms, clock, table, heed);
    node.runtime.spawn::<Shards>(0, move || keep)
}

impl Node {
    /// Hands this node's shards to the others, and takes none any more. Returns when they have them, or it takes too long. Sockets stay,
    /// and go on through the others.
    pub async fn hand_over_shards(&self) {
        let Some(keeper) = self.keeper.get().filter(|_| self.cluster.has_peers()) else { return };
        let (done, handed_over) = oneshot::channel();
        let _ = keeper.tell_always(ShardsMessage::Drain { done });
        if timeout(HAND_OVER_PATIENCE, handed_over).await.is_err() {
            tracing::warn!(
                "the other nodes didn't take all shards in time; they will when this node's lease has ended"
            );
        }
    }

    /// The store refused this node's term for a conversation: a larger one was given out, which the keeper must exceed, or accept.
    pub fn fenced(&self, conversation: ConversationId, term: Term) {
        if let Some(keeper) = self.keeper.get() {
            let shard = conversation.shard();
            // Full: the next one says it again.
            let _ = keeper.tell(ShardsMessage::Fenced { shard, term, found: None });
        }
    }

    /// Ends this node's lease, so that the others needn't wait for its end. The last thing that a node does.
    pub async fn leave(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let (done, left) = oneshot::channel();
        let _ = keeper.tell_always(ShardsMessage::Leave { done });
        // The lease then runs out.
        let _ = timeout(LEAVE_PATIENCE, left).await;
    }
}

/// Called on the keeper's thread: tells others, and waits for nothing. Past the bounds: each event happens a few times an hour.
fn heed(node: &Arc<Node>, event: ShardEvent) {
    match event {
        ShardEvent::NodesChanged { joined, lost } => {
            // First: one that started anew is in both.
            for lost in &lost {
                if let Some(peer) = node.cluster.peer(lost.node) {
                    let _ = peer.tell_always(PeerMessage::Seen(None));
                }
            }
            for joined in joined {
                if let Some(peer) = node.cluster.peer_or_start(joined.node) {
                    let _ = peer.tell_always(PeerMessage::Seen(Some(joined.incarnation)));
                }
            }
            if !lost.is_empty() {
                let _ = node.presence.tell_always(PresenceMessage::NodesLost);
            }
        }
        ShardEvent::Gained(shards) => shards.iter().for_each(|(shard, _)| node.conversations.tell_parked(*shard)),
        ShardEvent::OwnersChanged(shards) => shards.iter().for_each(|shard| node.conversations.tell_parked(*shard)),
        ShardEvent::Lost(shards) => node.conversations.lost(&shards),
        ShardEvent::HandOver { shard, to: _, done } => node.conversations.hand_over(shard, done),
        ShardEvent::Offered { to, shards: _ } => {
            if let Some(peer) = node.cluster.peer(to) {
                let _ = peer.tell_always(PeerMessage::Look);
            }
        }
        ShardEvent::DirectoryAnew => {
            let _ = node.directory.tell_always(DirectoryMessage::Anew);
        }
        ShardEvent::Displaced => {
            tracing::error!(node = node.id.0, "another process took this node's name; this one stops");
            node.displaced.notify_one();
        }
    }
}
