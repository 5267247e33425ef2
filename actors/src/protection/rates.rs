//! Rates per key: at most `count` actions within any period of `per`, exactly.
//!
//! A log of the last `count` times per key, not a token bucket: a bucket lets twice the count through in the first period, and the
//! frozen dialects say '5 an hour'. A key that was quiet for a period costs nothing: it is forgotten at the next sweep.

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

type HashMap<K, V> = std::collections::HashMap<K, V, FxBuildHasher>;

/// Locks per limiter: sessions of all threads ask at once.
const STRIPES: usize = 16;

/// At most `count` actions in any period of `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    /// Makes a rate of `count` actions in `per`.
    pub const fn new(count: u32, per: Duration) -> Self {
        Self { count, per }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3600 => write!(f, "{}/h", self.count),
            86_400 => write!(f, "{}/d", self.count),
            seconds => write!(f, "{}/{seconds}s", self.count),
        }
    }
}

/// How long until the same action would be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(pub Duration);

impl Wait {
    /// Returns the wait in whole milliseconds, rounded up, at least 1.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
    }

    /// Returns the wait in whole seconds, rounded up, at least 1 (`Retry-After`, `retryAfter`).
    pub fn as_s(self) -> u64 {
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1)
    }
}

#[derive(Default)]
struct Entry {
    /// Times of the actions within the last period, oldest first; at most `count` of them.
    times: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

impl Entry {
    fn forget_before(&mut self, rate: Rate, now: Instant) {
        while self.times.front().is_some_and(|&time| time + rate.per <= now) {
            self.times.pop_front();
        }
    }

    fn idle(&self, rate: Rate, now: Instant) -> bool {
        self.blocked_until.is_none_or(|until| until <= now)
            && self.times.back().is_none_or(|&time| time + rate.per <= now)
    }

    fn last_used(&self) -> Option<Instant> {
        self.times.back().copied().max(self.blocked_until)
    }
}

/// A rate per key, usable from all threads. Remembers at most `max_keys` keys; beyond it the one quiet longest is forgotten, so
/// that a flood of keys neither grows memory nor locks others out.
pub struct KeyedRates<K> {
    rate: Rate,
    block: Duration,
    max_keys_per_stripe: usize,
    /// Which stripe: keyed at random, so that nobody can choose keys that meet in one.
    placement: RandomState,
    stripes: Vec<Mutex<HashMap<K, Entry>>>,
    refused: AtomicU64,
}

impl<K: Hash + Eq + Copy> KeyedRates<K> {
    /// Makes an empty limiter.
    pub fn new(rate: Rate, max_keys: usize) -> Self {
        Self {
            rate,
            block: Duration::ZERO,
            max_keys_per_stripe: max_keys.div_ceil(STRIPES).max(1),
            placement: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            refused: AtomicU64::new(0),
        }
    }

    /// Makes a breach block its key for so long.
    pub fn block_for(mut self, block: Duration) -> Self {
        self.block = block;
        self
    }

    /// Counts an action now, or says how long to wait. A refused action isn't counted, but begins the block if there is one.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Wait> {
        self.try_take(key, now).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Returns how many actions were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn try_take(&self, key: K, now: Instant) -> Result<(), Wait> {
        let mut stripe = self.stripe(&key);
        self.make_room(&mut stripe, &key, now);
        let entry = stripe.entry(key).or_default();
        self.wait_of(entry, now)?;
        if entry.times.len() < self.rate.count as usize {
            entry.times.push_back(now);
            return Ok(());
        }
        let free_in = match entry.times.front() {
            Some(&oldest) => (oldest + self.rate.per).saturating_duration_since(now),
            None => self.rate.per,
        };
        if self.block.is_zero() {
            return Err(Wait(free_in));
        }
        entry.blocked_until = Some(now + self.block);
        Err(Wait(self.block.max(free_in)))
    }

    /// Says how long [`Self::take`] would refuse, without counting.
    pub fn peek(&self, key: K, now: Instant) -> Result<(), Wait> {
        let mut stripe = self.stripe(&key);
        let Some(entry) = stripe.get_mut(&key) else { return Ok(()) };
        self.wait_of(entry, now)?;
        match entry.times.front() {
            Some(&oldest) if entry.times.len() >= self.rate.count as usize => {
                Err(Wait((oldest + self.rate.per).saturating_duration_since(now)))
            }
            _ => Ok(()),
        }
    }

    /// Returns how many actions of the last period are counted.
    pub fn recent(&self, key: K, now: Instant) -> usize {
        let mut stripe = self.stripe(&key);
        let Some(entry) = stripe.get_mut(&key) else { return 0 };
        entry.forget_before(self.rate, now);
        entry.times.len()
    }

