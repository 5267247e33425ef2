//! The keyspace, its tables, and who may use them.
//!
//! Many nodes may start at once. Cassandra before version 6 can end with two different tables when two of its servers make one of the same
//! name at once; so the first table gets an id that follows from its name, and a row of it is the lock under which the rest is made.
//! `migrations/README.md` says how the schema changes and what `oldest_reader` is for.

use std::time::{Duration, Instant};

use chinwag_schema::ids::Epoch;
use scylla::{client::session::Session, serialize::row::SerializeRow, statement::Statement};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    options::{ScyllaError, ScyllaOptions},
    server::applied,
    statements::Levels,
};

/// The newest migration of `migrations/scylla`.
pub const SCYLLA_SCHEMA_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

const MIGRATIONS: [(i64, &str); 1] = [(1, include_str!("../../../../../migrations/scylla/00000000000001_first.cql"))];

/// How long a node that migrates holds the lock at most, and the others wait; a schema change takes a second or two.
const LOCK_TTL_S: i32 = 120;
const LOCK_WAIT: Duration = Duration::from_secs(180);
/// How long what was made may take until it can be used.
const SETTLE_WAIT: Duration = Duration::from_secs(15);
/// Wait for one change of the schema.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// What a store was made with.
pub(super) struct Made {
    pub epoch: Epoch,
    pub bucket_events: i64,
}

/// A session with a keyspace, while nothing is prepared yet.
pub(super) struct Schema<'a> {
    pub session: &'a Session,
    pub options: &'a ScyllaOptions,
    pub levels: Levels,
}

