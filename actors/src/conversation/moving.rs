//! Leaving this node: the shard is handed over, or was lost. Whoever listens is told to the next owner, from where it was served.

use std::{sync::Arc, time::Duration};

use chinwag_schema::{
    error::{ClientError, CloseCode},
    ids::Seq,
};

use super::{
    C, Conversation, ConversationKeep, Phase, Ready,
    listeners::Place,
    messages::{ConversationMessage, Woken},
    policy::Policy,
};
use crate::{
    cluster::{frame::Command, peer::PeerMessage, shards::HandedOver},
    relay::RelayMessage,
};

/// Whoever is told of something has its place in the conversation by then.
const TOUCHED_FOR: Duration = Duration::from_secs(15);

impl<P: Policy> Conversation<P> {
    /// Says whether this node may still speak for the conversation. Asked before each message, so that nothing is answered,
    /// appended or delivered after the lease ran out.
    pub(super) fn is_ours(&self, cx: &C<'_, P>) -> bool {
        match &self.phase {
            Phase::Ready(ready) => cx.keep.node.shards.term(cx.keep.id.shard()) == Some(ready.term),
            Phase::Waking { loaded: Some(ready), .. } => {
                cx.keep.node.shards.term(cx.keep.id.shard()) == Some(ready.term)
            }
            Phase::Waking { .. } | Phase::Refusing(_) | Phase::Moved => true,
        }
    }

    /// The shard is handed over: the conversation goes as soon as its appends are settled.
    pub(super) fn hand_over(&mut self, done: Arc<HandedOver>, cx: &mut C<'_, P>) {
        cx.keep.moving = Some(done);
        self.go_if_settled(cx);
    }

    /// Goes, if it should and nothing of its own is under way.
    pub(super) fn go_if_settled(&mut self, cx: &mut C<'_, P>) {
        let settled = match &self.phase {
            Phase::Ready(ready) => ready.log.is_idle(),
            Phase::Waking { .. } => false,
            Phase::Refusing(_) | Phase::Moved => true,
        };
        if settled && cx.keep.moving.is_some() {
            self.go(cx);
        }
    }

    /// Goes at once: what waits is refused (retryable), who listens is told to the next owner.
    pub(super) fn go(&mut self, cx: &mut C<'_, P>) {
        let own = cx.mailbox();
        // First, so that what is told from here on finds the next owner.
        cx.keep.node.conversations.forget(cx.keep.id, &own);
        match std::mem::replace(&mut self.phase, Phase::Moved) {
            Phase::Ready(mut ready) => {
                ready.fail_all(&gone());
                cx.keep.pass_on(ready.head.seq);
                ready.forget_users(cx.keep);
                if cx.now() - ready.busy_at < TOUCHED_FOR {
                    // Who was being told of it, and isn't attached yet, would never hear what happened here.
                    cx.keep.node.conversations.tell(cx.keep.id, ConversationMessage::Touch);
                }
            }
            Phase::Waking { waiting, .. } => {
                cx.keep.pass_on(Seq(u64::MAX));
                waiting.into_iter().for_each(|message| cx.keep.pass(message));
            }
            Phase::Refusing(_) => cx.keep.pass_on(Seq(u64::MAX)),
            Phase::Moved => {}
        }
        cx.keep.moving = None;
        cx.stop_if_idle();
    }

    /// What still comes to a conversation that has gone is for its next owner.
    pub(super) fn passed(&mut self, message: ConversationMessage, cx: &mut C<'_, P>) {
        cx.keep.pass(message);
        cx.stop_if_idle();
    }
}

impl ConversationKeep {
    /// Passes a message on to the next owner. What another node's socket asks goes back to its node, which finds the owner by itself;
    /// what was this actor's own work is void.
    fn pass(&self, message: ConversationMessage) {
        if let ConversationMessage::Touch = message {
            return self.node.conversations.tell(self.id, message);
        }
        match Command::of(message) {
            Ok((command, reply)) if command.from().slot.node == self.node.id => {
                self.node.conversations.tell(self.id, command.into_message(reply));
            }
            Ok((command, reply)) => {
                reply.fail(gone());
                if let Some(peer) = self.node.cluster.peer(command.from().slot.node) {
                    // Past the bound: as many as that node had admitted.
                    let _ = peer.tell_always(PeerMessage::Moved { conversation: self.id });
                }
            }
            Err(own) => own.refuse(gone()),
        }
    }

    /// Refuses a message to a conversation that can't be loaded. A socket that asked for its place must not believe that it has it: it is
    /// told that the conversation sleeps, so that the next waking attaches it, or it comes back by itself.
    pub(super) fn turn_away(&self, message: ConversationMessage, error: ClientError) {
        match message {
            ConversationMessage::Attach { from, after } if from.slot.node == self.node.id => {
                let (slot, woken) = (from.slot, Woken { id: self.id, head: after, added: None, requested: false });
                self.to_socket(slot, RelayMessage::Asleep { slot, woken });
            }
            ConversationMessage::Attach { from, .. } | ConversationMessage::Relisten { from, .. } => {
                let (slot, reason) = (from.slot, "a conversation failed, reconnect");
                self.to_socket(slot, RelayMessage::Close { slot, code: CloseCode::INTERNAL, reason });
            }
            message => message.refuse(error),
        }
    }

    /// Tells who listens to the next owner: our own sockets one by one, those of other nodes by their node, which knows them.
    fn pass_on(&mut self, head: Seq) {
        let mut nodes = Vec::new();
        let users: Vec<_> = self.listeners.present().map(|(_, user, _)| user).collect();
        if !users.is_empty() {
            let forget = crate::directory::DirectoryMessage::DropInterest { conversation: self.id, users };
            // Past the bound: an interest that is never dropped would leak.
            let _ = self.node.directory.tell_always(forget);
        }
        for (slot, listener, has) in self.listeners.take_all() {
            let place = Place::of(slot, self.node.id);
            match place {
                Place::Worker(_) => {
                    let after = has.unwrap_or_else(|| self.fanout.served(place).min(head));
                    let from = listener.caller;
                    let message = match listener.explicit {
                        true => ConversationMessage::Relisten { from, after },
                        false => ConversationMessage::Attach { from, after },
                    };
                    self.node.conversations.tell(self.id, message);
                }
                Place::Node(node) => nodes.push(node),
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        for peer in nodes.into_iter().filter_map(|node| self.node.cluster.peer(node)) {
            // Past the bound: once per conversation and move.
            let _ = peer.tell_always(PeerMessage::Moved { conversation: self.id });
        }
    }
}

impl Ready {
    /// The directory needn't tell this conversation of its members any more.
    fn forget_users(&self, keep: &ConversationKeep) {
        let users = self.members.keys().copied().collect();
        let forget = crate::directory::DirectoryMessage::DropInterest { conversation: keep.id, users };
        // Past the bound: an interest that is never dropped would leak.
        let _ = keep.node.directory.tell_always(forget);
        if self.numbers.is_some() {
            keep.node.board.remove(keep.id);
        }
    }
}

fn gone() -> ClientError {
    ClientError::unavailable("the conversation's node")
}
