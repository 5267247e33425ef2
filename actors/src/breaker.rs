//! Circuit breaker of one service: 5 failures in a row open it for 30 s, then a trial; 3 successes close it (`design`, invariant 10).

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::time::Instant;

const FAILURES_TO_OPEN: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(30);
const SUCCESSES_TO_CLOSE: u32 = 3;

/// State, as health and metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    Closed = 0,
    HalfOpen = 1,
    Open = 2,
}

impl BreakerState {
    /// Returns the name that `/health` shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::HalfOpen => "HALF_OPEN",
            Self::Open => "OPEN",
        }
    }
}

/// What a breaker stands before. Reads and writes fail apart: on a full disk reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Reads = 0,
    Writes = 1,
}

/// The state of a service's two breakers, readable from any thread.
#[derive(Debug, Default)]
pub struct BreakerGauge([AtomicU8; 2]);

impl BreakerGauge {
    /// Returns the worse of the two states.
    pub fn state(&self) -> BreakerState {
        let [reads, writes] = [Side::Reads, Side::Writes].map(|side| self.of(side));
        if reads as u8 > writes as u8 { reads } else { writes }
    }

    fn of(&self, side: Side) -> BreakerState {
        match self.0[side as usize].load(Ordering::Relaxed) {
            0 => BreakerState::Closed,
            1 => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }
}

/// A circuit breaker. Owned by the storage actor that it protects.
#[derive(Debug)]
pub struct Breaker {
    gauge: std::sync::Arc<BreakerGauge>,
    side: Side,
    failures: u32,
    successes: u32,
    open_since: Option<Instant>,
}

impl Breaker {
    /// Makes a closed breaker that shows its state in `gauge`.
    pub fn new(gauge: std::sync::Arc<BreakerGauge>, side: Side) -> Self {
        let breaker = Self { gauge, side, failures: 0, successes: 0, open_since: None };
        breaker.show(BreakerState::Closed);
        breaker
    }

    fn show(&self, state: BreakerState) {
        self.gauge.0[self.side as usize].store(state as u8, Ordering::Relaxed);
    }

    fn state(&self) -> BreakerState {
        self.gauge.of(self.side)
    }

    /// Says whether a call may be tried at `now`.
    pub fn admits(&mut self, now: Instant) -> bool {
        match (self.state(), self.open_since) {
            (BreakerState::Open, Some(since)) if now - since >= OPEN_FOR => {
                self.successes = 0;
                self.show(BreakerState::HalfOpen);
                true
            }
            (BreakerState::Open, _) => false,
            _ => true,
        }
    }

    /// Notes that the service answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        if self.state() == BreakerState::HalfOpen {
            self.successes += 1;
            if self.successes >= SUCCESSES_TO_CLOSE {
                self.open_since = None;
                self.show(BreakerState::Closed);
            }
        }
    }

    /// Notes that the service failed or didn't answer in time.
    pub fn failed(&mut self, now: Instant) {
        self.failures += 1;
        if self.state() == BreakerState::HalfOpen || self.failures >= FAILURES_TO_OPEN {
            self.open_since = Some(now);
            self.show(BreakerState::Open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_failures_tries_after_thirty_seconds_and_closes_after_three_successes() {
        let gauge = std::sync::Arc::new(BreakerGauge::default());
        let mut breaker = Breaker::new(gauge.clone(), Side::Reads);
        let start = Instant::now();
        for _ in 0..4 {
            breaker.failed(start);
        }
        breaker.succeeded();
        for _ in 0..5 {
            assert!(breaker.admits(start));
            breaker.failed(start);
        }
        assert_eq!(gauge.state(), BreakerState::Open);
        assert!(!breaker.admits(start + Duration::from_secs(29)));
        assert!(breaker.admits(start + Duration::from_secs(30)));
        assert_eq!(gauge.state(), BreakerState::HalfOpen);
        breaker.failed(start + Duration::from_secs(30));
        assert!(!breaker.admits(start + Duration::from_secs(31)), "a failed trial opens it again");
        assert!(breaker.admits(start + Duration::from_secs(60)));
        (0..3).for_each(|_| breaker.succeeded());
        assert_eq!(gauge.state(), BreakerState::Closed);
    }

    #[test]
    fn writes_that_fail_do_not_stop_reads() {
        let gauge = std::sync::Arc::new(BreakerGauge::default());
        let (mut reads, mut writes) =
            (Breaker::new(gauge.clone(), Side::Reads), Breaker::new(gauge.clone(), Side::Writes));
        let now = Instant::now();
        (0..5).for_each(|_| writes.failed(now));
        assert!(!writes.admits(now) && reads.admits(now));
        reads.succeeded();
        assert_eq!(gauge.state(), BreakerState::Open, "the worse of the two is shown");
        assert!(!writes.admits(now));
    }
}
