//! Time that goes on while this process sleeps, and the table of shards that every message reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chinwag_schema::ids::{NodeId, Shard, Term};

use super::all;

/// Time since some fixed moment. It never goes back, and goes on while the process is stopped or the machine sleeps: a lease runs
/// out then, too.
pub trait LeaseClock: Send + Sync + 'static {
    /// Returns the time.
    fn now(&self) -> Duration;
}

/// The system's `CLOCK_BOOTTIME`; where there is none, the monotonic clock. Read without a system call.
#[derive(Debug, Default, Clone, Copy)]
pub struct BootClock;

impl BootClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
}

impl LeaseClock for BootClock {
    fn now(&self) -> Duration {
        let time = rustix::time::clock_gettime(Self::ID);
        // Both are within their bounds: the kernel's.
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Whose a shard is, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardState {
    /// Ours, and our lease runs: it is served here.
    Ours(Term),
    /// Ours, but it is being handed over: nothing new is taken.
    HandingOver(Term),
    /// Another node's, as last seen.
    Anothers(NodeId),
    /// Nobody's that is known, or ours with a lease that has run out.
    Nobodys,
}

/// A lease that never ends.
const FOR_EVER: u64 = u64::MAX;

const KIND_BITS: u32 = 2;
const NOBODYS: u64 = 0;
const ANOTHERS: u64 = 1;
const OURS: u64 = 2;
const HANDING_OVER: u64 = 3;

/// Largest term: one per change of owner doesn't get there in the life of a store.
pub const TERM_MAX: Term = Term(u64::MAX >> KIND_BITS);

/// Whose each shard is, and until when this node may say that any is its own. Written by the keeper, read by every message on every
/// thread: two atomic loads, and a look at the clock if the lease ends at all.
///
/// Invariant: whoever saw the end of a lease sees every loss that was noted before that lease was renewed. So a thread that slept
/// through the end of one lease can't take the next one for its proof.
pub struct ShardTable {
    /// Nanoseconds of the clock; 0 before the first lease.
    end_ns: AtomicU64,
    /// Kind in the low bits, term or node above.
    shards: [AtomicU64; Shard::COUNT],
    clock: Arc<dyn LeaseClock>,
    /// Written by the keeper.
    pub counts: ShardCounts,
}

/// What the keeper of the shards counted since the start.
#[derive(Debug, Default)]
pub struct ShardCounts {
    /// Answers of the directory to a call that renews the lease, and calls that it didn't answer.
    pub renewals: AtomicU64,
    pub failures: AtomicU64,
    /// Leases with shards that ran out before they were renewed.
    pub lapses: AtomicU64,
    /// Shards that became ours, that were taken from us, and that were handed over.
    pub gained: AtomicU64,
    pub lost: AtomicU64,
    pub handed_over: AtomicU64,
}

impl Default for ShardTable {
    /// The table of a lone node, whose lease never ends.
    fn default() -> Self {
        Self::new(FOR_EVER, Arc::new(BootClock))
    }
}

impl ShardTable {
    /// Makes the table of one node of several: without a lease, and knowing nobody.
    pub fn leased(clock: Arc<dyn LeaseClock>) -> Self {
        Self::new(0, clock)
    }

    fn new(end_ns: u64, clock: Arc<dyn LeaseClock>) -> Self {
        let shards = [const { AtomicU64::new(NOBODYS) }; Shard::COUNT];
        Self { end_ns: AtomicU64::new(end_ns), shards, clock, counts: ShardCounts::default() }
    }

    /// Returns the term with which this node owns the shard, if its lease runs at this moment. A shard that is being handed over is
    /// still ours: what is being appended settles.
    pub fn term(&self, shard: Shard) -> Option<Term> {
        match self.state(shard) {
            ShardState::Ours(term) | ShardState::HandingOver(term) => Some(term),
            ShardState::Anothers(_) | ShardState::Nobodys => None,
        }
    }

    /// Says whether this node owns the shard at this moment with this very term: it may have lost it and claimed it again.
    pub fn holds(&self, shard: Shard, term: Term) -> bool {
        self.term(shard) == Some(term)
    }

    /// Returns the other node that owns the shard, as last seen.
    pub fn owner(&self, shard: Shard) -> Option<NodeId> {
        match self.noted(shard) {
            ShardState::Anothers(node) => Some(node),
            _ => None,
        }
    }

    /// Returns whose the shard is at this moment: what a message for it needs.
    pub fn state(&self, shard: Shard) -> ShardState {
        // In this order (see the invariant): the end of the lease, the shard, the time.
        let end_ns = self.end_ns.load(Ordering::Acquire);
        let noted = self.noted(shard);
        match noted {
            ShardState::Ours(_) | ShardState::HandingOver(_) if !self.runs_until(end_ns) => ShardState::Nobodys,
            _ => noted,
        }
    }

    /// Says whether this node's lease runs.
    pub fn lease_runs(&self) -> bool {
        self.runs_until(self.end_ns.load(Ordering::Acquire))
    }

    fn runs_until(&self, end_ns: u64) -> bool {
        end_ns == FOR_EVER || self.now_ns() < end_ns
    }

    fn now_ns(&self) -> u64 {
        nanos(self.clock.now())
    }

    /// Returns what is left of this node's lease; `None` if it never ends.
    pub fn lease_left(&self) -> Option<Duration> {
        let end_ns = self.end_ns.load(Ordering::Acquire);
        (end_ns != FOR_EVER).then(|| Duration::from_nanos(end_ns.saturating_sub(self.now_ns())))
    }

    /// Notes that this node owns the shard with this term (never 0).
    pub fn own(&self, shard: Shard, term: Term) {
        debug_assert!(term > super::OFFERED && term <= TERM_MAX);
        self.put(shard, OURS, term.0);
    }

    /// Notes that nobody is known to own the shard; what this node had is lost.
    pub fn lose(&self, shard: Shard) {
        self.put(shard, NOBODYS, 0);
    }

    pub(super) fn begin_hand_over(&self, shard: Shard, term: Term) {
        self.put(shard, HANDING_OVER, term.0);
    }

    pub(super) fn put_owner(&self, shard: Shard, node: NodeId) {
        self.put(shard, ANOTHERS, u64::from(node.0));
    }

    /// Notes when the lease ends that was just renewed. Losses are noted before.
    pub(super) fn renew_until(&self, end: Duration) {
        if self.end_ns.load(Ordering::Relaxed) != FOR_EVER {
            self.end_ns.store(nanos(end), Ordering::Release);
        }
    }

    /// Returns what was noted of the shard, whether the lease runs or not.
    pub(super) fn noted(&self, shard: Shard) -> ShardState {
        let word = self.shards[usize::from(shard.0)].load(Ordering::Acquire);
        let value = word >> KIND_BITS;
        match word & ((1 << KIND_BITS) - 1) {
            OURS => ShardState::Ours(Term(value)),
            HANDING_OVER => ShardState::HandingOver(Term(value)),
            ANOTHERS => ShardState::Anothers(NodeId(u16::try_from(value).expect("put_owner wrote it"))),
            _ => ShardState::Nobodys,
        }
    }

    /// Returns the shards that are ours, also while they are handed over, with their terms, whether the lease runs or not.
    pub(super) fn held(&self) -> impl Iterator<Item = (Shard, Term)> + '_ {
        all().filter_map(|shard| match self.noted(shard) {
            ShardState::Ours(term) | ShardState::HandingOver(term) => Some((shard, term)),
            _ => None,
        })
    }

    /// Returns how many shards are served here, are being handed over, are others', and are nobody's at this moment.
    pub fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for shard in all() {
            counts[match self.state(shard) {
                ShardState::Ours(_) => 0,
                ShardState::HandingOver(_) => 1,
                ShardState::Anothers(_) => 2,
                ShardState::Nobodys => 3,
            }] += 1;
        }
        counts
    }

