//! Time, injected: monotonic time is tokio's (so that tests can pause it), wall time is the system's or a test's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::cluster::shards::{BootClock, LeaseClock};

/// A source of time. Waiting is always done with tokio's timers, which follow [`Clock::now`].
pub trait Clock: Send + Sync + 'static {
    /// Returns monotonic time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns wall time, Unix milliseconds. May step in both directions.
    fn unix_ms(&self) -> i64;

    /// Returns time since some fixed moment, on a clock that goes on while the process is stopped: what leases are measured with.
    fn boot_time(&self) -> Duration {
        BootClock.now()
    }
}

impl LeaseClock for Arc<dyn Clock> {
    fn now(&self) -> Duration {
        self.as_ref().boot_time()
    }
}

/// The system's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A wall clock that follows tokio's (possibly paused) time from a chosen start, and can be stepped.
#[derive(Debug)]
pub struct SimulatedClock {
    started: Instant,
    base_ms: AtomicI64,
}

impl SimulatedClock {
    /// Starts at `unix_ms`. Must be called within a tokio runtime.
    pub fn starting_at(unix_ms: i64) -> Self {
        Self { started: Instant::now(), base_ms: AtomicI64::new(unix_ms) }
    }

    /// Steps the wall clock, forward or back, without monotonic time passing.
    pub fn step_ms(&self, by: i64) {
        self.base_ms.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn unix_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.load(Ordering::Relaxed) + elapsed
    }

    fn boot_time(&self) -> Duration {
        self.started.elapsed()
    }
}
