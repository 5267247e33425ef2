//! What sockets of another node have here: the conversations that know them, so that their end can be told.

use chinwag_schema::ids::{ConversationId, Slot, UserId};
use rustc_hash::{FxHashMap, FxHashSet};

/// The sockets of another node that conversations of this one know.
#[derive(Default)]
pub struct Owned(FxHashMap<Slot, (UserId, FxHashSet<ConversationId>)>);

impl Owned {
    /// Notes that a conversation learns of a socket.
    pub fn put(&mut self, slot: Slot, user: UserId, conversation: ConversationId) {
        self.0.entry(slot).or_insert_with(|| (user, FxHashSet::default())).1.insert(conversation);
    }

    /// Removes a socket; returns its user and the conversations that know it.
    pub fn take(&mut self, slot: Slot) -> Option<(UserId, FxHashSet<ConversationId>)> {
        self.0.remove(&slot)
    }

    /// Removes all: the link broke.
    pub fn take_all(&mut self) -> impl Iterator<Item = (Slot, UserId, FxHashSet<ConversationId>)> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(slot, (user, conversations))| (slot, user, conversations))
    }

    /// Returns how many sockets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
