//! Who hears a conversation: sockets of members, and listeners of public rooms.

use chinwag_schema::{
    ids::{Slot, UserId},
    limits::conversation::ROOMS_MEMBERS_SHOWN,
    model::Name,
    wire::Dialect,
};
use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

/// A socket that hears the conversation.
#[derive(Debug, Clone)]
pub struct Listener {
    pub user: UserId,
    pub name: Name,
    /// Joined as a listener (else: a member's socket, attached by itself).
    pub explicit: bool,
}

/// The book of a conversation. It outlives a panic: who listens is known nowhere else.
#[derive(Default)]
pub struct Listeners {
    attached: IndexMap<Slot, Listener, FxBuildHasher>,
    users: IndexMap<UserId, (Name, u32), FxBuildHasher>,
    explicit: usize,
    workers: FxHashMap<u16, u32>,
    /// Sockets of members, attached or not.
    present: FxHashMap<Slot, (UserId, Dialect)>,
    /// Sockets whose replay is being read.
    attaching: FxHashMap<Slot, Listener>,
}

/// What an attachment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The user began (or stopped) to listen with this socket.
    pub user_changed: bool,
}

impl Listeners {
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
        *self.workers.entry(slot.worker).or_default() += 1;
        let (_, sockets) = self.users.entry(listener.user).or_insert_with(|| (listener.name.clone(), 0));
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
        if let Some(count) = self.workers.get_mut(&slot.worker) {
            *count -= 1;
            if *count == 0 {
                self.workers.remove(&slot.worker);
            }
        }
        let mut change = Change { user_changed: false };
        if let Some((_, sockets)) = self.users.get_mut(&listener.user) {
            *sockets -= 1;
            if *sockets == 0 {
                self.users.swap_remove(&listener.user);
                change.user_changed = true;
            }
        }
        Some((listener, change))
    }

    /// Makes an explicit listener a mere member's socket again; false if it wasn't explicit.
    pub fn demote(&mut self, slot: Slot) -> bool {
        let Some(listener) = self.attached.get_mut(&slot).filter(|listener| listener.explicit) else { return false };
        listener.explicit = false;
        self.explicit -= 1;
        true
    }

    /// Notes that a socket will be attached once its replay is read.
    pub fn attaching(&mut self, slot: Slot, listener: Listener) {
        self.attaching.insert(slot, listener);
    }

    /// Takes back what [`Self::attaching`] noted; `None` if the socket has gone meanwhile.
    pub fn take_attaching(&mut self, slot: Slot) -> Option<Listener> {
        self.attaching.remove(&slot)
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
        self.attached.iter().filter(|(_, listener)| listener.user == user).map(|(&slot, _)| slot).collect()
    }

    /// Returns all attached sockets.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Listener)> {
        self.attached.iter().map(|(&slot, listener)| (slot, listener))
    }

    /// Returns the workers that have listeners.
    pub fn workers(&self) -> impl Iterator<Item = u16> + '_ {
        self.workers.keys().copied()
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
        Listener { user: UserId(user), name: format!("u{user}").into(), explicit }
    }

    fn slot(worker: u16, index: u32) -> Slot {
        Slot { worker, generation: 1, index }
    }

    #[test]
    fn users_are_counted_once_however_many_sockets_they_have() {
        let mut book = Listeners::default();
        assert!(book.attach(slot(0, 1), listener(1, true)).unwrap().user_changed);
        assert!(!book.attach(slot(1, 1), listener(1, false)).unwrap().user_changed);
        assert!(book.attach(slot(0, 2), listener(2, true)).unwrap().user_changed);
        assert!(book.attach(slot(0, 2), listener(2, true)).is_none(), "twice is once");
        assert_eq!((book.user_count(), book.socket_count(), book.holding()), (2, 3, 2));
        assert!(!book.detach(slot(0, 1)).unwrap().1.user_changed);
        assert!(book.detach(slot(1, 1)).unwrap().1.user_changed);
        assert!(book.detach(slot(1, 1)).is_none());
        assert_eq!(book.workers().collect::<Vec<_>>(), [0]);
        assert_eq!((book.user_count(), book.holding()), (1, 1));
    }
}
