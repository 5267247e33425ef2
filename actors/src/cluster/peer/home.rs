//! What sockets of this node have at another: questions that wait for an answer, and places in conversations that are owned there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chinwag_schema::{
    error::ClientError,
    event::Class,
    ids::{ConversationId, Seq, Slot},
};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;

use crate::{
    cluster::{
        frame::{Command, Frame, Sent},
        gather::Told,
    },
    conversation::messages::{Answer, Caller, ConversationMessage},
    relay::ReplyTo,
};

/// Questions that may wait for answers of one node. Rates and the bounds of its conversations keep it far below.
pub const WAITING_MAX: usize = 65_536;

/// How long a closed socket is remembered: longer than anything waits for an owner.
const GONE_KNOWN: Duration = Duration::from_secs(15);
/// Those remembered longer are forgotten when so many are, or twice as many as were left the last time.
const GONE_SWEPT: usize = 4096;

/// What this node's sockets have at one other node.
#[derive(Default)]
pub struct Home {
    last_n: u64,
    waiting: FxHashMap<u64, Waiting>,
    asks: FxHashMap<u64, oneshot::Sender<Told>>,
    conversations: FxHashMap<ConversationId, Far>,
    /// In which of them a socket is. Also those whose node was told of the socket, with none.
    sockets: FxHashMap<Slot, FxHashSet<ConversationId>>,
    /// Sockets that closed a moment ago: what was told for them before and comes here only now finds nobody.
    gone: FxHashMap<Slot, Instant>,
    gone_left: usize,
}

struct Waiting {
    reply: ReplyTo,
    /// The place that an error takes away again.
    listens: Option<(ConversationId, Slot)>,
    /// The place that a member's socket keeps when it doesn't listen any more.
    unlistens: Option<(ConversationId, Slot)>,
}

/// A conversation there.
#[derive(Default)]
struct Far {
    /// The newest event that its attached sockets were handed here.
    last: Seq,
    places: FxHashMap<Slot, Place>,
}

/// A socket's place in it.
struct Place {
    from: Arc<Caller>,
    /// Joined as a listener.
    explicit: bool,
    /// What it has, until it is attached: then it has what the conversation's others have.
    after: Seq,
    attached: bool,
    /// Its place was asked for and the owner hasn't said yet that it is attached: what the owner said before doesn't count.
    asked: bool,
    /// Its first `Listen` isn't answered yet: an error takes the place away.
    first: bool,
    /// It asked to leave.
    leaving: bool,
}

/// What is left when the link broke: each is to be told to the conversation's next owner.
pub struct Left {
    pub conversation: ConversationId,
    pub message: ConversationMessage,
}

/// What is left when the link broke.
#[derive(Default)]
pub struct Aftermath {
    pub left: Vec<Left>,
    /// Sockets that had asked to leave: their relays don't hear of it from the owner any more.
    pub detached: Vec<(ConversationId, Slot)>,
}

impl Home {
    /// Makes the frame of a message for a conversation there. A message that doesn't travel is dropped; one too many is refused.
    pub fn forward(&mut self, conversation: ConversationId, message: ConversationMessage) -> Option<Frame> {
        if let ConversationMessage::Touch = message {
            return Some(Frame::Touch { conversation });
        }
        let (command, reply) = Command::of(message).ok()?;
        if self.waiting.len() >= WAITING_MAX && !reply.is_nobody() {
            reply.fail(ClientError::unavailable("the conversation's node"));
            return None;
        }
        if command.attaches() && self.gone.contains_key(&command.from().slot) {
            return None;
        }
        self.note(conversation, &command);
        if reply.is_nobody() {
            return Some(Frame::Command { n: 0, conversation, command });
        }
        self.last_n += 1;
        let place = Some((conversation, command.from().slot));
        let listens = place.filter(|_| matches!(command, Command::Listen { .. }));
        let unlistens = place.filter(|_| matches!(command, Command::Unlisten { .. }));
        self.waiting.insert(self.last_n, Waiting { reply, listens, unlistens });
        Some(Frame::Command { n: self.last_n, conversation, command })
    }

