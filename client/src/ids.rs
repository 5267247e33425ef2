//! Identifiers that the client makes.

use uuid::{Builder, Uuid};

/// Makes UUIDv7 (RFC 9562) in ascending order, also within one millisecond and when the clock steps back.
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
        if now_ms > self.last_ms {
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
    fn message_ids_ascend_whatever_the_clock_does() {
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
        next(1_700_000_000_000);
        next(1_900_000_000_000);
        let mut later = MessageIds::default();
        later.after(last);
        assert!(later.next(1_000) > last);
        assert!(later.next(1_000) > later.next(0).min(last));
    }
}
