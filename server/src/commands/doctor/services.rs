//! The services of a cluster: reachable, new enough, with the same time, and set up so that what they acknowledge stays.

use std::time::Duration;

use chinwag_actors::backends::clustered::{
    postgres::{self, PostgresReport},
    redis::{self, RedisReport},
    scylla::{self, ScyllaReport},
};

use super::{Finding, shown};
use crate::{
    backends::{postgres_options, redis_options, scylla_options},
    config::{Cluster, Config},
};

/// Clocks that differ by more spoil the order of what happened and the ends of leases.
const SKEW_WARN_MS: u64 = 1000;
/// A round trip that takes longer is felt in each message.
const SLOW: Duration = Duration::from_millis(20);

/// Asks all services, beside each other.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let Some(cluster) = &config.cluster else { return vec![] };
    actix_rt::System::new().block_on(async {
        let (postgres_options, scylla_options) = (postgres_options(cluster), scylla_options(config, cluster));
        let redis = async { redis::check(&redis_options(cluster)?).await };
        let (postgres, scylla, redis) =
            tokio::join!(postgres::check(&postgres_options), scylla::check(&scylla_options), redis);
        let mut findings = Vec::new();
        match postgres {
            Ok(report) => findings.extend(of_postgres(&report, cluster)),
            Err(error) => findings.push(unusable("Postgres", &error)),
        }
        match scylla {
            Ok(report) => findings.extend(of_scylla(&report, cluster)),
            Err(error) => findings.push(unusable("ScyllaDB or Cassandra", &error)),
        }
        match redis {
            Ok(report) => findings.extend(of_redis(&report)),
            Err(error) => findings.push(unusable("Redis", &error)),
        }
        findings
    })
}

/// What can't be used at all; its error says what to do.
fn unusable(service: &str, error: &impl std::fmt::Display) -> Finding {
    let text = error.to_string();
    match text.rsplit_once("; ") {
        Some((found, advice)) => Finding::fail(service, found, advice),
        None => Finding::fail(service, text, "look into its log"),
    }
}

fn of_postgres(report: &PostgresReport, cluster: &Cluster) -> Vec<Finding> {
    let about = format!("Postgres {}", report.at);
    let mut findings = vec![reached(&about, &format!("version {}", report.version), report.latency)];
    findings.extend(skew(&about, report.clock_ahead_ms));
    let durable = "what was acknowledged would be lost with the power: set it to on in postgresql.conf";
    for (setting, on) in [("fsync", report.fsync), ("full_page_writes", report.full_page_writes)] {
        if !on {
            findings.push(Finding::fail(&about, format!("{setting} is off"), durable));
        }
    }
    if report.synchronous_commit == "off" || report.synchronous_commit == "local" {
        let text =
            format!("synchronous_commit is {} there; the nodes set it to on for themselves", report.synchronous_commit);
        findings.push(Finding::ok(&about, text));
    }
    if !report.encrypted && !is_local(&report.at) {
        let advice = "add ?sslmode=verify-full to the URL, unless the network is private";
        findings.push(Finding::warn(&about, "the connection isn't encrypted", advice));
    }
    if report.max_connections <= i64::from(cluster.postgres_connections) {
        let text = format!(
            "takes {} connections, and this node alone may want {}",
            report.max_connections, cluster.postgres_connections
        );
        let advice = "raise max_connections to more than all nodes' --postgres-connections together, or lower those";
        findings.push(Finding::warn(&about, text, advice));
    }
    findings.push(match report.pending.as_slice() {
        [] => Finding::ok(&about, format!("schema version {}", postgres::SCHEMA_VERSION)),
        pending => {
            let text = format!("lacks {}", super::counted(pending.len() as u64, "migration"));
            Finding::warn(&about, text, "the next start applies them; `chinwag migrate --dry-run` shows them")
        }
    });
    findings
}

