//! How long the disk takes to keep a page: what bounds a server that stores before it acknowledges.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// Pages written.
const PAGES: usize = 200;
const PAGE_BYTES: usize = 4096;

/// Measures the time of an fdatasync of one page appended, in the directory for temporary files, where servers that are started here keep
/// their data: the median of 200. Blocking.
pub fn median() -> anyhow::Result<Duration> {
    let mut file = tempfile::tempfile().context("can't write a temporary file")?;
    let mut times = Vec::with_capacity(PAGES);
    for _ in 0..PAGES {
        file.write_all(&[7; PAGE_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[PAGES / 2])
}
