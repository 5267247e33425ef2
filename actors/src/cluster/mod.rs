//! The other nodes: how a conversation owned elsewhere is reached, and how one owned here reaches sockets that live elsewhere.
//!
//! ```text
//! frame     what two nodes tell each other          envelope  what goes over the bus, and the keyring that proves it
//! link/     in order, once each, or 'down',         peer/     one other node: its actor
//!           over a bus that loses                   shards/   who owns what, leases, hand-over
//! park      what waits until a shard has an owner
//! ```

pub mod envelope;
pub mod frame;
pub mod gather;
pub mod keeping;
pub mod keyring;
pub mod link;
pub mod park;
pub mod peer;
pub mod shards;

use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use bytes::Bytes;
use chinwag_schema::{
    envelope::{Body, Envelope as Hint},
    error::ClientError,
    ids::{ConversationId, NodeId},
};
use rustc_hash::FxHashMap;

use crate::{
    conversation::messages::ConversationMessage,
    engine::Node,
    ports::{bus::Bus, directory::NodeLease},
    relay::RelayMessage,
    runtime::{Mailbox, Refused},
};
use envelope::{Envelope, GREETING_VERSION};
use keyring::Keyring;
use link::{Epochs, LinkGauge};
use peer::{Peer, PeerKeep, PeerMessage};

/// A hint that comes later than this is worth nothing, ms.
const HINT_KEPT_MS: i64 = 60_000;

/// What makes a node one of several.
pub struct ClusterSettings {
    /// Proves that an envelope comes from a node of this cluster.
    pub keys: Keyring,
}

/// A node that was heard of.
struct Known {
    peer: Mailbox<PeerMessage>,
    link: Arc<LinkGauge>,
}

/// The other nodes, as all actors of this one see them. A lone node has none, and everything here costs it a look at an empty table.
pub struct Cluster {
    pub me: NodeLease,
    pub bus: Arc<dyn Bus>,
    pub keys: Keyring,
    /// Of this life, for all links.
    pub epochs: Epochs,
    clustered: bool,
    peers: RwLock<FxHashMap<NodeId, Known>>,
    node: OnceLock<Weak<Node>>,
}

impl Cluster {
    /// Makes the table of a node that knows no other yet.
    pub fn new(me: NodeLease, bus: Arc<dyn Bus>, settings: Option<ClusterSettings>) -> Self {
        let clustered = settings.is_some();
        let keys = settings.map_or_else(Keyring::random, |settings| settings.keys);
        let epochs = Epochs::default();
        Self { me, bus, keys, epochs, clustered, peers: RwLock::default(), node: OnceLock::new() }
    }

    /// Says which node this is; once, before the first message.
    pub fn attach(&self, node: &Arc<Node>) {
        // A second call would be a defect of bootstrap; the first stays.
        let _ = self.node.set(Arc::downgrade(node));
    }

    /// Returns the envelope of something that all nodes may want to know, this one included.
    pub fn hint(&self, body: Body, now_ms: i64) -> Bytes {
        let hint = Hint { version: Hint::VERSION, from: self.me.node, body };
        Envelope::hint(self.me, GREETING_VERSION, hint.encode()).seal(&self.keys, now_ms + HINT_KEPT_MS)
    }

    /// Says whether this node may have others beside it.
    pub fn is_clustered(&self) -> bool {
        self.clustered
    }

    /// Says whether another node was ever heard of.
    pub fn has_peers(&self) -> bool {
        self.is_clustered() && !self.peers.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns the peer actor of a node that was heard of.
    pub fn peer(&self, node: NodeId) -> Option<Mailbox<PeerMessage>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).map(|known| known.peer.clone())
    }

    /// Returns the peer actor of another node, and starts it the first time. At most 1,023 ever.
    pub fn peer_or_start(&self, node: NodeId) -> Option<Mailbox<PeerMessage>> {
        if node == self.me.node || !self.is_clustered() {
            return None;
        }
        if let Some(peer) = self.peer(node) {
            return Some(peer);
        }
        let here = self.node.get().and_then(Weak::upgrade)?;
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let known = peers.entry(node).or_insert_with(|| {
            let worker = usize::from(node.0);
            let link = Arc::<LinkGauge>::default();
            let keep = PeerKeep::new(here.clone(), node, link.clone());
            Known { peer: here.runtime.spawn::<Peer>(worker, move || keep), link }
        });
        Some(known.peer.clone())
    }

    /// Calls `tell` for each node that was heard of.
    pub fn everyone(&self, mut tell: impl FnMut(&Mailbox<PeerMessage>)) {
        if self.is_clustered() {
            self.peers.read().unwrap_or_else(PoisonError::into_inner).values().for_each(|known| tell(&known.peer));
        }
    }

    /// Returns the links to all nodes that were heard of, by node.
    pub fn links(&self) -> Vec<(NodeId, Arc<LinkGauge>)> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let mut links: Vec<_> = peers.iter().map(|(&node, known)| (node, known.link.clone())).collect();
        links.sort_unstable_by_key(|(node, _)| *node);
        links
    }

    /// Hands something to sockets of another node; false when its actor has too much to do, and should be asked again.
    pub fn to_node(&self, node: NodeId, message: RelayMessage) -> bool {
        // Unknown: it is gone, and its sockets with it.
        let Some(peer) = self.peer(node) else { return true };
        !matches!(peer.tell(PeerMessage::Relay(message)), Err(Refused::Full(_)))
    }

    /// Hands something that must arrive, and is bounded by the number of sockets, to another node.
    pub fn to_node_always(&self, node: NodeId, message: RelayMessage) {
        if let Some(peer) = self.peer(node) {
            let _ = peer.tell_always(PeerMessage::Relay(message));
        }
    }

    /// Sends a message to the owner of its conversation; gives it back if that was never heard of ([`None`]: it is on its way).
    pub fn forward(
        &self,
        owner: NodeId,
        conversation: ConversationId,
        message: ConversationMessage,
    ) -> Option<ConversationMessage> {
        let Some(peer) = self.peer_or_start(owner) else { return Some(message) };
        let always = message.must_arrive();
        let forward = PeerMessage::Forward { conversation, message };
        let told = match always {
            true => peer.tell_always(forward),
            false => peer.tell(forward),
        };
        if let Err(refused) = told
            && let PeerMessage::Forward { message, .. } = refused.into_inner()
        {
            message.refuse(ClientError::unavailable("the conversation's node"));
        }
        None
    }
}
