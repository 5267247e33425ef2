//! What a message of a load test carries in its text: which run and sender it is of, its number, and when it was due.
//!
//! The same text goes over every protocol, so whoever receives a message knows its delay without keeping anything per message, and the
//! checker knows which message it is. Found by a search over the raw frame: no JSON is parsed per delivery.

/// Length of the longest mark, bytes.
pub const MARK_MAX: usize = 64;

/// What is known of a message from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The run: messages of other runs in the same history are passed over.
    pub run: u32,
    /// Who sent it (an index within the run).
    pub sender: u32,
    /// Which of the sender's messages, from 1.
    pub n: u32,
    /// When it was due, microseconds since the run's origin. In an open loop that is before it was sent, if the sender was late: delays
    /// counted from here hide no waiting (coordinated omission).
    pub due_us: u64,
}

impl Mark {
    /// Makes a text of `bytes` bytes (at least the mark's own length) that carries the mark.
    pub fn text(&self, bytes: usize) -> String {
        let Self { run, sender, n, due_us } = self;
        let mut text = format!("~cw.{run:x}.{sender:x}.{n:x}.{due_us:x}~ ");
        // Not one letter again and again: compression would have nothing to do.
        let mut state = u64::from(*n) << 32 | u64::from(*sender) | 1;
        while text.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(char::from(b"abcdefghijklmnopqrstuvwxyz     e"[(state >> 59) as usize]));
        }
        // Servers trim.
        if text.ends_with(' ') {
            text.pop();
            text.push('.');
        }
        text
    }

    /// Finds the mark in a frame or a text.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let at = bytes.windows(4).position(|window| window == b"~cw.")?;
        let rest = &bytes[at + 4..];
        let end = rest.iter().take(MARK_MAX).position(|&byte| byte == b'~')?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        let mut parts = text.split('.');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let (run, sender, n, due_us) = (next()?, next()?, next()?, next()?);
        Some(Self { run: run.try_into().ok()?, sender: sender.try_into().ok()?, n: n.try_into().ok()?, due_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_again_in_a_frame() {
        let mark = Mark { run: u32::MAX, sender: 7, n: 300, due_us: 123_456_789 };
        for bytes in [0, 60, 100, 4096] {
            let text = mark.text(bytes);
            assert!(text.len() >= bytes && text.trim() == text, "{text}");
            let frame = format!(r#"{{"type":"message","content":"{text}"}}"#);
            assert_eq!(Mark::find(frame.as_bytes()), Some(mark));
        }
        assert_eq!(Mark::find(b"~cw.1.2"), None);
        assert_eq!(Mark::find(b"nothing"), None);
    }
}
