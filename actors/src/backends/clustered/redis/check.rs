//! What `chinwag doctor` asks about Redis.

use std::time::{Duration, Instant, SystemTime};

use chinwag_schema::limits::cluster::REDIS_DEADLINE;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    prelude::{ConnectionConfig, Error, Value},
    types::CustomCommand,
};
use tokio::time::timeout;

use super::options::{RedisError, RedisOptions};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisReport {
    pub at: String,
    pub version: String,
    /// The quickest of some round trips.
    pub latency: Duration,
    /// How far the server's clock is ahead of ours, milliseconds; half a round trip may be wrong with it.
    pub clock_ahead_ms: i64,
    /// A replica takes no writes.
    pub primary: bool,
    /// Bytes after which it throws keys away or refuses writes; 0 is no limit.
    pub maxmemory: u64,
    /// What it does then, such as `noeviction`.
    pub maxmemory_policy: String,
    pub used_memory: u64,
    /// Whether it logs what is written (AOF).
    pub append_only: bool,
    /// Whether the last snapshot failed: by default it then refuses writes.
    pub snapshot_failed: bool,
}

const ROUND_TRIPS: usize = 5;

/// Looks at the server and changes nothing.
///
/// # Errors
/// When it doesn't answer.
pub async fn check(options: &RedisOptions) -> Result<RedisReport, RedisError> {
    let connection = ConnectionConfig {
        connection_timeout: REDIS_DEADLINE,
        internal_command_timeout: REDIS_DEADLINE,
        max_command_attempts: 1,
        ..ConnectionConfig::default()
    };
    let client = Client::new(options.config.clone(), None, Some(connection), None);
    let unreachable = |error: Error| RedisError::Unreachable { address: options.address(), reason: error.to_string() };
    let router = client.init().await.map_err(unreachable)?;
    let found = timeout(REDIS_DEADLINE, ask(&client)).await;
    router.abort();
    let late = |_| Error::new(fred::error::ErrorKind::Timeout, "no answer in time");
    let (info, latency, clock_ahead_ms) = found.map_err(late).flatten().map_err(unreachable)?;
    Ok(read(&info, options.address(), latency, clock_ahead_ms))
}

async fn ask(client: &Client) -> Result<(String, Duration, i64), Error> {
    let (mut latency, mut clock_ahead_ms) = (Duration::MAX, 0);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        let time = CustomCommand::new_static("TIME", None::<u16>, false);
        // Seconds, and microseconds of this second.
        let (s, us): (i64, i64) = client.custom(time, Vec::<Value>::new()).await?;
        let took = begun.elapsed();
        if took < latency {
            latency = took;
            clock_ahead_ms = s * 1000 + us / 1000 - (unix_ms() - i64::try_from(took.as_millis() / 2).unwrap_or(0));
        }
    }
    Ok((client.info(None).await?, latency, clock_ahead_ms))
}

fn read(info: &str, at: String, latency: Duration, clock_ahead_ms: i64) -> RedisReport {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    RedisReport {
        at,
        version: field("redis_version").to_owned(),
        latency,
        clock_ahead_ms,
        primary: field("role") == "master",
        maxmemory: field("maxmemory").parse().unwrap_or(0),
        maxmemory_policy: field("maxmemory_policy").to_owned(),
        used_memory: field("used_memory").parse().unwrap_or(0),
        append_only: field("aof_enabled") == "1",
        snapshot_failed: field("rdb_last_bgsave_status") == "err",
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_of_itself_is_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1024\r\nmaxmemory_human:1M\r\nmaxmemory:1048576\r\n\
                    maxmemory_policy:allkeys-lru\r\nrdb_last_bgsave_status:err\r\naof_enabled:1\r\nrole:slave\r\n";
        let report = read(info, "h:1".into(), Duration::ZERO, 0);
        assert_eq!((report.version.as_str(), report.maxmemory, report.used_memory), ("7.0.15", 1 << 20, 1024));
        assert_eq!(report.maxmemory_policy, "allkeys-lru");
        assert!(report.append_only && report.snapshot_failed && !report.primary);
    }
}
