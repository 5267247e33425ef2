//! Identifiers that the client makes.

use uuid::{Builder, Uuid};

/// A clock that steps back further than this was wrong before, and its ids would be refused for being of the future; a smaller step isn't
/// worth the order of the messages. The server's bound is ten minutes.
const STEP_BACK_MAX_MS: u64 = 60_000;

/// Makes UUIDv7 (RFC 9562) in ascending order, also within one millisecond and when the clock steps back, though not by more than a minute.
#[derive(Debug, Default)]
pub(crate) struct MessageIds {
    last_ms: u64,
    count: u16,
}

impl MessageIds {
    /// Makes ids that are greater than this one.
    pub(crate) fn after(&mut self, id: Uuid) {
        let high = id.as_u64_pair().0;
        if high >> 16 >= self.last_ms {
            (self.last_ms, self.count) = (high >> 16, (high & 0xfff) as u16);
        }
    }

    /// Makes the next one.
    pub(crate) fn next(&mut self, now_ms: i64) -> Uuid {
        let now_ms = u64::try_from(now_ms).unwrap_or_default();
        let mut random = [0; 10];
        // Without randomness the counter and the time are all there is; ids are unique per sender anyway.
        let _ = getrandom::fill(&mut random);
        if now_ms > self.last_ms || self.last_ms - now_ms > STEP_BACK_MAX_MS {
            self.last_ms = now_ms;
            // Half of the range is left for counting up.
            self.count = u16::from_be_bytes([random[0], random[1]]) & 0x7ff;
        } else {
            self.count += 1;
            if self.count > 0xfff {
                (self.last_ms, self.count) = (self.last_ms + 1, 0);
            }
        }
        [random[0], random[1]] = self.count.to_be_bytes();
        Builder::from_unix_timestamp_millis(self.last_ms, &random).into_uuid()
    }
}

/// Makes request ids that no other client of this user makes: `group.create` is told from its repeats by them.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u32,
    count: u64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { prefix: getrandom::u32().unwrap_or_else(|_| std::process::id()), count: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.count += 1;
        format!("{:08x}-{}", self.prefix, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_ascend_also_when_the_clock_steps_back_a_little() {
        let mut ids = MessageIds::default();
        let mut last = Uuid::nil();
        let mut next = |now| {
            let id = ids.next(now);
            assert!(id > last, "{id} after {last}");
            assert_eq!(id.get_version_num(), 7);
            last = id;
        };
        next(1_800_000_000_000);
        for _ in 0..10_000 {
            next(1_800_000_000_000);
        }
        next(1_799_999_950_000);
        next(1_900_000_000_000);
        next(1_899_999_940_000);
        let mut later = MessageIds::default();
        later.after(last);
        assert!(later.next(1_899_999_990_000) > last);
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_not_followed_for_ever() {
        let at_ms = |id: Uuid| id.as_u64_pair().0 >> 16;
        let mut ids = MessageIds::default();
        ids.next(1_800_003_600_000);
        let first = ids.next(1_800_000_000_000);
        assert_eq!(at_ms(first), 1_800_000_000_000);
        assert!(ids.next(1_800_000_000_000) > first);
        let mut seeded = MessageIds::default();
        seeded.after(Builder::from_unix_timestamp_millis(1_800_003_600_000, &[0; 10]).into_uuid());
        assert_eq!(at_ms(seeded.next(1_800_000_000_000)), 1_800_000_000_000);
    }
}
