//! Who is told 'nobody' without Postgres being asked: during a flood, and after a round that began later than the question.

use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use chinwag_schema::limits::lookups::{ROUND_PATIENCE, WAITING_MAX};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};

use super::{
    counts::{Counts, FilterState, LookupCounts, add},
    filter::Filter,
    flood::Flood,
};

/// A round that has ended.
#[derive(Debug, Clone, Copy)]
struct Round {
    number: u64,
    ok: bool,
    /// When the last one that succeeded began.
    fresh: Instant,
}

/// What questions and the keeper of the filter share.
pub(super) struct Gate {
    /// `None`: not made yet, everything passes.
    filter: RwLock<Option<Filter>>,
    flood: Mutex<Flood>,
    /// Rounds begun, counted before the first statement of each.
    begun: AtomicU64,
    ended: watch::Sender<Round>,
    wanted: Notify,
    waiting: Semaphore,
    pub(super) counts: Counts,
}

impl Gate {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            filter: RwLock::new(None),
            flood: Mutex::new(Flood::new(now)),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(Round { number: 0, ok: false, fresh: now }),
            wanted: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
            counts: Counts::default(),
        }
    }

    /// Says that no account has the name: with certainty, and only during a flood. Otherwise it must be looked for.
    pub(super) async fn denies(&self, name: &str) -> bool {
        if !self.filter_denies(name) || !self.flood().unknown(Instant::now()) {
            return false;
        }
        // Not yet: it may have come since the last round.
        if !self.round_since_now().await || !self.filter_denies(name) {
            return false;
        }
        add(&self.counts.filter);
        true
    }

    fn filter_denies(&self, name: &str) -> bool {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        filter.as_ref().is_some_and(|filter| !filter.may_contain(name))
    }

    /// Waits for the end of a round that begins after this call; false when there is none in time, or it failed.
    async fn round_since_now(&self) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let mut ended = self.ended.subscribe();
        // After one that failed, nobody waits for the next, which may take long.
        if !ended.borrow().ok {
            return false;
        }
        let wanted = self.begun.load(SeqCst) + 1;
        self.wanted.notify_one();
        let waited = timeout(ROUND_PATIENCE, ended.wait_for(|round| round.number >= wanted)).await;
        matches!(waited, Ok(Ok(round)) if round.ok)
    }

    /// Adds names to the filter, if it is there. If it is just being made, it gets them by itself.
    pub(super) fn add<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut filter = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filter.as_mut() {
            names.for_each(|name| filter.add(name));
        }
    }

    // ---- for the keeper

    /// Waits until somebody waits for a round.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Begins a round: from now on, whoever comes waits for the next one. Returns its number.
    pub(super) fn begins(&self) -> u64 {
        self.begun.fetch_add(1, SeqCst) + 1
    }

    /// Ends a round that began at `since`.
    pub(super) fn succeeded(&self, number: u64, since: Instant) {
        add(&self.counts.rounds);
        self.ended.send_replace(Round { number, ok: true, fresh: since });
    }

    pub(super) fn failed(&self, number: u64) {
        add(&self.counts.rounds_failed);
        self.ended.send_modify(|round| (round.number, round.ok) = (number, false));
    }

    /// Puts a filter that has all names of a moment after `since` in place, or takes it away.
    pub(super) fn replace(&self, filter: Option<Filter>, since: Instant) {
        let made = filter.is_some();
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        if made {
            add(&self.counts.built);
            self.ended.send_modify(|round| (round.ok, round.fresh) = (true, since));
        }
    }

    // ---- for operators

    pub(super) fn read(&self) -> LookupCounts {
        let now = Instant::now();
        let flood = {
            let mut flood = self.flood();
            (flood.on(now), flood.begun())
        };
        let age = now.saturating_duration_since(self.ended.borrow().fresh);
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        let state = filter.as_ref().map(|filter| FilterState { names: filter.names(), bytes: filter.bytes(), age });
        self.counts.read(flood, state)
    }

    fn flood(&self) -> MutexGuard<'_, Flood> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