fn of_scylla(report: &ScyllaReport, cluster: &Cluster) -> Vec<Finding> {
    let about = format!("{} {}", report.server, cluster.scylla.nodes.join(","));
    let keyspace = &cluster.scylla.keyspace;
    let mut findings = vec![reached(&about, "answers", report.latency)];
    let servers = format!("{} of {} connected", report.connected, super::counted(report.servers as u64, "server"));
    findings.push(if report.connected < report.servers {
        Finding::warn(&about, servers, "start the others, or open their CQL port to this machine")
    } else {
        Finding::ok(&about, servers)
    });
    findings.extend(copies(&about, keyspace, report));
    findings.push(match report.schema_version {
        Some(version) if version >= report.newest_version => {
            Finding::ok(&about, format!("keyspace {keyspace}: schema version {version}, a compare-and-set works"))
        }
        Some(version) => {
            let text = format!(
                "keyspace {keyspace}: schema version {version} of {}; a compare-and-set works",
                report.newest_version
            );
            Finding::warn(&about, text, "the next start brings it up to date")
        }
        None => Finding::ok(&about, format!("keyspace {keyspace} is made at the first start")),
    });
    findings
}

/// Judges how often each message is stored.
fn copies(about: &str, keyspace: &str, report: &ScyllaReport) -> Option<Finding> {
    let fewest = report.copies.iter().map(|(_, count)| *count).min()?;
    let all: usize = report.copies.iter().map(|(_, count)| count).sum();
    let each: Vec<_> = report.copies.iter().map(|(place, count)| format!("{place}: {count}")).collect();
    let found = format!("keyspace {keyspace} has {} of each message ({})", counted_copies(fewest), each.join(", "));
    let more =
        format!("have three: ALTER KEYSPACE {keyspace} WITH replication = …, then `nodetool repair` on each server");
    Some(if all / 2 + 1 > report.servers {
        let advice = "a majority of the copies can't answer: start more servers, or ALTER KEYSPACE to fewer copies";
        Finding::fail(about, format!("{found}, on {}", super::counted(report.servers as u64, "server")), advice)
    } else {
        match fewest {
            1 => Finding::warn(about, format!("{found}: a lost disk loses messages"), more),
            2 => Finding::warn(about, format!("{found}: none of the servers may fail"), more),
            _ => Finding::ok(about, found),
        }
    })
}

fn counted_copies(count: usize) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{count} copies") }
}

fn of_redis(report: &RedisReport) -> Vec<Finding> {
    let about = format!("Redis {}", report.at);
    let mut findings = vec![reached(&about, &format!("version {}", report.version), report.latency)];
    findings.extend(skew(&about, report.clock_ahead_ms));
    if !report.primary {
        let advice = "name the primary, or its Sentinels: redis-sentinel://HOST:PORT?sentinelServiceName=NAME";
        findings.push(Finding::fail(&about, "is a replica and takes no writes", advice));
    }
    let mib = |bytes: u64| bytes >> 20;
    let memory = match report.maxmemory {
        0 => Finding::ok(
            &about,
            format!("{} MiB used, no limit, policy {}", mib(report.used_memory), report.maxmemory_policy),
        ),
        limit if report.maxmemory_policy != "noeviction" => {
            let text = format!("throws keys away at {} MiB (policy {})", mib(limit), report.maxmemory_policy);
            Finding::warn(
                &about,
                text,
                "leases and mailboxes would vanish under load: CONFIG SET maxmemory-policy noeviction",
            )
        }
        limit if report.used_memory > limit / 10 * 8 => {
            let text = format!("{} of {} MiB are used", mib(report.used_memory), mib(limit));
            Finding::warn(&about, text, "full, it refuses writes: raise maxmemory")
        }
        limit => {
            Finding::ok(&about, format!("{} of {} MiB used, policy noeviction", mib(report.used_memory), mib(limit)))
        }
    };
    findings.push(memory);
    if report.snapshot_failed {
        let advice = "it may refuse writes until one succeeds: look at its disk, or turn snapshots off (save \"\"), they aren't needed";
        findings.push(Finding::warn(&about, "the last snapshot failed", advice));
    }
    // Either is well: what is lost registers again by itself.
    let kept = if report.append_only {
        "keeps what it holds over a restart (AOF)"
    } else {
        "forgets at a restart, which is repaired"
    };
    findings.push(Finding::ok(&about, kept));
    findings
}

