//! When to write the next group: at once while little is written, after a short linger while many conversations write.
//!
//! A commit costs about as much CPU as ten rows. So while appends of several conversations come faster than two in a [`LINGER`], what
//! comes within that time after a write goes into the next one together, unless it is a fair group already. Whoever writes alone, or
//! into one conversation, never waits: nobody would share the commit.
//!
//! Pure: told the time, decides, and knows nothing of what is written.

use std::time::Duration;

use chinwag_schema::{
    ids::ConversationId,
    limits::storage::{LINGER, LINGER_MAX_EVENTS},
};
use tokio::time::Instant;

/// Appends are counted over this time to know how fast they come.
const WINDOW: Duration = Duration::from_millis(20);
/// Appends in a row of one conversation, from which on it is taken to be alone. It has one in flight at a time.
const ALONE: u32 = 3;

/// How fast appends come, and when the last write ended.
pub(super) struct Pace {
    window_from: Instant,
    counted: u32,
    fast: bool,
    last: Option<ConversationId>,
    in_a_row: u32,
    written_at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_from: now, counted: 0, fast: false, last: None, in_a_row: 0, written_at: now }
    }

    /// Notes an append.
    pub(super) fn came(&mut self, conversation: ConversationId, now: Instant) {
        self.in_a_row =
            if self.last.replace(conversation) == Some(conversation) { self.in_a_row.saturating_add(1) } else { 0 };
        self.counted += 1;
        let counted_for = now - self.window_from;
        if counted_for >= WINDOW {
            // At least two more are expected while one waits.
            self.fast = LINGER * self.counted >= counted_for * 2;
            (self.window_from, self.counted) = (now, 0);
        }
    }

    /// Notes the end of a write.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.written_at = now;
    }

    /// Returns how long to let `events` wait for company; zero: write them.
    pub(super) fn wait(&self, events: usize, now: Instant) -> Duration {
        if !self.fast || self.in_a_row >= ALONE || events >= LINGER_MAX_EVENTS {
            return Duration::ZERO;
        }
        (self.written_at + LINGER).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(n: i64) -> ConversationId {
        ConversationId(n)
    }

    /// Lets an append come every `every`, from `conversations` in turn, for 100 ms; returns the wait at the end, right after a write.
    fn wait_after(every: Duration, conversations: i64, events: usize) -> Duration {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let mut now = begun;
        for n in 0.. {
            pace.came(conversation(n % conversations), now);
            if now - begun > Duration::from_millis(100) {
                break;
            }
            now += every;
        }
        pace.wrote(now);
        pace.wait(events, now)
    }

    #[test]
    fn what_comes_fast_from_many_conversations_waits_for_company() {
        assert_eq!(wait_after(Duration::from_micros(250), 100, 1), LINGER);
        assert_eq!(wait_after(Duration::from_micros(250), 2, 1), LINGER);
    }

    #[test]
    fn what_comes_slowly_or_alone_is_written_at_once() {
        assert_eq!(wait_after(Duration::from_millis(5), 100, 1), Duration::ZERO);
        assert_eq!(wait_after(Duration::from_micros(250), 1, 1), Duration::ZERO);
    }

    #[test]
    fn a_large_group_waits_for_nothing() {
        assert_eq!(wait_after(Duration::from_micros(10), 100, LINGER_MAX_EVENTS), Duration::ZERO);
    }

    #[test]
    fn the_wait_ends_with_the_linger_and_after_a_quiet_time() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        for n in 0..100 {
            pace.came(conversation(n), begun + Duration::from_micros(300) * u32::try_from(n).unwrap());
        }
        let wrote = begun + Duration::from_millis(30);
        pace.wrote(wrote);
        assert_eq!(pace.wait(1, wrote + LINGER / 2), LINGER / 2);
        assert_eq!(pace.wait(1, wrote + LINGER), Duration::ZERO);
        let later = wrote + Duration::from_secs(1);
        pace.came(conversation(7), later);
        pace.wrote(later);
        assert_eq!(pace.wait(1, later), Duration::ZERO, "one append in a second is no haste");
    }
}
