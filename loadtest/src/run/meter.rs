//! Counts and delays of a run: totals, and what has gathered since the sampler last looked.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// A login over REST, from the request to the token.
    Login,
    /// From the TCP connection to a peer that is ready: upgrade and the dialect's own greeting.
    Handshake,
    /// From when a message was due until its sender knew that it is stored.
    Acknowledged,
    /// From when a message was due until another peer received it.
    Delivered,
    /// A page of history.
    History,
    /// A join or leave, until its answer.
    Join,
    /// From when a user's coming or going was due until a friend heard of it.
    Presence,
}

impl Timer {
    /// Returns the names of all timers, as reports have them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TIMERS.iter().map(|(_, name)| *name)
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Messages sent.
    Sent,
    /// Peers that became ready.
    Connected,
    /// Peers that ended, by whichever side.
    Closed,
    /// Logins that the server asked to come again later (429 or 503), and that came again.
    LoginRetried,
    /// Arrivals that found the maximum of users there: not an error.
    TurnedAway,
}

const TIMERS: [(Timer, &str); 7] = [
    (Timer::Login, "login"),
    (Timer::Handshake, "handshake"),
    (Timer::Acknowledged, "acknowledged"),
    (Timer::Delivered, "delivered"),
    (Timer::History, "history"),
    (Timer::Join, "join"),
    (Timer::Presence, "presence"),
];
const COUNTERS: [(Counter, &str); 5] = [
    (Counter::Sent, "sent"),
    (Counter::Connected, "connected"),
    (Counter::Closed, "closed"),
    (Counter::LoginRetried, "login retried"),
    (Counter::TurnedAway, "turned away"),
];

/// Kinds of errors told apart: those that name a user may be as many as there are users.
const KINDS_MAX: usize = 100;

/// What the others are counted as.
const OTHER_KINDS: &str = "of other kinds";

/// Longest delay told apart, microseconds (an hour).
const LONGEST_US: u64 = 3_600_000_000;

/// Counts and delays, by name.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Delays in microseconds, three digits, in the order of [`Timer`].
    timers: Vec<Histogram<u64>>,
    counters: [u64; COUNTERS.len()],
    /// Errors by kind, at most 100 and 'of other kinds'.
    pub errors: BTreeMap<String, u64>,
}

impl Default for Measured {
    fn default() -> Self {
        let timer = |_| Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds are right");
        Self { timers: TIMERS.iter().map(timer).collect(), counters: Default::default(), errors: BTreeMap::new() }
    }
}

impl Measured {
    /// Returns a timer's delays, microseconds.
    pub fn timer(&self, timer: Timer) -> &Histogram<u64> {
        &self.timers[timer as usize]
    }

    /// Returns a count.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Returns all timers that were used, with their names.
    pub fn timers(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        TIMERS.iter().map(|(_, name)| *name).zip(&self.timers).filter(|(_, times)| !times.is_empty())
    }

    /// Returns all counters, with their names.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        COUNTERS.iter().map(|(_, name)| *name).zip(self.counters)
    }

    /// Returns how many errors there were.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds what another has.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.timers.iter_mut().zip(&other.timers).filter(|(_, other)| !other.is_empty()) {
            // Both have the same bounds.
            let _ = own.add(other);
        }
        self.counters.iter_mut().zip(other.counters).for_each(|(own, other)| *own += other);
        other.errors.iter().for_each(|(kind, count)| self.add_errors(kind, *count));
    }

    fn add_errors(&mut self, kind: &str, count: u64) {
        let known = self.errors.len() < KINDS_MAX || self.errors.contains_key(kind);
        let kind = if known { kind } else { OTHER_KINDS };
        *self.errors.entry(kind.to_owned()).or_default() += count;
    }
}

/// Where all tasks of a run note what they see.
#[derive(Debug, Default)]
pub struct Meter {
    now: Mutex<Measured>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a delay.
    pub fn time(&self, timer: Timer, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.lock().timers[timer as usize].saturating_record(us.max(1));
    }

    /// Counts.
    pub fn count(&self, counter: Counter, n: u64) {
        self.lock().counters[counter as usize] += n;
    }

    /// Counts an error of a kind: a few words that are the same for the same cause.
    pub fn error(&self, kind: impl AsRef<str>) {
        self.lock().add_errors(kind.as_ref(), 1);
    }

    /// Adds what has gathered since the last call to `into`, and begins anew. Only the sampler calls it.
    pub fn drain(&self, into: &mut Measured) {
        // Prepared before the lock is taken and added after: who notes something hardly waits.
        let mut gathered = Measured::default();
        std::mem::swap(&mut *self.lock(), &mut gathered);
        into.add(&gathered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_are_bounded_and_none_is_uncounted() {
        let (meter, mut totals) = (Meter::default(), Measured::default());
        for user in 0..2 * KINDS_MAX {
            meter.error(format!("user {user} was cut"));
            if user % 30 == 0 {
                meter.drain(&mut totals);
            }
        }
        meter.error("user 7 was cut");
        meter.drain(&mut totals);
        assert_eq!(totals.error_count(), 2 * KINDS_MAX as u64 + 1);
        assert_eq!((totals.errors.len(), totals.errors["user 7 was cut"]), (KINDS_MAX + 1, 2));
        assert_eq!(totals.errors[OTHER_KINDS], KINDS_MAX as u64);
    }
}
