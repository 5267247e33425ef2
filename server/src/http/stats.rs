//! Requests of the last minute: what `/health` and `/metrics` say about performance.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Length of the window, seconds.
const WINDOW_S: u64 = 60;

#[derive(Default, Clone, Copy)]
struct Second {
    /// Which second since the start; tells a fresh bucket from one of a minute ago.
    number: u64,
    requests: u64,
    errors: u64,
    time_us: u64,
}

/// Counts requests by the second.
pub struct RequestStats {
    started: Instant,
    seconds: Mutex<[Second; WINDOW_S as usize]>,
}

/// The last minute in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    pub requests_per_second: f64,
    pub avg_latency_ms: f64,
    /// Share of answers with a 5xx status, 0 to 1.
    pub error_rate: f64,
}

impl RequestStats {
    /// Starts counting.
    pub fn new(now: Instant) -> Self {
        Self { started: now, seconds: Mutex::new([Second::default(); WINDOW_S as usize]) }
    }

    /// Counts an answered request.
    pub fn record(&self, now: Instant, took: Duration, failed: bool) {
        let number = (now - self.started).as_secs();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let second = &mut seconds[(number % WINDOW_S) as usize];
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second.requests += 1;
        second.errors += u64::from(failed);
        second.time_us += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }

    /// Sums up the last minute.
    pub fn performance(&self, now: Instant) -> Performance {
        let number = (now - self.started).as_secs();
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = seconds.iter().filter(|second| second.number + WINDOW_S > number);
        let sum = recent.fold(Second::default(), |sum, second| Second {
            requests: sum.requests + second.requests,
            errors: sum.errors + second.errors,
            time_us: sum.time_us + second.time_us,
            ..sum
        });
        let per_request = |value: f64| if sum.requests == 0 { 0.0 } else { value / sum.requests as f64 };
        Performance {
            requests_per_second: sum.requests as f64 / (number + 1).min(WINDOW_S) as f64,
            avg_latency_ms: per_request(sum.time_us as f64 / 1000.0),
            error_rate: per_request(sum.errors as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minute_counts() {
        let start = Instant::now();
        let stats = RequestStats::new(start);
        assert_eq!(stats.performance(start).requests_per_second, 0.0);
        for n in 0..20 {
            stats.record(start + Duration::from_secs(5), Duration::from_millis(10), n % 4 == 0);
        }
        let at = stats.performance(start + Duration::from_secs(9));
        assert_eq!((at.requests_per_second, at.avg_latency_ms, at.error_rate), (2.0, 10.0, 0.25));
        assert_eq!(stats.performance(start + Duration::from_secs(65)).requests_per_second, 0.0);
    }
}
