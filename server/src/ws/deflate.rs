//! Inflating what clients send (RFC 7692).
//!
//! Clients are always told not to take over their context, so that one inflater per thread serves all sockets and an idle socket
//! keeps no window. Knows nothing of frames.

use std::cell::Cell;

use chinwag_schema::wire::deflate::TAIL;
use flate2::{Decompress, FlushDecompress, Status};

/// Why a message can't be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It would become larger than allowed. Nothing beyond the limit was inflated.
    TooBig,
    /// It is no deflate stream.
    Corrupt,
}

/// First size of the output, and what a thread keeps of it between messages, bytes.
const OUTPUT_BYTES: usize = 16 * 1024;
const OUTPUT_KEPT_BYTES: usize = 128 * 1024;

struct Inflater {
    stream: Decompress,
    output: Vec<u8>,
}

thread_local! {
    // Taken out while in use: whoever looks at a message may cause another one to be inflated.
    static INFLATER: Cell<Option<Box<Inflater>>> = const { Cell::new(None) };
}

/// Inflates a message of at most `max_bytes` (inflated) and lends it to `look`.
pub fn inflate<R>(compressed: &[u8], max_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> Result<R, InflateError> {
    let mut inflater =
        INFLATER.take().unwrap_or_else(|| Box::new(Inflater { stream: Decompress::new(false), output: Vec::new() }));
    let result = inflater.run(compressed, max_bytes).map(|()| look(&inflater.output));
    if inflater.output.capacity() <= OUTPUT_KEPT_BYTES {
        inflater.output.clear();
    } else {
        inflater.output = Vec::new();
    }
    INFLATER.set(Some(inflater));
    result
}

impl Inflater {
    fn run(&mut self, compressed: &[u8], max_bytes: usize) -> Result<(), InflateError> {
        self.stream.reset(false);
        self.output.clear();
        for mut input in [compressed, &TAIL] {
            while !input.is_empty() {
                // One byte more than allowed: reaching it proves that the message is too big.
                let room = (max_bytes + 1).saturating_sub(self.output.len());
                if room == 0 {
                    return Err(InflateError::TooBig);
                }
                if self.output.len() == self.output.capacity() {
                    self.output.reserve_exact(self.output.capacity().max(OUTPUT_BYTES).min(room));
                }
                let before = (self.stream.total_in(), self.output.len());
                let status = self.stream.decompress_vec(input, &mut self.output, FlushDecompress::Sync);
                let used = (self.stream.total_in() - before.0) as usize;
                input = &input[used..];
                match status {
                    Err(_) => return Err(InflateError::Corrupt),
                    // A final block: what the peer sent ends here, whatever follows (RFC 7692, 7.2.3.5).
                    Ok(Status::StreamEnd) => self.stream.reset(false),
                    Ok(_)
                        if used == 0 && self.output.len() == before.1 && self.output.len() < self.output.capacity() =>
                    {
                        return Err(InflateError::Corrupt);
                    }
                    Ok(_) => {}
                }
            }
        }
        self.flush_rest(max_bytes)
    }

    /// Fetches what the stream still holds when all input is consumed but the output was full.
    fn flush_rest(&mut self, max_bytes: usize) -> Result<(), InflateError> {
        while self.output.len() == self.output.capacity() && self.output.len() <= max_bytes {
            self.output.reserve_exact(OUTPUT_BYTES);
            let before = self.output.len();
            match self.stream.decompress_vec(&[], &mut self.output, FlushDecompress::Sync) {
                Err(_) => return Err(InflateError::Corrupt),
                Ok(_) if self.output.len() == before => break,
                Ok(_) => {}
            }
        }
        if self.output.len() > max_bytes { Err(InflateError::TooBig) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflate(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        Compress::new(Compression::best(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn what_was_deflated_comes_back() {
        for len in [0, 1, 10, 16_383, 16_384, 16_385, 65_536, 1 << 20] {
            let payload: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
            assert_eq!(inflate(&deflate(&payload), len, <[u8]>::to_vec), Ok(payload.clone()), "{len}");
            if len > 0 {
                assert_eq!(inflate(&deflate(&payload), len - 1, <[u8]>::to_vec), Err(InflateError::TooBig), "{len}");
            }
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let bomb = deflate(&vec![0; 64 << 20]);
        assert!(bomb.len() < 70_000);
        assert_eq!(inflate(&bomb, 65_536, |_| ()), Err(InflateError::TooBig));
        // The thread's inflater went no further than the limit.
        let inflater = INFLATER.take().unwrap();
        assert!(inflater.output.capacity() <= OUTPUT_KEPT_BYTES);
        assert!(inflater.stream.total_out() <= 65_536 + 2 * OUTPUT_BYTES as u64, "{}", inflater.stream.total_out());
        INFLATER.set(Some(inflater));
        assert_eq!(inflate(&deflate(b"still fine"), 100, <[u8]>::to_vec), Ok(b"still fine".to_vec()));
    }

    #[test]
    fn garbage_is_refused_and_leaves_no_trace() {
        assert_eq!(inflate(&[0xff; 50], 1000, |_| ()), Err(InflateError::Corrupt));
        assert_eq!(inflate(&deflate(b"next"), 100, <[u8]>::to_vec), Ok(b"next".to_vec()));
    }
}