    /// Notes a question to the node itself; returns its number. Those whose answer nobody waits for any more are forgotten.
    pub fn ask(&mut self, reply: oneshot::Sender<Told>) -> u64 {
        self.asks.retain(|_, reply| !reply.is_closed());
        self.last_n += 1;
        self.asks.insert(self.last_n, reply);
        self.last_n
    }

    /// The node answered one.
    pub fn told(&mut self, n: u64, told: Told) {
        if let Some(reply) = self.asks.remove(&n) {
            // It took too long.
            let _ = reply.send(told);
        }
    }

    fn note(&mut self, conversation: ConversationId, command: &Command) {
        let (from, explicit, after) = match command {
            Command::Listen { from, .. } => (from, true, Seq::ZERO),
            Command::Relisten { from, after } => (from, true, *after),
            Command::Attach { from, after } => (from, false, *after),
            Command::Resume { from, position, .. } => (from, false, position.seq),
            Command::Unlisten { from } => {
                let far = self.conversations.get_mut(&conversation);
                if let Some(place) = far.and_then(|far| far.places.get_mut(&from.slot)) {
                    place.leaving = place.explicit;
                }
                return;
            }
            _ => return,
        };
        let far = self.conversations.entry(conversation).or_default();
        self.sockets.entry(from.slot).or_default().insert(conversation);
        match far.places.get_mut(&from.slot) {
            Some(place) => {
                place.explicit |= explicit;
                if std::mem::take(&mut place.leaving) && place.attached {
                    (place.attached, place.after) = (false, place.after.max(far.last));
                }
                place.asked = true;
            }
            None => {
                let first = matches!(command, Command::Listen { .. });
                let from = from.clone();
                let slot = from.slot;
                let place = Place { from, explicit, after, attached: false, asked: true, first, leaving: false };
                far.places.insert(slot, place);
            }
        }
    }

    /// Notes that the other node is being told of a socket.
    pub fn announced(&mut self, slot: Slot) {
        self.sockets.entry(slot).or_default();
    }

    /// Answers a question.
    pub fn answered(&mut self, n: u64, answer: Answer) {
        let Some(Waiting { reply, listens, unlistens }) = self.waiting.remove(&n) else { return };
        if let Some((conversation, slot)) = unlistens
            && let Some(place) = self.conversations.get_mut(&conversation).and_then(|far| far.places.get_mut(&slot))
            && place.leaving
        {
            // Still there: it is a member's, which goes on hearing the conversation.
            (place.leaving, place.explicit) = (false, false);
        }
        if let (Some((conversation, slot)), Answer::Failed(_)) = (listens, &answer) {
            let far = self.conversations.get(&conversation);
            if far.and_then(|far| far.places.get(&slot)).is_some_and(|place| place.first) {
                self.forget(conversation, slot);
            }
        }
        reply.send(answer);
    }

    /// The owner attached a socket; false if it isn't there any more.
    pub fn attached(&mut self, conversation: ConversationId, slot: Slot, upto: Seq) -> bool {
        let Some(far) = self.conversations.get_mut(&conversation) else { return false };
        let Some(place) = far.places.get_mut(&slot) else { return false };
        (place.attached, place.asked, place.first) = (true, false, false);
        place.after = place.after.max(upto);
        true
    }

    /// A part of a replay was handed on; false if the socket isn't there any more.
    pub fn replayed(&mut self, conversation: ConversationId, slot: Slot, upto: Option<Seq>) -> bool {
        let far = self.conversations.get_mut(&conversation);
        let Some(place) = far.and_then(|far| far.places.get_mut(&slot)) else { return false };
        place.after = place.after.max(upto.unwrap_or_default());
        true
    }

    /// The owner took a socket off. Its place stays if it was asked for again meanwhile.
    pub fn detached(&mut self, conversation: ConversationId, slot: Slot) {
        let far = self.conversations.get_mut(&conversation);
        match far.and_then(|far| Some((far.last, far.places.get_mut(&slot)?))) {
            Some((last, place)) if place.asked => {
                if std::mem::take(&mut place.attached) {
                    place.after = place.after.max(last);
                }
            }
            _ => self.forget(conversation, slot),
        }
    }

