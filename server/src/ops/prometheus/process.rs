//! The process and its machine: processor, memory, connections, disk, certificate, backup.

use std::{path::Path, time::UNIX_EPOCH};

use prometheus::proto::MetricType;

use super::{Families, counter};
use crate::{
    commands::backup::LAST_BACKUP,
    facts::{NodeFacts, resident_bytes},
};

pub(super) fn families(facts: &NodeFacts, families: &mut Families) {
    families.gauge("resident_bytes", "Resident memory.", resident_bytes() as f64);
    if let Some(seconds) = cpu_seconds() {
        let metrics = vec![counter(&[], seconds)];
        families.add("cpu_seconds_total", "Processor time, of all threads.", MetricType::COUNTER, metrics);
    }
    if let Some(places) = facts.places.get() {
        families.gauge("connections", "Open connections of all listeners.", places.taken() as f64);
        families.gauge("connections_max", "Connections beyond this are dropped.", places.max() as f64);
        families.counter(
            "connections_refused_total",
            "Connections dropped at once: too many in all, or of one address.",
            places.refused(),
        );
    }
    if let Ok(disk) = rustix::fs::statvfs(&facts.data) {
        // What a process without privileges can have.
        families.gauge("disk_free_bytes", "Free room where the data is.", (disk.f_bavail * disk.f_frsize) as f64);
        families.gauge("disk_size_bytes", "Room where the data is.", (disk.f_blocks * disk.f_frsize) as f64);
    }
    if let Some(ends_s) = facts.certificate_ends_s {
        families.gauge(
            "certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends, Unix time.",
            ends_s as f64,
        );
    }
    if let Some(seconds) = modified_s(&facts.data.join(LAST_BACKUP)) {
        families.gauge("last_backup_timestamp_seconds", "When `chinwag backup` last succeeded, Unix time.", seconds);
    }
}

/// Returns the processor time of this process; `None` where the system doesn't tell.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some(cpu_ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Reads user and system time, in ticks, from a line of `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15).
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the name, which may hold anything: count from the end of it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

fn modified_s(file: &Path) -> Option<f64> {
    let modified = std::fs::metadata(file).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 200 0 3 17 25 0 0 20 0 8 0 12345 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(17 + 25));
        assert_eq!(cpu_ticks("42 (a"), None);
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
    }

    #[test]
    fn the_last_backup_is_as_old_as_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(LAST_BACKUP);
        assert_eq!(modified_s(&file), None);
        std::fs::write(&file, "").unwrap();
        assert!(modified_s(&file).is_some_and(|seconds| seconds > 1.7e9));
    }
}
