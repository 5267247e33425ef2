//! Compression of server messages (RFC 7692): one small window, no context takeover.
//!
//! Owns one compressor per thread, reset before each message, so that a compressed message depends on nothing that was sent
//! before it and one frame serves every recipient. Knows nothing of frames; inflating what clients send is the server's work.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

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
    let start = out.len();
    compress_always(payload, out);
    if out.len() - start < payload.len() {
        return true;
    }
    out.truncate(start);
    false
}

/// Appends the compressed payload, without [`TAIL`], to `out`, even when it gets larger.
pub fn compress_always(payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        // An empty block without its tail (RFC 7692, 7.2.3.6); the compressor would write nothing.
        out.push(0);
        return;
    }
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut input = payload;
        // Usually more than enough: the loop runs once.
        out.reserve(payload.len() + 64);
        loop {
            let before = compressor.total_in();
            let result = compressor.compress_vec(input, out, FlushCompress::Sync);
            result.expect("a compressor that was reset takes any input");
            input = &input[(compressor.total_in() - before) as usize..];
            if input.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(payload.len() / 8 + 64);
        }
    });
    let end = out.len() - TAIL.len();
    debug_assert_eq!(out[end..], TAIL);
    out.truncate(end);
}
