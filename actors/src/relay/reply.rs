//! Where an answer of a conversation goes.

use chinwag_schema::{error::ClientError, ids::Slot};

use super::RelayMessage;
use crate::{cluster::peer::PeerMessage, conversation::messages::Answer, runtime::Mailbox, session::Tag};

/// Where an answer goes: a socket and what its session wants to know again, or the node that asked for one of its sockets. Dropped without
/// an answer (a handler panicked, a queue was closed), it answers 'internal error' by itself, so that no request stays open.
pub struct ReplyTo(Option<Target>);

enum Target {
    Socket { relay: Mailbox<RelayMessage>, slot: Slot, tag: Tag },
    Peer { peer: Mailbox<PeerMessage>, n: u64 },
}

impl ReplyTo {
    /// Makes a reply for `slot`, whose relay is `relay`.
    pub fn new(relay: Mailbox<RelayMessage>, slot: Slot, tag: Tag) -> Self {
        Self(Some(Target::Socket { relay, slot, tag }))
    }

    /// Makes a reply for the request `n` of another node.
    pub fn peer(peer: Mailbox<PeerMessage>, n: u64) -> Self {
        Self(Some(Target::Peer { peer, n }))
    }

    /// Makes a reply that nobody waits for.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Says whether nobody waits.
    pub fn is_nobody(&self) -> bool {
        self.0.is_none()
    }

    /// Answers.
    pub fn send(mut self, answer: Answer) {
        self.answer(answer);
    }

    /// Answers with an error.
    pub fn fail(self, error: ClientError) {
        self.send(Answer::Failed(error));
    }

    fn answer(&mut self, answer: Answer) {
        // Past the bounds: the request was admitted, by the bounds of mailboxes, of what waits for an append, and of rates.
        match self.0.take() {
            Some(Target::Socket { relay, slot, tag }) => {
                let _ = relay.tell_always(RelayMessage::Answer { slot, tag, answer });
            }
            Some(Target::Peer { peer, n }) => {
                let _ = peer.tell_always(PeerMessage::Answered { n, answer });
            }
            None => {}
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.answer(Answer::Failed(ClientError::internal()));
    }
}