    fn put(&self, shard: Shard, kind: u64, value: u64) {
        self.shards[usize::from(shard.0)].store(value << KIND_BITS | kind, Ordering::Release);
    }
}

fn nanos(time: Duration) -> u64 {
    // 584 years of uptime.
    u64::try_from(time.as_nanos()).unwrap_or(FOR_EVER - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[derive(Default)]
    struct Fake(AtomicU64);

    impl LeaseClock for Fake {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    const SHARD: Shard = Shard(200);

    #[test]
    fn nothing_is_ours_before_the_first_lease_and_from_its_end_on() {
        let clock = Arc::<Fake>::default();
        let table = ShardTable::leased(clock.clone());
        assert_eq!(table.state(SHARD), ShardState::Nobodys);
        table.own(SHARD, Term(3));
        assert_eq!(table.term(SHARD), None, "no lease yet");
        table.renew_until(Duration::from_millis(4000));
        assert_eq!((table.term(SHARD), table.state(SHARD)), (Some(Term(3)), ShardState::Ours(Term(3))));
        assert!(table.holds(SHARD, Term(3)) && !table.holds(SHARD, Term(2)));
        clock.0.store(3999, Ordering::Relaxed);
        assert_eq!(table.term(SHARD), Some(Term(3)));
        assert_eq!(table.lease_left(), Some(Duration::from_millis(1)));
        clock.0.store(4000, Ordering::Relaxed);
        assert_eq!((table.term(SHARD), table.state(SHARD)), (None, ShardState::Nobodys));
        assert_eq!(table.held().collect::<Vec<_>>(), [(SHARD, Term(3))], "the keeper still knows what it had");
    }

    #[test]
    fn a_shard_that_is_handed_over_still_settles_and_takes_nothing_new() {
        let table = ShardTable::default();
        table.own(SHARD, TERM_MAX);
        table.begin_hand_over(SHARD, TERM_MAX);
        assert_eq!((table.term(SHARD), table.state(SHARD)), (Some(TERM_MAX), ShardState::HandingOver(TERM_MAX)));
        table.lose(SHARD);
        assert_eq!((table.term(SHARD), table.state(SHARD)), (None, ShardState::Nobodys));
    }

    #[test]
    fn other_owners_are_known_without_a_lease_of_ours() {
        let table = ShardTable::leased(Arc::<Fake>::default());
        table.put_owner(SHARD, NodeId(1023));
        assert_eq!(table.owner(SHARD), Some(NodeId(1023)));
        assert_eq!((table.term(SHARD), table.state(SHARD)), (None, ShardState::Anothers(NodeId(1023))));
        assert_eq!(table.counts(), [0, 0, 1, 255]);
    }

    #[test]
    fn the_lease_of_a_lone_node_never_ends() {
        let table = ShardTable::default();
        table.own(SHARD, Term(1));
        table.renew_until(Duration::from_secs(1));
        assert!(table.lease_runs() && table.lease_left().is_none());
        assert_eq!(table.term(SHARD), Some(Term(1)));
    }

    #[test]
    fn the_boot_clock_goes_on() {
        let (before, monotonic) = (BootClock.now(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (passed, expected) = (BootClock.now() - before, monotonic.elapsed());
        assert!(passed >= Duration::from_millis(20) && passed <= expected + Duration::from_millis(500), "{passed:?}");
    }
}
