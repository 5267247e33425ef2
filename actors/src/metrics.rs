//! Counters of storage, exported by the operations listener. Actors themselves are counted by the runtime.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;

/// Upper bounds of the histograms of storage time, microseconds.
pub const STORAGE_BUCKETS_US: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];
/// Upper bounds of the histogram of events per write.
pub const BATCH_BUCKETS: [u64; 8] = [1, 2, 5, 10, 25, 50, 100, 250];

/// A histogram with fixed bounds; counts aren't cumulative, the last has no bound.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Histogram {
    pub buckets: Vec<u64>,
    pub sum: f64,
    pub count: u64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[u64], value: u64, sum: f64) {
        self.buckets.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|&bound| value <= bound).unwrap_or(bounds.len());
        self.buckets[bucket] += 1;
        self.sum += sum;
        self.count += 1;
    }
}

/// Counters of one store.
#[derive(Debug, Default)]
pub struct StorageMetrics(Mutex<StorageSnapshot>);

/// The counters of one store at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StorageSnapshot {
    /// Time per operation, seconds.
    pub calls: BTreeMap<&'static str, Histogram>,
    pub failures: BTreeMap<&'static str, u64>,
    /// Events per write.
    pub batch: Histogram,
}

impl StorageMetrics {
    /// Notes a call.
    pub fn call(&self, name: &'static str, took: Duration, healthy: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        all.calls.entry(name).or_default().observe(&STORAGE_BUCKETS_US, micros, took.as_secs_f64());
        if !healthy {
            *all.failures.entry(name).or_default() += 1;
        }
    }

    /// Notes a write of `events` events.
    pub fn append(&self, events: usize, took: Duration, healthy: bool) {
        self.call("append", took, healthy);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.batch.observe(&BATCH_BUCKETS, events as u64, events as f64);
    }

    /// Returns the counters now.
    pub fn snapshot(&self) -> StorageSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
