//! How soon the allocator gives memory back to the system.
//!
//! Connecting, storing and compressing need memory for a moment only. mimalloc keeps it for a second before it gives it back, and by then a busy
//! server has put something small into it that stays: after a storm of connections it stays larger than what it holds. With a tenth
//! of a second, memory is a straight line over the number of connections (`chinwag-loadtest idle`), and the CPU that this costs doesn't show.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, milliseconds. The crate names no experimental options; this is its place in `mimalloc.h`.
const PURGE_DELAY: mi_option_t = 15;
/// What it is unless somebody chose otherwise (`MIMALLOC_PURGE_DELAY`), milliseconds.
const PURGE_DELAY_DEFAULT: c_long = 1_000;
const PURGE_DELAY_OURS: c_long = 100;

/// Has unused memory given back to the system after a tenth of a second. Does nothing if the environment says otherwise, or if the
/// allocator's options are others than we know.
///
/// To be called once, first of all, while there is one thread.
pub fn give_back_soon() {
    // SAFETY: the options are a table of the allocator that is initialised before `main`, and out of whose bounds it doesn't look. They
    // aren't to be used by several threads; there is only this one yet.
    unsafe {
        if mi_option_get(PURGE_DELAY) == PURGE_DELAY_DEFAULT {
            mi_option_set(PURGE_DELAY, PURGE_DELAY_OURS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_where_we_look_for_it() {
        // SAFETY: reads one number; other tests that run meanwhile don't use the options.
        let delay = unsafe { mi_option_get(PURGE_DELAY) };
        let chosen = std::env::var("MIMALLOC_PURGE_DELAY").ok().and_then(|value| value.parse().ok());
        assert_eq!(delay, chosen.unwrap_or(PURGE_DELAY_DEFAULT), "mimalloc has renumbered its options");
    }
}
