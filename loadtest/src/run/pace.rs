//! When things are due in an open loop: at a rate that doesn't wait for the server.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// Independent of each other (exponential distances).
    Poisson,
}

/// A series of moments at which something is due.
pub struct Pace {
    next: Instant,
    every: Duration,
    arrivals: Arrivals,
    random: SmallRng,
}

impl Pace {
    /// Makes a pace of `per_second`, beginning at `from` plus a random part of the first distance (so that many paces don't beat together).
    pub fn new(per_second: f64, arrivals: Arrivals, from: Instant, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let every = Duration::from_secs_f64(1.0 / per_second.max(1e-6));
        let next = from + every.mul_f64(random.random::<f64>());
        Self { next, every, arrivals, random }
    }

    /// Returns when the next is due; in the past, if whoever asks is late.
    pub fn due(&mut self) -> Instant {
        let due = self.next;
        self.next += match self.arrivals {
            Arrivals::Even => self.every,
            Arrivals::Poisson => self.every.mul_f64(-(1.0 - self.random.random::<f64>()).ln()),
        };
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_keeps_its_rate_whatever_happens_between() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let from = Instant::now();
            let mut pace = Pace::new(1000.0, arrivals, from, 7);
            let last = (0..10_000).map(|_| pace.due()).last().unwrap();
            let seconds = (last - from).as_secs_f64();
            assert!((9.5..10.5).contains(&seconds), "{arrivals:?}: 10,000 at 1,000/s took {seconds} s");
        }
    }
}