impl Schema<'_> {
    /// Makes what is missing, and checks what is there.
    pub(super) async fn ensure(&self) -> Result<Made, ScyllaError> {
        if !self.has_keyspace().await? {
            self.make_keyspace().await?;
        }
        // What another node is making is listed a moment before it can be used.
        let begun = Instant::now();
        while let Err(error) = self.open().await {
            if begun.elapsed() > SETTLE_WAIT {
                return Err(error);
            }
            tokio::time::sleep(LOCK_AGAIN).await;
        }
        self.check_conditions().await?;
        self.migrate().await?;
        self.check_ttl().await?;
        let epoch = Epoch(rand::random());
        let epoch = self.first_value("epoch", &epoch.to_string()).await?;
        let bucket_events = self.first_value("bucket_events", &self.options.bucket_events.to_string()).await?;
        let unreadable = |name: &str| self.fault(format!("the row '{name}' of store_info can't be read"));
        Ok(Made {
            epoch: epoch.parse().map_err(|_| unreadable("epoch"))?,
            bucket_events: bucket_events.parse().map_err(|_| unreadable("bucket_events"))?,
        })
    }

    /// Says whether the keyspace is there.
    pub(super) async fn has_keyspace(&self) -> Result<bool, ScyllaError> {
        let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
        Ok(!self.texts(text, (&self.options.keyspace,)).await?.is_empty())
    }

    async fn make_keyspace(&self) -> Result<(), ScyllaError> {
        let keyspace = &self.options.keyspace;
        // Only ScyllaDB divides a server into shards that drivers see, and only it knows tablets.
        let is_scylla = self.session.get_cluster_state().get_nodes_info().iter().any(|node| node.sharder().is_some());
        let tablets = if is_scylla { " AND tablets = {'enabled': false}" } else { "" };
        let replication = self.options.replication.cql();
        let text = format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}{tablets}");
        let made = self.session.query_unpaged(patient(&text), &[]).await;
        made.map_err(|error| ScyllaError::Keyspace { keyspace: keyspace.clone(), reason: error.to_string() })?;
        Ok(())
    }

    /// Makes the keyspace that of the session.
    pub(super) async fn use_keyspace(&self) -> Result<(), ScyllaError> {
        self.session.use_keyspace(&self.options.keyspace, true).await.map_err(|error| self.fault(error))
    }

    /// Goes into the keyspace, and makes the first table.
    async fn open(&self) -> Result<(), ScyllaError> {
        self.use_keyspace().await?;
        if !self.has_info().await? {
            let id = table_id(&self.options.keyspace, "store_info");
            let text =
                format!("CREATE TABLE IF NOT EXISTS store_info (name text PRIMARY KEY, value text) WITH id = {id}");
            self.change(&text).await?;
        }
        self.value("epoch").await.map(|_| ())
    }

    /// Says whether anything was ever made here.
    pub(super) async fn has_info(&self) -> Result<bool, ScyllaError> {
        let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'store_info'";
        Ok(!self.texts(text, (&self.options.keyspace,)).await?.is_empty())
    }

    /// Tries a compare-and-set in the keyspace, on a row of its own that goes away by itself.
    pub(super) async fn check_conditions(&self) -> Result<(), ScyllaError> {
        let broken = |reason: String| ScyllaError::NoConditions { keyspace: self.options.keyspace.clone(), reason };
        let name = format!("check {}", Uuid::now_v7());
        let set = "UPDATE store_info USING TTL 60 SET value = ? WHERE name = ? IF value = ?";
        for (value, expected, succeeds) in
            [("a", None, true), ("b", Some("a"), true), ("c", Some("a"), false), ("c", None, false)]
        {
            let said = self.condition(set, (value, &name, expected)).await.map_err(&broken)?;
            if said != succeeds {
                return Err(broken(format!("one that had to be {succeeds} was {said}")));
            }
        }
        match self.value_serial(&name).await.map_err(broken)?.as_deref() {
            Some("b") => Ok(()),
            other => Err(broken(format!("what was written as 'b' is read as {other:?}"))),
        }
    }

    async fn migrate(&self) -> Result<(), ScyllaError> {
        let begun = Instant::now();
        let me = Uuid::now_v7().to_string();
        while self.check_version().await?.is_none_or(|version| version < SCYLLA_SCHEMA_VERSION) {
            let lock = format!(
                "INSERT INTO store_info (name, value) VALUES ('migrating', ?) IF NOT EXISTS USING TTL {LOCK_TTL_S}"
            );
            if self.condition(&lock, (&me,)).await.map_err(|error| self.fault(error))? {
                let migrated = self.migrate_locked().await;
                let unlock = "DELETE FROM store_info WHERE name = 'migrating' IF value = ?";
                // Not removed: it goes away by itself.
                let _ = self.condition(unlock, (&me,)).await;
                return migrated;
            }
            if begun.elapsed() > LOCK_WAIT {
                let keyspace = self.options.keyspace.clone();
                return Err(ScyllaError::SchemaLocked { keyspace, waited_s: begun.elapsed().as_secs() });
            }
            tokio::time::sleep(LOCK_AGAIN).await;
        }
        Ok(())
    }

    async fn migrate_locked(&self) -> Result<(), ScyllaError> {
        // Somebody may have migrated between the look and the lock.
        let before = self.check_version().await?.unwrap_or(0);
        for (version, text) in MIGRATIONS.iter().filter(|(version, _)| *version > before) {
            for statement in statements(text) {
                self.change(&statement).await?;
            }
            self.put_value("schema_version", &version.to_string()).await?;
        }
        Ok(())
    }

    /// Returns the schema's version, `None` before the first; an error if this program is too old for it.
    pub(super) async fn check_version(&self) -> Result<Option<i64>, ScyllaError> {
        let number = |text: String| text.parse::<i64>().map_err(|error| self.fault(error));
        let needed = self.value("oldest_reader").await?.map(number).transpose()?.unwrap_or(0);
        if needed > SCYLLA_SCHEMA_VERSION {
            let (keyspace, known) = (self.options.keyspace.clone(), SCYLLA_SCHEMA_VERSION);
            return Err(ScyllaError::NewerSchema { keyspace, needed, known });
        }
        self.value("schema_version").await?.map(number).transpose()
    }

    /// Refuses tables with a default TTL.
    pub(super) async fn check_ttl(&self) -> Result<(), ScyllaError> {
        let text = "SELECT table_name, default_time_to_live FROM system_schema.tables WHERE keyspace_name = ?";
        let result = self.session.query_unpaged(text, (&self.options.keyspace,)).await.map_err(|e| self.fault(e))?;
        let result = result.into_rows_result().map_err(|error| self.fault(error))?;
        for row in result.rows::<(String, Option<i32>)>().map_err(|error| self.fault(error))? {
            let (table, ttl_s) = row.map_err(|error| self.fault(error))?;
            let ttl_s = ttl_s.unwrap_or(0);
            if ttl_s != 0 {
                return Err(ScyllaError::DefaultTtl { keyspace: self.options.keyspace.clone(), table, ttl_s });
            }
        }
        Ok(())
    }

    // ---- rows of store_info

    async fn value(&self, name: &str) -> Result<Option<String>, ScyllaError> {
        Ok(self.texts("SELECT value FROM store_info WHERE name = ?", (name,)).await?.pop())
    }

    async fn put_value(&self, name: &str, value: &str) -> Result<(), ScyllaError> {
        let mut statement = Statement::new("INSERT INTO store_info (name, value) VALUES (?, ?)");
        statement.set_consistency(self.levels.plain);
        statement.set_is_idempotent(true);
        self.session.query_unpaged(statement, (name, value)).await.map_err(|error| self.fault(error))?;
        Ok(())
    }

    /// Writes a value unless there is one; returns the one that there is.
    async fn first_value(&self, name: &str, value: &str) -> Result<String, ScyllaError> {
        let stored = self.value_serial(name).await.map_err(|error| self.fault(error))?;
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let put = "INSERT INTO store_info (name, value) VALUES (?, ?) IF NOT EXISTS";
        self.condition(put, (name, value)).await.map_err(|error| self.fault(error))?;
        let stored = self.value_serial(name).await.map_err(|error| self.fault(error))?;
        stored.ok_or_else(|| self.fault(format!("the row '{name}' of store_info was written and isn't there")))
    }

    async fn value_serial(&self, name: &str) -> Result<Option<String>, String> {
        let mut statement = Statement::new("SELECT value FROM store_info WHERE name = ?");
        statement.set_consistency(self.levels.serial_read);
        let result = self.session.query_unpaged(statement, (name,)).await.map_err(|error| error.to_string())?;
        let result = result.into_rows_result().map_err(|error| error.to_string())?;
        let row: Option<(String,)> = result.maybe_first_row().map_err(|error| error.to_string())?;
        Ok(row.map(|(value,)| value))
    }

    async fn condition(&self, text: &str, values: impl SerializeRow) -> Result<bool, String> {
        let mut statement = Statement::new(text);
        statement.set_consistency(self.levels.plain);
        statement.set_serial_consistency(Some(self.levels.serial));
        let result = self.session.query_unpaged(statement, values).await.map_err(|error| error.to_string())?;
        applied(result).map_err(|error| error.to_string())
    }

    async fn texts(&self, text: &str, values: impl SerializeRow) -> Result<Vec<String>, ScyllaError> {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        let result = self.session.query_unpaged(statement, values).await.map_err(|error| self.fault(error))?;
        let result = result.into_rows_result().map_err(|error| self.fault(error))?;
        let rows = result.rows::<(String,)>().map_err(|error| self.fault(error))?;
        rows.map(|row| row.map(|(text,)| text).map_err(|error| self.fault(error))).collect()
    }

    /// Changes the schema, and waits until all servers agree on it (the driver does).
    async fn change(&self, text: &str) -> Result<(), ScyllaError> {
        self.session.query_unpaged(patient(text), &[]).await.map_err(|error| self.fault(error))?;
        Ok(())
    }

    pub(super) fn fault(&self, reason: impl std::fmt::Display) -> ScyllaError {
        ScyllaError::Schema { keyspace: self.options.keyspace.clone(), reason: reason.to_string() }
    }
}

/// Returns a change of the schema, which may take longer than other requests.
fn patient(text: &str) -> Statement {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(CHANGE_TIMEOUT));
    statement
}

/// Returns the statements of a migration.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    lines.join("\n").split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// Returns the id of a table, the same for all who make it.
fn table_id(keyspace: &str, table: &str) -> Uuid {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(format!("chinwag/{keyspace}/{table}"))[..16]);
    uuid::Builder::from_custom_bytes(half).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_count_up_and_are_all_here() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|(version, _)| *version).collect();
        assert_eq!(versions, (1..=SCYLLA_SCHEMA_VERSION).collect::<Vec<_>>());
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/scylla");
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), MIGRATIONS.len());
    }

    #[test]
    fn comments_are_no_statements() {
        assert_eq!(statements("-- a; b\nX\n  -- c;\nY;\n\nZ;\n"), ["X\nY", "Z"]);
    }

    #[test]
    fn migrations_can_be_repeated_after_a_crash() {
        for (version, text) in MIGRATIONS {
            for statement in statements(text) {
                assert!(statement.contains("IF NOT EXISTS"), "{version}: {statement}");
            }
        }
    }
}
