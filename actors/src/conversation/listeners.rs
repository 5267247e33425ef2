//! Who hears a conversation: sockets of members, and listeners of public rooms.

use std::sync::Arc;

use chinwag_schema::{
    ids::{NodeId, Seq, Slot, UserId},
    limits::conversation::ROOMS_MEMBERS_SHOWN,
    model::Name,
    wire::Dialect,
};
use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::messages::Caller;

/// A socket that hears the conversation.
#[derive(Debug, Clone)]
pub struct Listener {
    pub caller: Arc<Caller>,
    /// Joined as a listener (else: a member's socket, attached by itself).
    pub explicit: bool,
}

/// Where sockets are, as their conversation sees it: what it tells them goes once to each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A worker thread of this node.
    Worker(u16),
    /// Another node.
    Node(NodeId),
}

impl Place {
    /// Returns where a socket is, seen from node `here`.
    pub fn of(slot: Slot, here: NodeId) -> Self {
        if slot.node == here { Self::Worker(slot.worker) } else { Self::Node(slot.node) }
    }
}

/// The book of a conversation. It outlives a panic: who listens is known nowhere else.
pub struct Listeners {
    here: NodeId,
    attached: IndexMap<Slot, Listener, FxBuildHasher>,
    users: IndexMap<UserId, (Name, u32), FxBuildHasher>,
    explicit: usize,
    places: FxHashMap<Place, u32>,
    /// Sockets of members, attached or not.
    present: FxHashMap<Slot, (UserId, Dialect)>,
    /// Sockets whose replay is being read.
    attaching: FxHashMap<Slot, (Listener, Option<Seq>)>,
}

/// What an attachment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The user began (or stopped) to listen with this socket.
    pub user_changed: bool,
}

impl Listeners {
    /// Makes the empty book of a conversation on node `here`.
    pub fn new(here: NodeId) -> Self {
        Self {
            here,
            attached: IndexMap::default(),
            users: IndexMap::default(),
            explicit: 0,
            places: FxHashMap::default(),
            present: FxHashMap::default(),
            attaching: FxHashMap::default(),
        }
    }

    /// Adds a socket; `None` if it was there (then `explicit` may be upgraded).
    pub fn attach(&mut self, slot: Slot, listener: Listener) -> Option<Change> {
        self.attaching.remove(&slot);
        if let Some(known) = self.attached.get_mut(&slot) {
            if listener.explicit && !known.explicit {
                known.explicit = true;
                self.explicit += 1;
            }
            return None;
        }
        self.explicit += usize::from(listener.explicit);
        *self.places.entry(Place::of(slot, self.here)).or_default() += 1;
        let caller = &listener.caller;
        let (_, sockets) = self.users.entry(caller.user).or_insert_with(|| (caller.name.clone(), 0));
        *sockets += 1;
        let change = Change { user_changed: *sockets == 1 };
        self.attached.insert(slot, listener);
        Some(change)
    }

    /// Removes a socket.
    pub fn detach(&mut self, slot: Slot) -> Option<(Listener, Change)> {
        self.attaching.remove(&slot);
        let listener = self.attached.swap_remove(&slot)?;
        self.explicit -= usize::from(listener.explicit);
        let place = Place::of(slot, self.here);
        if let Some(count) = self.places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
        let mut change = Change { user_changed: false };
        if let Some((_, sockets)) = self.users.get_mut(&listener.caller.user) {
            *sockets -= 1;
            if *sockets == 0 {
                self.users.swap_remove(&listener.caller.user);
                change.user_changed = true;
            }
        }
        Some((listener, change))
    }

    /// Removes all sockets, attached or about to be; the latter with what they have. Those that wait for the answer to a question of
    /// their own are left out.
    pub fn take_all(&mut self) -> impl Iterator<Item = (Slot, Listener, Option<Seq>)> + use<> {
        self.users.clear();
        self.places.clear();
        self.present.clear();
        self.explicit = 0;
        let attaching = std::mem::take(&mut self.attaching).into_iter();
        let attaching = attaching.filter_map(|(slot, (listener, after))| Some((slot, listener, Some(after?))));
        attaching.chain(std::mem::take(&mut self.attached).into_iter().map(|(slot, listener)| (slot, listener, None)))
    }

    /// Makes an explicit listener a mere member's socket again; false if it wasn't explicit.
    pub fn demote(&mut self, slot: Slot) -> bool {
        let Some(listener) = self.attached.get_mut(&slot).filter(|listener| listener.explicit) else { return false };
        listener.explicit = false;
        self.explicit -= 1;
        true
    }