    /// Takes the newest action of a key back.
    pub fn undo(&self, key: K) {
        if let Some(entry) = self.stripe(&key).get_mut(&key) {
            entry.times.pop_back();
        }
    }

    /// Forgets a key.
    pub fn forget(&self, key: K) {
        self.stripe(&key).remove(&key);
    }

    /// Returns how many keys are remembered.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).len()).sum()
    }

    /// Says whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wait_of(&self, entry: &mut Entry, now: Instant) -> Result<(), Wait> {
        entry.forget_before(self.rate, now);
        match entry.blocked_until {
            Some(until) if until > now => Err(Wait(until - now)),
            _ => Ok(()),
        }
    }

    fn make_room(&self, stripe: &mut HashMap<K, Entry>, key: &K, now: Instant) {
        if stripe.len() < self.max_keys_per_stripe || stripe.contains_key(key) {
            return;
        }
        stripe.retain(|_, entry| !entry.idle(self.rate, now));
        if stripe.len() >= self.max_keys_per_stripe {
            let quietest = stripe.iter().min_by_key(|(_, entry)| entry.last_used()).map(|(&key, _)| key);
            if let Some(quietest) = quietest {
                stripe.remove(&quietest);
            }
        }
    }

    fn stripe(&self, key: &K) -> MutexGuard<'_, HashMap<K, Entry>> {
        let place = self.placement.hash_one(key) as usize % STRIPES;
        lock(&self.stripes[place])
    }
}

/// Locks, also after a panic elsewhere: the entries are valid after every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A fake clock: what it says depends on nothing but its argument.
    fn clock() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + s(seconds)
    }

    #[test]
    fn no_period_holds_more_than_the_count() {
        let at = clock();
        let rates = KeyedRates::new(Rate::new(5, s(3600)), 10);
        for seconds in [0, 3000, 3000, 3000, 3000] {
            rates.take(1, at(seconds)).unwrap();
        }
        assert_eq!(rates.take(1, at(3500)), Err(Wait(s(100))));
        rates.take(1, at(3600)).unwrap();
        assert_eq!(rates.take(1, at(3601)), Err(Wait(s(2999))));
    }

    #[test]
    fn a_breach_blocks_and_the_block_ends_when_it_said() {
        let at = clock();
        let rates = KeyedRates::new(Rate::new(2, s(1)), 10).block_for(s(60));
        rates.take(1, at(0)).unwrap();
        rates.take(1, at(0)).unwrap();
        assert_eq!(rates.take(1, at(0)), Err(Wait(s(60))));
        assert_eq!(rates.take(1, at(30)), Err(Wait(s(30))), "asking again doesn't prolong the block");
        assert_eq!(rates.take(1, at(60)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_quiet_keys_go_first() {
        let at = clock();
        let rates = KeyedRates::new(Rate::new(1, s(1_000_000)), 160);
        for key in 0..10_000u64 {
            rates.take(key, at(key)).unwrap();
        }
        assert!(rates.len() <= 160, "{}", rates.len());
        assert!(rates.take(9_999, at(10_000)).is_err(), "the newest is still remembered");
        assert!(rates.take(0, at(10_000)).is_ok(), "the quietest was forgotten");
    }

    #[test]
    fn idle_keys_are_swept_before_busy_ones_are_forgotten() {
        let at = clock();
        let rates = KeyedRates::new(Rate::new(1, s(10)), 16 * 4);
        for key in 0..64u64 {
            rates.take(key, at(0)).unwrap();
        }
        for key in 100..104u64 {
            rates.take(key, at(11)).unwrap();
        }
        assert!(rates.len() <= 64);
        assert!((100..104).all(|key| rates.take(key, at(12)).is_err()));
    }

    #[test]
    fn undo_and_peek_do_what_they_say() {
        let at = clock();
        let rates = KeyedRates::new(Rate::new(1, s(10)), 16);
        assert_eq!(rates.peek(1, at(0)), Ok(()));
        rates.take(1, at(0)).unwrap();
        assert_eq!(rates.peek(1, at(4)), Err(Wait(s(6))));
        assert_eq!(rates.recent(1, at(4)), 1);
        rates.undo(1);
        assert_eq!(rates.peek(1, at(4)), Ok(()));
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!((Wait(Duration::from_micros(1)).as_ms(), Wait(Duration::from_millis(1001)).as_s()), (1, 2));
        assert_eq!(Rate::new(20, s(60)).to_string(), "20/min");
    }
}
