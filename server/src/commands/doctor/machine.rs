//! The machine: its clock, its limit of open files, the space on its disk.

use std::{path::Path, time::SystemTime};

use chinwag_schema::ids::SNOWFLAKE_EPOCH_MS;

use super::Finding;

/// Fewer open files than this are enough for a try, not for users.
const OPEN_FILES_WARN: u64 = 16_384;
/// Connections, the store and the listeners need at least so many.
const OPEN_FILES_FAIL: u64 = 512;
const GIB: u64 = 1 << 30;
/// A store grows by about 250 bytes a message: time enough to act.
const DISK_WARN_BYTES: u64 = 2 * GIB;
/// The log's file alone may take some of this.
const DISK_FAIL_BYTES: u64 = 128 << 20;
/// Files that may still be made.
const INODES_WARN: u64 = 1000;

/// Identifiers hold the time since 2025; a clock before that can't make any.
pub(super) fn clock() -> Vec<Finding> {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    vec![clock_at(now_ms)]
}

fn clock_at(now_ms: i64) -> Finding {
    let time = crate::http::iso_time(now_ms);
    if now_ms <= SNOWFLAKE_EPOCH_MS {
        let advice = "set the clock and keep it right with NTP (`timedatectl set-ntp true`)";
        return Finding::fail("clock", format!("{time}: before identifiers began"), advice);
    }
    Finding::ok("clock", time)
}

pub(super) fn open_files() -> Vec<Finding> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // The server raises the soft limit to the hard one by itself.
    vec![open_files_of(limit.maximum)]
}

fn open_files_of(hard: Option<u64>) -> Finding {
    let advice = "raise it: `LimitNOFILE=` of the systemd unit, `--ulimit nofile=` of the container, or limits.conf";
    match hard {
        None => Finding::ok("open files", "no limit"),
        Some(hard) if hard < OPEN_FILES_FAIL => Finding::fail("open files", format!("at most {hard}"), advice),
        Some(hard) if hard < OPEN_FILES_WARN => {
            Finding::warn("open files", format!("at most {hard}, each connection needs one"), advice)
        }
        Some(hard) => Finding::ok("open files", format!("at most {hard}")),
    }
}

/// Looks at the file system of an existing directory.
pub(super) fn disk(directory: &Path) -> Finding {
    let about = format!("disk of {}", directory.display());
    match rustix::fs::statvfs(directory) {
        Ok(found) => disk_of(about, found.f_bavail.saturating_mul(found.f_frsize), found.f_files, found.f_favail),
        Err(error) => Finding::warn(about, format!("its free space is unknown: {error}"), "look at it with `df`"),
    }
}

fn disk_of(about: String, free_bytes: u64, inodes: u64, inodes_free: u64) -> Finding {
    let free = if free_bytes < GIB {
        format!("{} MiB free", free_bytes >> 20)
    } else {
        format!("{:.1} GiB free", free_bytes as f64 / GIB as f64)
    };
    let advice = "make room, move --data to a larger disk, or set --retention-days";
    if free_bytes < DISK_FAIL_BYTES {
        Finding::fail(about, free, advice)
    } else if free_bytes < DISK_WARN_BYTES {
        Finding::warn(about, free, advice)
    } else if inodes > 0 && inodes_free < INODES_WARN {
        Finding::warn(about, format!("{free}, but only {inodes_free} more files (inodes)"), "remove files there")
    } else {
        Finding::ok(about, free)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn limits_are_judged() {
        assert_eq!(clock_at(0).level, Level::Fail);
        assert_eq!(clock_at(SNOWFLAKE_EPOCH_MS + 1).level, Level::Ok);
        let files = |hard| open_files_of(hard).level;
        assert_eq!(
            [files(Some(256)), files(Some(1024)), files(Some(1 << 20)), files(None)],
            [Level::Fail, Level::Warn, Level::Ok, Level::Ok]
        );
        let disk = |free, inodes_free| disk_of(String::new(), free, 1 << 20, inodes_free).level;
        assert_eq!(
            [disk(1 << 20, 5000), disk(GIB, 5000), disk(9 * GIB, 5), disk(9 * GIB, 5000)],
            [Level::Fail, Level::Warn, Level::Warn, Level::Ok]
        );
        assert_eq!(disk_of(String::new(), 9 * GIB, 0, 0).level, Level::Ok, "this file system doesn't count them");
    }
}
