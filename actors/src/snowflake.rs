//! Snowflakes: 41 bits of milliseconds since [`SNOWFLAKE_EPOCH_MS`], 10 of node, 12 of sequence (`dialect-messenger`).
//!
//! Ids of one node never repeat or go back, whatever the wall clock does: time only moves forward here, and a node uses no time
//! beyond what it has reserved in the store, so that the next holder of its node id starts after it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chinwag_schema::{
    ids::{ConversationId, EventId, NodeId, SNOWFLAKE_EPOCH_MS, UserId},
    model::ConversationKind,
};

const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;

/// Makes snowflakes for one node. Shared by all its threads.
pub struct Snowflakes {
    node: u64,
    /// Milliseconds since the epoch, then 12 bits of sequence: one counter, so that a full millisecond runs into the next.
    last: AtomicU64,
    /// No id may carry a later time (ms since the epoch).
    reserved_until: AtomicI64,
}

/// The reserved time is used up: the store didn't extend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no reserved time left for identifiers")]
pub struct Exhausted;

impl Snowflakes {
    /// Starts after `used_until_ms` (Unix), the reservation that an earlier holder of the node id left in the store.
    pub fn starting_after(node: NodeId, used_until_ms: i64) -> Self {
        let from = u64::try_from(used_until_ms - SNOWFLAKE_EPOCH_MS).unwrap_or(0);
        Self {
            node: u64::from(node.0) & ((1 << NODE_BITS) - 1),
            last: AtomicU64::new((from << SEQUENCE_BITS) | ((1 << SEQUENCE_BITS) - 1)),
            reserved_until: AtomicI64::new(used_until_ms),
        }
    }

    /// Notes that the store holds a reservation up to `until_ms` (Unix).
    pub fn reserve_until(&self, until_ms: i64) {
        self.reserved_until.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Returns the latest time used, Unix ms.
    pub fn used_until_ms(&self) -> i64 {
        (self.last.load(Ordering::Acquire) >> SEQUENCE_BITS) as i64 + SNOWFLAKE_EPOCH_MS
    }

    /// Makes an id at wall time `now_ms` (or later, if the clock went back).
    ///
    /// # Errors
    /// [`Exhausted`] when the id would lie beyond the reservation.
    pub fn next(&self, now_ms: i64) -> Result<i64, Exhausted> {
        self.next_with_low_bits(now_ms, 0, 0)
    }

    fn next_with_low_bits(&self, now_ms: i64, bits: u32, low: u64) -> Result<i64, Exhausted> {
        // A clock that stepped beyond the reservation: ids go on from the last one until the store has extended it.
        let reserved = now_ms <= self.reserved_until.load(Ordering::Acquire);
        let now = if reserved { u64::try_from(now_ms - SNOWFLAKE_EPOCH_MS).unwrap_or(0) << SEQUENCE_BITS } else { 0 };
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let mut next = now.max(last + 1);
            if bits > 0 {
                let mask = (1u64 << bits) - 1;
                if next & mask > low {
                    next += mask + 1;
                }
                next = (next & !mask) | low;
            }
            let ms = (next >> SEQUENCE_BITS) as i64 + SNOWFLAKE_EPOCH_MS;
            if ms > self.reserved_until.load(Ordering::Acquire) {
                return Err(Exhausted);
            }
            match self.last.compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let (ms, sequence) = (next >> SEQUENCE_BITS, next & ((1 << SEQUENCE_BITS) - 1));
                    let id = (ms << (SEQUENCE_BITS + NODE_BITS)) | (self.node << SEQUENCE_BITS) | sequence;
                    return Ok(id as i64);
                }
                Err(seen) => last = seen,
            }
        }
    }

    /// Makes the id of an event.
    pub fn event(&self, now_ms: i64) -> Result<EventId, Exhausted> {
        self.next(now_ms).map(EventId)
    }

    /// Makes the id of a user.
    pub fn user(&self, now_ms: i64) -> Result<UserId, Exhausted> {
        self.next(now_ms).map(UserId)
    }

    /// Makes the id of a conversation, with its kind in the lowest two bits ([`kind_of`]).
    pub fn conversation(&self, now_ms: i64, kind: ConversationKind) -> Result<ConversationId, Exhausted> {
        self.next_with_low_bits(now_ms, 2, kind as u64).map(ConversationId)
    }
}

/// Returns the kind that a conversation's id says; `None` for an id that no server made.
///
/// The kind is in the id so that a node can start the right actor without asking a store.
pub fn kind_of(id: ConversationId) -> Option<ConversationKind> {
    ConversationKind::from_i16((id.0 & 3) as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = SNOWFLAKE_EPOCH_MS + 1_000_000;

    fn generator() -> Snowflakes {
        let ids = Snowflakes::starting_after(NodeId(3), NOW - 1);
        ids.reserve_until(NOW + 10_000);
        ids
    }

    #[test]
    fn ids_grow_when_the_clock_steps_back() {
        let ids = generator();
        let mut last = 0;
        for n in 0..20_000 {
            let id = ids.next(if n % 2 == 0 { NOW } else { NOW - 3_600_000 }).unwrap();
            assert!(id > last);
            last = id;
        }
        assert_eq!((last >> SEQUENCE_BITS) & 0x3ff, 3, "the node is in the id");
    }

    #[test]
    fn a_restart_goes_on_after_the_reservation() {
        let before = generator();
        let last = before.next(NOW + 9_999).unwrap();
        let after = Snowflakes::starting_after(NodeId(3), NOW + 10_000);
        after.reserve_until(NOW + 20_000);
        assert!(after.next(NOW).unwrap() > last, "even if the clock went back meanwhile");
    }

    #[test]
    fn nothing_is_made_beyond_the_reservation() {
        let ids = Snowflakes::starting_after(NodeId(3), NOW - 1);
        ids.reserve_until(NOW);
        for _ in 0..1 << SEQUENCE_BITS {
            ids.next(NOW).unwrap();
        }
        assert_eq!(ids.next(NOW), Err(Exhausted));
        assert_eq!(ids.next(NOW + 10_001), Err(Exhausted));
        ids.reserve_until(NOW + 20_000);
        assert!(ids.next(NOW + 10_001).is_ok());
    }

    #[test]
    fn a_clock_that_steps_beyond_the_reservation_stops_nobody() {
        let ids = generator();
        let before = ids.next(NOW + 5).unwrap();
        let after = ids.next(NOW + 3_600_000).unwrap();
        assert!(after > before);
        assert!(ids.used_until_ms() <= NOW + 10_000);
    }

    #[test]
    fn conversations_carry_their_kind() {
        let ids = generator();
        let mut last = 0;
        for kind in [ConversationKind::Direct, ConversationKind::Room, ConversationKind::Group, ConversationKind::Room]
        {
            let id = ids.conversation(NOW, kind).unwrap();
            assert_eq!(kind_of(id), Some(kind));
            assert!(id.0 > last);
            last = id.0;
        }
        assert_eq!(kind_of(ConversationId(3)), None);
    }
}
