//! What operators see of the look-ups.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) memory: AtomicU64,
    pub(super) filter: AtomicU64,
    pub(super) redis: AtomicU64,
    pub(super) store_found: AtomicU64,
    pub(super) store_unknown: AtomicU64,
    pub(super) redis_failures: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) rounds_failed: AtomicU64,
    pub(super) built: AtomicU64,
}

pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}

/// A copy of the counters, with the state of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupCounts {
    /// Names answered by the node's memory, the filter ('nobody') and Redis.
    pub memory: u64,
    pub filter: u64,
    pub redis: u64,
    /// Names asked of Postgres that an account has, and that none has. Those asked at registration and for guests are among them.
    pub store_found: u64,
    pub store_unknown: u64,
    /// Requests to Redis that failed or took too long.
    pub redis_failures: u64,
    /// Rounds that brought the filter up to date, and those that failed.
    pub rounds: u64,
    pub rounds_failed: u64,
    /// How often the filter was made from all names.
    pub built: u64,
    pub floods: u64,
    pub flood: bool,
    /// `None` while it is being made: everything passes.
    pub state: Option<FilterState>,
}

/// The filter as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterState {
    pub names: usize,
    pub bytes: usize,
    /// Since the last round that succeeded began.
    pub age: Duration,
}

impl Counts {
    pub(super) fn read(&self, flood: (bool, u64), state: Option<FilterState>) -> LookupCounts {
        let value = |count: &AtomicU64| count.load(Relaxed);
        LookupCounts {
            memory: value(&self.memory),
            filter: value(&self.filter),
            redis: value(&self.redis),
            store_found: value(&self.store_found),
            store_unknown: value(&self.store_unknown),
            redis_failures: value(&self.redis_failures),
            rounds: value(&self.rounds),
            rounds_failed: value(&self.rounds_failed),
            built: value(&self.built),
            floods: flood.1,
            flood: flood.0,
            state,
        }
    }
}
