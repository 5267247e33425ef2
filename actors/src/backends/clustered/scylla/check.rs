//! What `chinwag doctor` asks about the log's servers.

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
    let mut schema_version = None;
    if schema.has_keyspace().await? {
        schema.use_keyspace().await?;
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
