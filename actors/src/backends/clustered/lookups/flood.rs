//! Whether a flood of unknown names is on.

use std::time::Duration;

use chinwag_schema::limits::lookups::{FLOOD_BEGINS_AT, FLOOD_ENDS_AFTER, FLOOD_ENDS_BELOW};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Counts unknown names by seconds. A flood begins in the second in which there are many, and ends after a while without as many as a
/// fifth of that: a flood that comes and goes doesn't switch at each wave.
pub(super) struct Flood {
    second: Instant,
    count: u32,
    on: bool,
    /// When last there were many enough for it to go on.
    busy: Instant,
    begun: u64,
}

impl Flood {
    pub(super) fn new(now: Instant) -> Self {
        Self { second: now, count: 0, on: false, busy: now, begun: 0 }
    }

    /// Counts one; says whether there is a flood.
    pub(super) fn unknown(&mut self, now: Instant) -> bool {
        self.on(now);
        self.count = self.count.saturating_add(1);
        if self.count >= FLOOD_ENDS_BELOW {
            self.busy = now;
        }
        if !self.on && self.count >= FLOOD_BEGINS_AT {
            self.on = true;
            self.begun += 1;
            tracing::warn!("a flood of unknown names: the filter answers until it is over");
        }
        self.on
    }

    /// Says whether there is a flood.
    pub(super) fn on(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= SECOND {
            (self.second, self.count) = (now, 0);
        }
        if self.on && now.saturating_duration_since(self.busy) >= FLOOD_ENDS_AFTER {
            self.on = false;
            tracing::info!("the flood of unknown names is over");
        }
        self.on
    }

    /// Returns how many there were.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(flood: &mut Flood, times: u32, now: Instant) -> bool {
        (0..times).fold(false, |_, _| flood.unknown(now))
    }

    #[test]
    fn it_begins_with_many_in_one_second_and_not_with_as_many_in_ten() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for tenth in 0..10 {
            assert!(!ask(&mut flood, FLOOD_BEGINS_AT / 10, start + SECOND * tenth));
        }
        let later = start + SECOND * 20;
        assert!(!ask(&mut flood, FLOOD_BEGINS_AT - 1, later));
        assert!(flood.unknown(later));
        assert_eq!(flood.begun(), 1);
    }

    #[test]
    fn it_goes_on_through_lulls_and_ends_after_quiet_seconds() {
        let mut now = Instant::now();
        let mut flood = Flood::new(now);
        assert!(ask(&mut flood, FLOOD_BEGINS_AT, now));
        for _ in 0..5 {
            now += FLOOD_ENDS_AFTER - SECOND;
            assert!(ask(&mut flood, FLOOD_ENDS_BELOW, now), "a wave");
        }
        for _ in 0..FLOOD_ENDS_AFTER.as_secs() - 1 {
            now += SECOND;
            assert!(ask(&mut flood, FLOOD_ENDS_BELOW - 1, now), "not yet");
        }
        assert!(!ask(&mut flood, 1, now + SECOND));
        assert_eq!(flood.begun(), 1);
    }

    #[test]
    fn it_ends_without_being_asked_anything() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        ask(&mut flood, FLOOD_BEGINS_AT, now);
        assert!(flood.on(now + FLOOD_ENDS_AFTER - SECOND) && !flood.on(now + FLOOD_ENDS_AFTER));
    }
}
