//! What `chinwag doctor` asks about the accounts' server.

use std::time::{Duration, Instant, SystemTime};

use super::{
    PostgresError, PostgresOptions,
    connect::{Connector, chain},
    migrate::{self, Pending},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresReport {
    /// Hosts and database, without credentials.
    pub at: String,
    pub version: String,
    /// The quickest of some round trips.
    pub latency: Duration,
    /// How far the server's clock is ahead of ours, milliseconds; half a round trip may be wrong with it.
    pub clock_ahead_ms: i64,
    /// Whether a commit waits for the disk: the server's `fsync` and `full_page_writes`.
    pub fsync: bool,
    pub full_page_writes: bool,
    /// What sessions start with; ours raise it to `on` at least.
    pub synchronous_commit: String,
    pub max_connections: i64,
    pub encrypted: bool,
    /// Migrations that the next start applies.
    pub pending: Vec<Pending>,
}

/// Round trips that are timed: the first ones also warm the connection up.
const ROUND_TRIPS: usize = 5;

/// Looks at the server and changes nothing.
///
/// # Errors
/// As [`super::PostgresAccounts::connect`].
pub async fn check(options: &PostgresOptions) -> Result<PostgresReport, PostgresError> {
    let connector = Connector::new(options)?;
    let pending = migrate::pending(&connector).await?;
    let client = connector.plain().await?;
    let failed = |error: tokio_postgres::Error| PostgresError::Connect {
        at: connector.at().to_owned(),
        reason: chain(&error),
        advice: "look into the server's log",
    };
    let mut latency = Duration::MAX;
    let mut clock_ahead_ms = 0;
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        let ask = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let there_ms: i64 = client.query_one(ask, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
        let took = begun.elapsed();
        if took < latency {
            latency = took;
            clock_ahead_ms = there_ms - (unix_ms() - i64::try_from(took.as_millis() / 2).unwrap_or(0));
        }
    }
    let ask = "SELECT current_setting('server_version'), current_setting('fsync') = 'on', \
               current_setting('full_page_writes') = 'on', current_setting('synchronous_commit'), \
               current_setting('max_connections')::bigint, \
               coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)";
    let row = client.query_one(ask, &[]).await.map_err(failed)?;
    Ok(PostgresReport {
        at: connector.at().to_owned(),
        version: row.try_get(0).map_err(failed)?,
        latency,
        clock_ahead_ms,
        fsync: row.try_get(1).map_err(failed)?,
        full_page_writes: row.try_get(2).map_err(failed)?,
        synchronous_commit: row.try_get(3).map_err(failed)?,
        max_connections: row.try_get(4).map_err(failed)?,
        encrypted: row.try_get(5).map_err(failed)?,
        pending,
    })
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
