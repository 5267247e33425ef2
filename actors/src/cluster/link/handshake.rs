//! How two nodes agree that they talk in the same session.
//!
//! Each side has an epoch, larger than all before it of the same incarnation. A *session* is a pair of epochs. A side is up in a
//! session when it has read an envelope with exactly this pair: then each knows the other's epoch. An epoch ends in three ways: its
//! side gives up and takes a larger one, its node dies, or its node loses sight of the other's incarnation (and takes a larger
//! one). So a side enters a session at most once, envelopes of an ended one are recognised by either number, and whoever only
//! follows the other's reset keeps its own epoch: resets don't answer resets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chinwag_schema::limits::link::{GREET_MAX, GREET_MIN, GREET_PAUSE};

/// Gives out epochs. One for all links of a node's life, so that a link that is built anew goes on with a larger one.
#[derive(Debug, Clone, Default)]
pub struct Epochs(Arc<AtomicU64>);

impl Epochs {
    /// Returns an epoch larger than any before. Never 0.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The epochs of both sides, as one of them knows them. 0: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    pub mine: u64,
    pub theirs: u64,
}

/// What an envelope's epochs say to somebody who is in a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Sent before something that was heard already.
    Before,
    /// The other side has a new epoch.
    New,
    /// The other side's epoch is the known one.
    Now,
}

impl Session {
    /// Says what the sender's epoch means.
    pub(super) fn compare(self, epoch: u64) -> Spoken {
        match epoch.cmp(&self.theirs) {
            std::cmp::Ordering::Less => Spoken::Before,
            std::cmp::Ordering::Equal if epoch == 0 => Spoken::Before,
            std::cmp::Ordering::Equal => Spoken::Now,
            std::cmp::Ordering::Greater => Spoken::New,
        }
    }
}

/// When to greet: at once, then with doubling waits, and sooner when the other side shows that it doesn't know enough.
#[derive(Debug)]
pub(super) struct Greeter {
    at: Duration,
    wait: Duration,
    last: Option<Duration>,
}

impl Greeter {
    pub fn new(now: Duration) -> Self {
        Self { at: now, wait: GREET_MIN, last: None }
    }

    /// Begins anew.
    pub fn restart(&mut self, now: Duration) {
        self.wait = GREET_MIN;
        self.at = self.earliest(now);
    }

    /// The other side should hear a greeting soon.
    pub fn hurry(&mut self, now: Duration) {
        self.at = self.at.min(self.earliest(now));
    }

    /// Returns when the next greeting is due.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// Notes a greeting.
    pub fn greeted(&mut self, now: Duration) {
        self.last = Some(now);
        self.at = now + self.wait;
        self.wait = (self.wait * 2).min(GREET_MAX);
    }

    fn earliest(&self, now: Duration) -> Duration {
        self.last.map_or(now, |last| now.max(last + GREET_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_repeated_with_growing_waits_and_answers_have_a_least_distance() {
        let start = Duration::from_secs(1);
        let mut greeter = Greeter::new(start);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let at = greeter.at();
            greeter.greeted(at);
            waits.push((greeter.at() - at).as_millis());
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 2000]);
        let now = start + Duration::from_secs(60);
        greeter.greeted(now);
        greeter.hurry(now + Duration::from_millis(1));
        assert_eq!(greeter.at(), now + GREET_PAUSE);
        greeter.restart(now + Duration::from_secs(1));
        assert_eq!(greeter.at(), now + Duration::from_secs(1));
    }

    #[test]
    fn epochs_only_grow_also_over_links_that_are_built_anew() {
        let epochs = Epochs::default();
        assert_eq!([epochs.next(), epochs.clone().next(), epochs.next()], [1, 2, 3]);
    }
}
