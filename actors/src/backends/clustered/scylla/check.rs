//! What `chinwag doctor` asks about the log's servers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use scylla::client::session::Session;

use super::{
    options::{ScyllaError, ScyllaOptions},
    schema::{SCYLLA_SCHEMA_VERSION, Schema},
    server,
    statements::Levels,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScyllaReport {
    /// Name and version of the server.
    pub server: String,
    /// Servers known, and those of them that are connected.
    pub servers: usize,
    pub connected: usize,
    /// The quickest of some round trips.
    pub latency: Duration,
    /// How many copies of each row there are, by data centre (`replication_factor` when it knows none); empty without a keyspace.
    pub copies: Vec<(String, usize)>,
    /// `None`: there is nothing yet; the first start makes it. Otherwise a compare-and-set was tried and works.
    pub schema_version: Option<i64>,
    /// The version that this program brings the schema to.
    pub newest_version: i64,
}

/// Looks at the servers without changing anything but a row that goes away by itself.
///
/// # Errors
/// As [`super::ScyllaMessages::connect`].
pub async fn check(options: &ScyllaOptions) -> Result<ScyllaReport, ScyllaError> {
    options.validate()?;
    let levels = Levels::new(options.datacenter.is_some());
    let session = open(options, levels).await?;
    let schema = Schema { session: &session, options, levels };
    let (mut schema_version, mut copies) = (None, Vec::new());
    if schema.has_keyspace().await? {
        schema.use_keyspace().await?;
        copies = copies_of(&session, &options.keyspace).await;
        if schema.has_info().await? {
            schema_version = schema.check_version().await?;
            schema.check_ttl().await?;
            schema.check_conditions().await?;
        }
    }
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info();
    let is_scylla = nodes.iter().any(|node| node.sharder().is_some());
    let version = version(&session).await.unwrap_or_else(|| "of unknown version".into());
    Ok(ScyllaReport {
        server: format!("{} {version}", if is_scylla { "ScyllaDB" } else { "Cassandra" }),
        servers: nodes.len(),
        latency: latency(&session).await,
        copies,
        connected: nodes.iter().filter(|node| node.is_connected()).count(),
        schema_version,
        newest_version: SCYLLA_SCHEMA_VERSION,
    })
}

/// Opens a session; says which addresses don't answer.
pub(super) async fn open(options: &ScyllaOptions, levels: Levels) -> Result<Session, ScyllaError> {
    let session = server::open(options, levels).await;
    session.map_err(|error| ScyllaError::Unreachable { nodes: options.nodes.join(", "), reason: error.to_string() })
}

/// Round trips that are timed: the first ones also warm the connection up.
const ROUND_TRIPS: usize = 5;

async fn latency(session: &Session) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        if session.query_unpaged("SELECT key FROM system.local", &[]).await.is_ok() {
            quickest = quickest.min(begun.elapsed());
        }
    }
    quickest
}

async fn copies_of(session: &Session, keyspace: &str) -> Vec<(String, usize)> {
    let text = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let Ok(result) = session.query_unpaged(text, (keyspace,)).await else { return Vec::new() };
    let Ok(rows) = result.into_rows_result() else { return Vec::new() };
    let Ok((replication,)) = rows.first_row::<(BTreeMap<String, String>,)>() else { return Vec::new() };
    // The rest of it is the class's name.
    replication.into_iter().filter_map(|(place, count)| Some((place, count.parse().ok()?))).collect()
}

async fn version(session: &Session) -> Option<String> {
    // ScyllaDB says that it is a Cassandra, in `system.local`, and what it really is here.
    for text in ["SELECT version FROM system.versions WHERE key = 'local'", "SELECT release_version FROM system.local"]
    {
        if let Ok(result) = session.query_unpaged(text, &[]).await
            && let Ok(rows) = result.into_rows_result()
            && let Ok((version,)) = rows.first_row::<(String,)>()
        {
            return Some(version);
        }
    }
    None
}
