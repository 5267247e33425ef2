//! Rooms that an operator closed. Nobody listens to, reads or writes to them until they are opened again.
//!
//! Known to this node only: in a cluster the owner of the room is the one to ask, and another owner knows nothing of it. Whoever keeps the list
//! beyond the life of the process is `server`.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    ids::ConversationId,
};

/// Rooms that are closed at once, at most.
pub const CLOSED_MAX: usize = 1000;
/// What sockets that listen hear when their room is closed.
pub(super) const REASON: &str = "the room was closed by an operator";

/// The list. Asked only when a conversation starts or is touched.
#[derive(Debug, Default)]
pub struct ClosedRooms {
    rooms: Mutex<BTreeSet<ConversationId>>,
    any: AtomicBool,
}

impl ClosedRooms {
    /// Adds a room; the flag says 'it was open'. Touch the room then.
    ///
    /// # Errors
    /// `LimitReached` beyond [`CLOSED_MAX`].
    pub fn close(&self, room: ConversationId) -> Result<bool, ClientError> {
        let mut rooms = self.rooms();
        if rooms.len() >= CLOSED_MAX && !rooms.contains(&room) {
            let error = ClientError::new(ErrorCode::LimitReached, "too many rooms are closed");
            return Err(error.limit(CLOSED_MAX as u64));
        }
        let new = rooms.insert(room);
        self.any.store(true, Relaxed);
        Ok(new)
    }

    /// Removes a room; the flag says 'it was closed'.
    pub fn open(&self, room: ConversationId) -> bool {
        let mut rooms = self.rooms();
        let known = rooms.remove(&room);
        self.any.store(!rooms.is_empty(), Relaxed);
        known
    }

    /// Says whether a room is closed.
    pub fn contains(&self, room: ConversationId) -> bool {
        self.any.load(Relaxed) && self.rooms().contains(&room)
    }

    /// Returns all closed rooms.
    pub fn all(&self) -> Vec<ConversationId> {
        self.rooms().iter().copied().collect()
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeSet<ConversationId>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What everybody hears who wants anything of a closed room.
pub(super) fn closed() -> ClientError {
    ClientError::new(ErrorCode::Forbidden, REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_a_room_is_in_it_once() {
        let closed = ClosedRooms::default();
        for id in 0..CLOSED_MAX as i64 {
            assert!(closed.close(ConversationId(id)).unwrap());
        }
        assert!(!closed.close(ConversationId(5)).unwrap());
        assert_eq!(closed.close(ConversationId(-1)).unwrap_err().code, ErrorCode::LimitReached);
        assert!(closed.open(ConversationId(5)) && !closed.open(ConversationId(5)));
        assert!(!closed.contains(ConversationId(5)) && closed.contains(ConversationId(6)));
        assert_eq!(closed.all().len(), CLOSED_MAX - 1);
    }
}
