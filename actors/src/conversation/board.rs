//! The board of active rooms: what `/rooms` lists. Owners write their numbers here; listing asks no actor.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::Name,
};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Numbers of one active room, written by its owner.
#[derive(Debug)]
pub struct RoomNumbers {
    pub id: ConversationId,
    pub name: Name,
    pub created_by: UserId,
    pub created_at_ms: i64,
    /// Distinct users listening now.
    pub users: AtomicU64,
    pub messages: AtomicU64,
    pub last_active_ms: AtomicI64,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLine {
    pub id: ConversationId,
    pub name: Name,
    pub users: u64,
    pub messages: u64,
    pub created_at_ms: i64,
    pub last_active_ms: i64,
}

/// Puts the rooms with most users first, then the most recently active.
pub fn in_order(lines: &mut [RoomLine]) {
    lines.sort_by(|a, b| (b.users, b.last_active_ms, a.id).cmp(&(a.users, a.last_active_ms, b.id)));
}

/// The board of a node.
#[derive(Debug)]
pub struct RoomBoard {
    rooms: Mutex<FxHashMap<ConversationId, Arc<RoomNumbers>>>,
    /// How long an empty room stays listed.
    grace_ms: i64,
}

impl RoomBoard {
    /// Makes an empty board; an empty room stays listed for `grace_ms`.
    pub fn new(grace_ms: i64) -> Self {
        Self { rooms: Mutex::default(), grace_ms }
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, FxHashMap<ConversationId, Arc<RoomNumbers>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a room on the board.
    pub fn put(&self, numbers: Arc<RoomNumbers>) {
        self.rooms().insert(numbers.id, numbers);
    }

    /// Takes a room off the board (it sleeps).
    pub fn remove(&self, id: ConversationId) {
        self.rooms().remove(&id);
    }

    /// Lists active rooms: most users first, then most recently active.
    pub fn list(&self, limit: usize, now_ms: i64) -> Vec<RoomLine> {
        let mut lines: Vec<_> =
            self.rooms().values().filter(|room| self.active(room, now_ms)).map(|room| line(room)).collect();
        in_order(&mut lines);
        lines.truncate(limit);
        lines
    }

    /// Returns the line of one room.
    pub fn line(&self, id: ConversationId) -> Option<RoomLine> {
        self.rooms().get(&id).map(|room| line(room))
    }

    /// Counts the active rooms that a user created.
    pub fn created_by(&self, user: UserId, now_ms: i64) -> usize {
        self.rooms().values().filter(|room| room.created_by == user && self.active(room, now_ms)).count()
    }

    /// Returns how many rooms are active.
    pub fn len(&self, now_ms: i64) -> usize {
        self.rooms().values().filter(|room| self.active(room, now_ms)).count()
    }

    /// Counts the active rooms and the listeners in them. Anyone may ask: makes no list.
    pub fn totals(&self, now_ms: i64) -> (usize, u64) {
        let rooms = self.rooms();
        let active = rooms.values().filter(|room| self.active(room, now_ms));
        active.fold((0, 0), |(rooms, users), room| (rooms + 1, users + room.users.load(Relaxed)))
    }

    fn active(&self, room: &RoomNumbers, now_ms: i64) -> bool {
        room.users.load(Relaxed) > 0 || now_ms - room.last_active_ms.load(Relaxed) < self.grace_ms
    }
}

fn line(room: &RoomNumbers) -> RoomLine {
    RoomLine {
        id: room.id,
        name: room.name.clone(),
        users: room.users.load(Relaxed),
        messages: room.messages.load(Relaxed),
        created_at_ms: room.created_at_ms,
        last_active_ms: room.last_active_ms.load(Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: i64, users: u64, last_active_ms: i64) -> Arc<RoomNumbers> {
        Arc::new(RoomNumbers {
            id: ConversationId(id),
            name: format!("room {id}").into(),
            created_by: UserId(1),
            created_at_ms: 0,
            users: users.into(),
            messages: 0.into(),
            last_active_ms: last_active_ms.into(),
        })
    }

    #[test]
    fn lists_most_users_first_and_drops_empty_rooms_after_the_grace_period() {
        let board = RoomBoard::new(1000);
        for numbers in [room(4, 1, 500), room(8, 3, 100), room(12, 1, 700), room(16, 0, 4500), room(20, 0, 3999)] {
            board.put(numbers);
        }
        let names = |now| board.list(20, now).iter().map(|line| line.id.0).collect::<Vec<_>>();
        assert_eq!(names(5000), [8, 12, 4, 16]);
        assert_eq!(names(5500), [8, 12, 4]);
        assert_eq!(board.list(1, 5000).len(), 1);
        assert_eq!((board.totals(5000), board.totals(5500)), ((4, 5), (3, 5)));
        assert_eq!(board.created_by(UserId(1), 5000), 4);
    }
}
