//! Compression of server messages (RFC 7692): one small window, no context takeover.
//!
//! Owns one compressor per thread, reset before each message, so that a compressed message depends on nothing that was sent
//! before it and one frame serves every recipient. Knows nothing of frames; inflating what clients send is the server's work.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::limits::socket::COMPRESS_WINDOW_BITS;

/// What a sync flush ends with and the receiver puts back (RFC 7692, 7.2.1).
pub const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Chat texts are short: higher levels cost more time than they save bytes in a window of 1 KiB.
const LEVEL: u32 = 4;

thread_local! {
    static COMPRESSOR: RefCell<Compress> =
        RefCell::new(Compress::new_with_window_bits(Compression::new(LEVEL), false, COMPRESS_WINDOW_BITS));
}

/// Appends the compressed payload, without [`TAIL`], to `out`. Returns false and leaves `out` as it was when compressing doesn't
/// make it smaller.
pub fn compress(payload: &[u8], out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let start = out.len();
        let bound = start + payload.len();
        // Output that reaches the payload's length isn't wanted: the buffer never needs to grow beyond it.
        out.reserve(payload.len() + TAIL.len());
        let mut input = payload;
        loop {
            let before = compressor.total_in();
            let status = compressor.compress_vec(input, out, FlushCompress::Sync);
            input = &input[(compressor.total_in() - before) as usize..];
            let flushed = input.is_empty() && out.len() < out.capacity();
            match status {
                Ok(Status::Ok | Status::BufError) if flushed => break,
                Ok(Status::Ok) if out.len() < bound => out.reserve(64),
                _ => {
                    out.truncate(start);
                    return false;
                }
            }
        }
        if !out.ends_with(&TAIL) || out.len() - TAIL.len() >= bound {
            out.truncate(start);
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        true
    })
}
