//! What a node does when shards, nodes or the directory change.

use std::sync::Arc;

use super::{
    peer::PeerMessage,
    shards::{BootClock, ShardEvent, Shards, ShardsKeep, ShardsMessage},
};
use crate::{
    directory::DirectoryMessage, engine::Node, ports::directory::Directory, presence::PresenceMessage, runtime::Mailbox,
};

/// Starts the keeper of a node that has joined.
pub fn start(node: &Arc<Node>, port: Arc<dyn Directory>) -> Mailbox<ShardsMessage> {
    let here = Arc::downgrade(node);
    let heed = move |event| {
        if let Some(node) = here.upgrade() {
            heed(&node, event);
        }
    };
    let (me, terms, table) = (node.cluster.me, Arc::new(node.accounts.clone()), node.shards.clone());
    let keep = ShardsKeep::new(me, port, terms, Arc::new(BootClock), table, heed);
    node.runtime.spawn::<Shards>(0, move || keep)
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