fn reached(about: &str, version: &str, latency: Duration) -> Finding {
    let text = format!("{version}, {} for a round trip", shown(latency));
    if latency > SLOW {
        return Finding::warn(about, text, "each message waits for several: bring it nearer");
    }
    Finding::ok(about, text)
}

fn skew(about: &str, ahead_ms: i64) -> Option<Finding> {
    if ahead_ms.unsigned_abs() <= SKEW_WARN_MS {
        return None;
    }
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let text = format!("its clock is {:.1} s {side} this machine's", ahead_ms.unsigned_abs() as f64 / 1000.0);
    Some(Finding::warn(about, text, "keep both right with NTP (`timedatectl` on each)"))
}

fn is_local(at: &str) -> bool {
    at.starts_with("127.")
        || at.starts_with("localhost")
        || at.starts_with("[::1]")
        || at.starts_with("::1")
        || at.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn redis_report() -> RedisReport {
        RedisReport {
            at: "cache:6379".into(),
            version: "7.0.15".into(),
            latency: Duration::from_micros(300),
            clock_ahead_ms: -300,
            primary: true,
            maxmemory: 0,
            maxmemory_policy: "noeviction".into(),
            used_memory: 1 << 20,
            append_only: false,
            snapshot_failed: false,
        }
    }

    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn a_redis_that_forgets_leases_or_takes_no_writes_is_noticed() {
        assert_eq!(worst(&of_redis(&redis_report())), Level::Ok);
        let evicting = RedisReport { maxmemory: 1 << 30, maxmemory_policy: "allkeys-lru".into(), ..redis_report() };
        assert_eq!(worst(&of_redis(&evicting)), Level::Warn);
        assert_eq!(worst(&of_redis(&RedisReport { primary: false, ..redis_report() })), Level::Fail);
        assert_eq!(worst(&of_redis(&RedisReport { clock_ahead_ms: -1500, ..redis_report() })), Level::Warn);
        assert_eq!(worst(&of_redis(&RedisReport { snapshot_failed: true, ..redis_report() })), Level::Warn);
    }

    #[test]
    fn too_few_copies_are_noticed_and_more_than_servers_as_well() {
        let level = |servers: usize, copies: &[(&str, usize)]| {
            let report = ScyllaReport {
                server: "Cassandra 5".into(),
                servers,
                connected: servers,
                latency: Duration::from_millis(1),
                copies: copies.iter().map(|(place, count)| ((*place).to_owned(), *count)).collect(),
                schema_version: Some(1),
                newest_version: 1,
            };
            copies_finding(&report)
        };
        assert_eq!(level(3, &[("dc1", 3)]), Some(Level::Ok));
        assert_eq!(level(1, &[("dc1", 1)]), Some(Level::Warn));
        assert_eq!(level(3, &[("dc1", 2)]), Some(Level::Warn));
        assert_eq!(level(1, &[("dc1", 3)]), Some(Level::Fail));
        assert_eq!(level(6, &[("dc1", 3), ("dc2", 3)]), Some(Level::Ok));
        assert_eq!(level(3, &[]), None, "there is no keyspace yet");
    }

    fn copies_finding(report: &ScyllaReport) -> Option<Level> {
        copies("x", "chinwag", report).map(|finding| finding.level)
    }

    #[test]
    fn what_an_error_says_to_do_is_the_advice() {
        let finding = unusable("Redis", &"Redis at cache:1 doesn't answer (refused); start it, or correct --redis");
        assert_eq!(finding.advice.as_deref(), Some("start it, or correct --redis"));
        assert!(unusable("Redis", &"no idea").advice.is_some());
    }
}
