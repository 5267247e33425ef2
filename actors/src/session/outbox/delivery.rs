//! How long events take to their recipients.

use std::cell::Cell;

/// Upper bounds of the histogram of delivery, milliseconds; the last bucket has none.
pub const DELIVERY_BUCKETS_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// Times from the moment at which the owner of a conversation took an event until a recipient's socket was written to, one for each
/// recipient; counted by one thread. Replays aren't counted: who comes late didn't wait.
///
/// Both moments are read from the system's clock, so between two nodes it is off by what their clocks differ.
#[derive(Debug, Default)]
pub struct DeliveryTimes {
    buckets: [Cell<u64>; DELIVERY_BUCKETS_MS.len() + 1],
    sum_ms: Cell<u64>,
}

impl DeliveryTimes {
    /// Counts one. Below zero (clocks that differ, or were set) counts as zero.
    pub(super) fn observe(&self, took_ms: i64) {
        let took_ms = u64::try_from(took_ms).unwrap_or(0);
        let bucket = DELIVERY_BUCKETS_MS.iter().position(|&bound| took_ms <= bound);
        let bucket = &self.buckets[bucket.unwrap_or(DELIVERY_BUCKETS_MS.len())];
        bucket.set(bucket.get() + 1);
        self.sum_ms.set(self.sum_ms.get() + took_ms);
    }

    /// Returns the counts, not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().map(Cell::get)
    }

    /// Returns the sum of all times, milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_bounds_them() {
        let times = DeliveryTimes::default();
        for took_ms in [-5, 0, 1, 2, 3, 10_000, 10_001] {
            times.observe(took_ms);
        }
        let counts: Vec<_> = times.buckets().collect();
        assert_eq!(counts, [3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(times.sum_ms(), 1 + 2 + 3 + 10_000 + 10_001);
    }
}