    /// Notes that a socket will be attached once its replay is read.
    /// `after` is what it has, if nobody waits for an answer.
    pub fn attaching(&mut self, slot: Slot, listener: Listener, after: Option<Seq>) {
        self.attaching.insert(slot, (listener, after));
    }

    /// Takes back what [`Self::attaching`] noted; `None` if the socket has gone meanwhile.
    pub fn take_attaching(&mut self, slot: Slot) -> Option<Listener> {
        self.attaching.remove(&slot).map(|(listener, _)| listener)
    }

    pub fn get(&self, slot: Slot) -> Option<&Listener> {
        self.attached.get(&slot)
    }

    /// Notes a member's socket.
    pub fn put_present(&mut self, slot: Slot, user: UserId, dialect: Dialect) {
        self.present.insert(slot, (user, dialect));
    }

    pub fn remove_present(&mut self, slot: Slot) {
        self.present.remove(&slot);
    }

    /// Forgets the members' sockets (they are told again) and replays under way (an actor that was rebuilt reads no page to its end).
    pub fn begin_anew(&mut self) {
        self.present.clear();
        self.attaching.clear();
    }

    /// Says whether a member's socket is open.
    pub fn is_present(&self, slot: Slot) -> bool {
        self.present.contains_key(&slot)
    }

    /// Returns the sockets of members, attached or not.
    pub fn present(&self) -> impl Iterator<Item = (Slot, UserId, Dialect)> + '_ {
        self.present.iter().map(|(&slot, &(user, dialect))| (slot, user, dialect))
    }

    /// Returns the attached sockets of a user.
    pub fn of_user(&self, user: UserId) -> Vec<Slot> {
        self.attached.iter().filter(|(_, listener)| listener.caller.user == user).map(|(&slot, _)| slot).collect()
    }

    /// Returns all attached sockets.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Listener)> {
        self.attached.iter().map(|(&slot, listener)| (slot, listener))
    }

    /// Returns the places that have listeners.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.places.keys().copied()
    }

    /// Returns how many distinct users listen.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    pub fn socket_count(&self) -> usize {
        self.attached.len()
    }

    /// Returns how many sockets joined as listeners or wait to be attached.
    pub fn holding(&self) -> usize {
        self.explicit + self.attaching.len()
    }

    /// Returns names of distinct users, at most those that the rooms dialect shows.
    pub fn names(&self) -> Vec<Name> {
        self.users.values().take(ROOMS_MEMBERS_SHOWN).map(|(name, _)| name.clone()).collect()
    }

    /// Returns distinct users.
    pub fn users(&self, limit: usize) -> Vec<(UserId, Name)> {
        self.users.iter().take(limit).map(|(&user, (name, _))| (user, name.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(user: i64, explicit: bool) -> Listener {
        let caller = Caller {
            slot: slot(0, 0),
            user: UserId(user),
            name: format!("u{user}").into(),
            dialect: Dialect::Rooms,
            guest: false,
        };
        Listener { caller: Arc::new(caller), explicit }
    }

    fn slot(worker: u16, index: u32) -> Slot {
        Slot { node: NodeId(0), worker, generation: 1, index }
    }

    #[test]
    fn sockets_of_another_node_are_one_place() {
        let mut book = Listeners::new(NodeId(1));
        for (node, worker) in [(2, 0), (2, 1), (1, 1)] {
            let slot = Slot { node: NodeId(node), ..slot(worker, 7) };
            book.attach(slot, listener(i64::from(node), true)).unwrap();
        }
        let mut places: Vec<_> = book.places().collect();
        places.sort_unstable();
        assert_eq!(places, [Place::Worker(1), Place::Node(NodeId(2))]);
    }

    #[test]
    fn users_are_counted_once_however_many_sockets_they_have() {
        let mut book = Listeners::new(NodeId(0));
        assert!(book.attach(slot(0, 1), listener(1, true)).unwrap().user_changed);
        assert!(!book.attach(slot(1, 1), listener(1, false)).unwrap().user_changed);
        assert!(book.attach(slot(0, 2), listener(2, true)).unwrap().user_changed);
        assert!(book.attach(slot(0, 2), listener(2, true)).is_none(), "twice is once");
        assert_eq!((book.user_count(), book.socket_count(), book.holding()), (2, 3, 2));
        assert!(!book.detach(slot(0, 1)).unwrap().1.user_changed);
        assert!(book.detach(slot(1, 1)).unwrap().1.user_changed);
        assert!(book.detach(slot(1, 1)).is_none());
        assert_eq!(book.places().collect::<Vec<_>>(), [Place::Worker(0)]);
        assert_eq!((book.user_count(), book.holding()), (1, 1));
    }
}