    fn forget(&mut self, conversation: ConversationId, slot: Slot) {
        if let Some(of) = self.sockets.get_mut(&slot) {
            of.remove(&conversation);
        }
        if let Some(far) = self.conversations.get_mut(&conversation) {
            far.places.remove(&slot);
            if far.places.is_empty() {
                self.conversations.remove(&conversation);
            }
        }
    }

    /// Notes events that are being handed on; returns the workers that have sockets attached.
    pub fn deliver(&mut self, conversation: ConversationId, events: &[Sent]) -> Vec<u16> {
        let Some(far) = self.conversations.get_mut(&conversation) else { return Vec::new() };
        for Sent(event, _) in events {
            if let Class::Sequenced { seq, .. } = *event.0.class() {
                far.last = far.last.max(seq);
            }
        }
        let mut workers: Vec<u16> =
            far.places.iter().filter(|(_, place)| place.attached).map(|(slot, _)| slot.worker).collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    }

    /// Returns the sockets of one worker that are attached to the conversation.
    pub fn sockets_of(&self, conversation: ConversationId, worker: u16) -> Vec<Slot> {
        let places = self.conversations.get(&conversation).map(|far| &far.places);
        places.into_iter().flatten().map(|(slot, _)| *slot).filter(|slot| slot.worker == worker).collect()
    }

    /// A socket of this node closed; true if the other node knows it.
    pub fn closed(&mut self, slot: Slot) -> bool {
        let now = Instant::now();
        self.gone.insert(slot, now);
        if self.gone.len() > GONE_SWEPT.max(2 * self.gone_left) {
            self.gone.retain(|_, closed_at| now.duration_since(*closed_at) < GONE_KNOWN);
            self.gone_left = self.gone.len();
        }
        let Some(conversations) = self.sockets.remove(&slot) else { return false };
        for conversation in conversations {
            self.forget(conversation, slot);
        }
        true
    }

    /// The other node doesn't own the conversation (any more): who is in it must be told to the one that does.
    pub fn elsewhere(&mut self, conversation: ConversationId, n: u64) -> Aftermath {
        if let Some(Waiting { reply, .. }) = self.waiting.remove(&n) {
            reply.fail(ClientError::unavailable("the conversation's node"));
        }
        let mut aftermath = Aftermath::default();
        if let Some(far) = self.conversations.remove(&conversation) {
            for slot in far.places.keys() {
                if let Some(of) = self.sockets.get_mut(slot) {
                    of.remove(&conversation);
                }
            }
            far.leave(conversation, &mut aftermath);
        }
        aftermath
    }

    /// The link broke: whatever waits is answered 'retry', and who listened there must be told to the next owner.
    pub fn down(&mut self) -> Aftermath {
        self.sockets.clear();
        self.asks.clear();
        let mut aftermath = Aftermath::default();
        for (conversation, far) in std::mem::take(&mut self.conversations) {
            far.leave(conversation, &mut aftermath);
        }
        for (_, Waiting { reply, .. }) in std::mem::take(&mut self.waiting) {
            reply.fail(ClientError::unavailable("the conversation's node"));
        }
        aftermath
    }

    /// Returns (questions that wait, conversations, sockets known there).
    pub fn size(&self) -> (usize, usize, usize) {
        (self.waiting.len(), self.conversations.len(), self.sockets.len())
    }
}

impl Far {
    fn leave(self, conversation: ConversationId, aftermath: &mut Aftermath) {
        let last = self.last;
        for (slot, place) in self.places {
            if place.leaving || place.first {
                aftermath.detached.push((conversation, slot));
                continue;
            }
            let after = if place.attached { last.max(place.after) } else { place.after };
            let from = place.from;
            let message = match place.explicit {
                true => ConversationMessage::Relisten { from, after },
                false => ConversationMessage::Attach { from, after },
            };
            aftermath.left.push(Left { conversation, message });
        }
    }
}

#[cfg(test)]
mod tests;
