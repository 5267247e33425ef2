//! Finds the actor of a conversation on this node, and starts it when there is none.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::{ConversationId, Shard},
    model::ConversationKind,
};
use rustc_hash::FxHashMap;

use super::{
    Conversation,
    messages::ConversationMessage,
    policy::{Direct, Group, Room},
};
use crate::{
    cluster::shards::{HandedOver, ShardState},
    engine::Node,
    runtime::{Mailbox, Refused},
    snowflake::kind_of,
};

const PARTS: usize = 64;

/// A message that waits until its conversation has an owner.
pub type Parked = Box<(ConversationId, ConversationMessage)>;

type Active = FxHashMap<ConversationId, Mailbox<ConversationMessage>>;

/// The active conversations of a node. Shared by all threads, in parts, so that a look-up rarely waits.
pub struct Router {
    parts: Vec<Mutex<Active>>,
    node: OnceLock<Weak<Node>>,
}

impl Default for Router {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), node: OnceLock::new() }
    }
}

impl Router {
    /// Says which node the conversations belong to; once, before the first message.
    pub fn attach(&self, node: &Arc<Node>) {
        // A second call would be a defect of bootstrap; the first stays.
        let _ = self.node.set(Arc::downgrade(node));
    }

    fn part(&self, id: ConversationId) -> MutexGuard<'_, Active> {
        self.parts[usize::from(id.shard().0) % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a conversation something, waking it if it sleeps. What can't be taken is answered through the message's own reply.
    pub fn tell(&self, id: ConversationId, message: ConversationMessage) {
        let Some(kind) = kind_of(id) else {
            return message.refuse(ClientError::new(ErrorCode::NotFound, "no such conversation"));
        };
        let Some(node) = self.node.get().and_then(Weak::upgrade) else {
            return message.refuse(ClientError::unavailable("the server"));
        };
        let shard = id.shard();
        if node.owns(id) && !node.park.waits(shard) {
            return self.tell_local(&node, id, kind, message);
        }
        node.park.tell(shard, Box::new((id, message)), |parked| self.place(&node, parked));
    }

    /// Tells what waits for a shard, if it has an owner now.
    pub fn tell_parked(&self, shard: Shard) {
        if let Some(node) = self.node.get().and_then(Weak::upgrade) {
            node.park.tell_again(shard, |parked| self.place(&node, parked));
        }
    }

    /// Tells the conversation here, or its owner elsewhere; gives the message back while nobody is known to own it.
    fn place(&self, node: &Arc<Node>, parked: Parked) -> Result<(), Parked> {
        let id = parked.0;
        match (node.shards.state(id.shard()), kind_of(id)) {
            (ShardState::Ours(_), Some(kind)) => self.tell_local(node, id, kind, parked.1),
            (ShardState::Anothers(owner), _) => {
                if let Some(message) = node.cluster.forward(owner, id, parked.1) {
                    return Err(Box::new((id, message)));
                }
            }
            _ => return Err(parked),
        }
        Ok(())
    }

    /// Tells a conversation of this node something that another node sent; gives it back when it isn't this node's any more.
    pub fn tell_here(&self, id: ConversationId, message: ConversationMessage) -> Result<(), Box<ConversationMessage>> {
        match (kind_of(id), self.node.get().and_then(Weak::upgrade)) {
            (Some(kind), Some(node)) if node.owns(id) => self.tell_local(&node, id, kind, message),
            _ => return Err(Box::new(message)),
        }
        Ok(())
    }

    fn tell_local(
        &self,
        node: &Arc<Node>,
        id: ConversationId,
        kind: ConversationKind,
        mut message: ConversationMessage,
    ) {
        loop {
            let mailbox = {
                let mut part = self.part(id);
                match part.get(&id) {
                    Some(mailbox) if !mailbox.is_closed() => mailbox.clone(),
                    _ => {
                        // With its message from the start: one for which there is no conversation stops as soon as nothing waits.
                        part.insert(id, start(node, id, kind, message));
                        return;
                    }
                }
            };
            message = match mailbox.tell(message) {
                Ok(()) => return,
                // It was about to sleep; the next one takes it.
                Err(Refused::Closed(message)) => message,
                Err(Refused::Full(message)) if message.must_arrive() => match mailbox.tell_always(message) {
                    Ok(()) => return,
                    Err(refused) => refused.into_inner(),
                },
                Err(Refused::Full(message)) => {
                    return message.refuse(ClientError::unavailable("the conversation"));
                }
            };
        }
    }

    /// Returns the address of a conversation that is awake here.
    pub fn awake(&self, id: ConversationId) -> Option<Mailbox<ConversationMessage>> {
        self.part(id).get(&id).cloned()
    }

    /// Tells a conversation something if it is awake; it doesn't matter to one that sleeps. Never refused for a full mailbox: what goes
    /// this way is bounded by the number of sockets.
    pub fn tell_active(&self, id: ConversationId, message: ConversationMessage) {
        let mailbox = self.part(id).get(&id).cloned();
        if let Some(mailbox) = mailbox {
            let _ = mailbox.tell_always(message);
        }
    }

    /// Lets all active conversations of a shard go, as soon as their appends are settled; the last one drops `done`. New messages
    /// don't come here any more.
    pub fn hand_over(&self, shard: Shard, done: HandedOver) {
        let done = Arc::new(done);
        for mailbox in self.of_shard(shard) {
            // Past the bound: once per move. Closed: it has gone by itself.
            let _ = mailbox.tell_always(ConversationMessage::HandOver { done: done.clone() });
        }
    }

    /// The shards are lost: their conversations notice when they are told anything, and go at once.
    pub fn lost(&self, shards: &[Shard]) {
        for &shard in shards {
            for mailbox in self.of_shard(shard) {
                let _ = mailbox.tell_always(ConversationMessage::Touch);
            }
        }
    }

    fn of_shard(&self, shard: Shard) -> Vec<Mailbox<ConversationMessage>> {
        let part = self.parts[usize::from(shard.0) % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        part.iter().filter(|(id, _)| id.shard() == shard).map(|(_, mailbox)| mailbox.clone()).collect()
    }

    /// Forgets an actor that stopped, unless another has taken its place.
    pub(super) fn forget(&self, id: ConversationId, stopped: &Mailbox<ConversationMessage>) {
        let mut part = self.part(id);
        if part.get(&id).is_some_and(|mailbox| mailbox.same_actor(stopped)) {
            part.remove(&id);
        }
    }

    /// Returns how many conversations are active.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Says whether none is active.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn start(
    node: &Arc<Node>,
    id: ConversationId,
    kind: ConversationKind,
    first: ConversationMessage,
) -> Mailbox<ConversationMessage> {
    let (worker, first) = (usize::from(id.shard().0), Some(first));
    let keep = super::ConversationKeep::new(node.clone(), id);
    match kind {
        ConversationKind::Room => node.runtime.spawn_told::<Conversation<Room>>(worker, first, move || keep),
        ConversationKind::Group => node.runtime.spawn_told::<Conversation<Group>>(worker, first, move || keep),
        ConversationKind::Direct => node.runtime.spawn_told::<Conversation<Direct>>(worker, first, move || keep),
    }
}
