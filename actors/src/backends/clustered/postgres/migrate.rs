//! Migrations at start, by one node at a time, and the guard against a store that this program is too old for.
//!
//! The rules for migrations are in `migrations/README.md`. Diesel's own harness isn't used because it blocks its thread, which a
//! single-threaded runtime such as actix's doesn't allow; the table it keeps is the same.

use std::time::Duration;

use chinwag_schema::limits::postgres::{MIGRATION_LOCK_WAIT, MIGRATION_MAX, MIGRATION_TURN_WAIT};
use tokio_postgres::{Client, error::SqlState};

use super::{
    PostgresError,
    connect::{Connector, chain},
};

/// The schema that this program writes: the number of its newest migration.
pub const SCHEMA_VERSION: i64 = 4;

/// The advisory lock that a node holds while it migrates; a number of no meaning ("chinwag" in ASCII), one per database.
const LOCK: i64 = 0x0063_6869_6E77_6167;

struct Migration {
    version: &'static str,
    name: &'static str,
    up: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: "00000000000001",
        name: "first",
        up: include_str!("../../../../../migrations/postgres/00000000000001_first/up.sql"),
    },
    Migration {
        version: "00000000000002",
        name: "arrivals",
        up: include_str!("../../../../../migrations/postgres/00000000000002_arrivals/up.sql"),
    },
    Migration {
        version: "00000000000003",
        name: "copies",
        up: include_str!("../../../../../migrations/postgres/00000000000003_copies/up.sql"),
    },
    Migration {
        version: "00000000000004",
        name: "users_by_arrival",
        up: include_str!("../../../../../migrations/postgres/00000000000004_users_by_arrival/up.sql"),
    },
];

/// A migration that a store still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its number, as in the name of its directory.
    pub version: &'static str,
    pub name: &'static str,
    /// What it will run.
    pub sql: &'static str,
}

/// Returns what [`migrate`] would do, and changes nothing.
pub(super) async fn pending(connector: &Connector) -> Result<Vec<Pending>, PostgresError> {
    Migrator { client: connector.plain().await?, at: connector.at() }.pending().await
}

/// Refuses a store that needs a newer program, then applies the migrations that are missing and returns them. Of several nodes at once,
/// one does it and the others wait for it.
pub(super) async fn migrate(connector: &Connector) -> Result<Vec<Pending>, PostgresError> {
    let migrator = Migrator { client: connector.plain().await?, at: connector.at() };
    // Usually there is nothing to do; then the role needs no right to change tables either.
    if migrator.pending().await?.is_empty() {
        return Ok(Vec::new());
    }
    migrator.run().await
}

struct Migrator<'a> {
    client: Client,
    at: &'a str,
}

impl Migrator<'_> {
    async fn pending(&self) -> Result<Vec<Pending>, PostgresError> {
        let needed = self.oldest_reader().await.map_err(|error| self.failed(&error))?;
        if needed > SCHEMA_VERSION {
            return Err(PostgresError::NewerSchema { at: self.at.to_owned(), needed, known: SCHEMA_VERSION });
        }
        let applied = self.applied().await.map_err(|error| self.failed(&error))?;
        let missing = MIGRATIONS.iter().filter(|one| !applied.iter().any(|version| version == one.version));
        Ok(missing.map(|one| Pending { version: one.version, name: one.name, sql: one.up }).collect())
    }

    /// Returns the schema version that the store asks for; 0 for an empty one.
    async fn oldest_reader(&self) -> Result<i64, tokio_postgres::Error> {
        if !self.has("store_info").await? {
            return Ok(0);
        }
        let row = self.client.query_opt("SELECT oldest_reader FROM store_info", &[]).await?;
        row.map_or(Ok(0), |row| row.try_get(0))
    }

    async fn applied(&self) -> Result<Vec<String>, tokio_postgres::Error> {
        if !self.has("__diesel_schema_migrations").await? {
            return Ok(Vec::new());
        }
        let rows = self.client.query("SELECT version FROM __diesel_schema_migrations", &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    async fn has(&self, table: &str) -> Result<bool, tokio_postgres::Error> {
        self.client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.try_get(0)
    }

    async fn run(self) -> Result<Vec<Pending>, PostgresError> {
        self.set("statement_timeout", MIGRATION_TURN_WAIT).await?;
        // Held until this connection ends, at the latest.
        self.client.query("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(|error| self.failed(&error))?;
        self.set("statement_timeout", MIGRATION_MAX).await?;
        // Whoever waits for a table's lock makes all others wait behind it, on every node.
        self.set("lock_timeout", MIGRATION_LOCK_WAIT).await?;
        let migrations_table = "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (\
                                  version VARCHAR(50) PRIMARY KEY NOT NULL, \
                                  run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";
        self.client.batch_execute(migrations_table).await.map_err(|error| self.failed(&error))?;
        // Another node may have been here meanwhile.
        let pending = self.pending().await?;
        for Pending { version, sql, .. } in &pending {
            // The version is ours, digits only.
            let script = format!(
                "BEGIN;\n{sql}\nINSERT INTO __diesel_schema_migrations (version) VALUES ('{version}');\nCOMMIT;"
            );
            self.client.batch_execute(&script).await.map_err(|error| self.failed(&error))?;
        }
        self.client.query("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(|error| self.failed(&error))?;
        Ok(pending)
    }

    async fn set(&self, setting: &str, time: Duration) -> Result<(), PostgresError> {
        let sql = format!("SET {setting} = {}", time.as_millis());
        self.client.batch_execute(&sql).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &tokio_postgres::Error) -> PostgresError {
        let advice = match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                "let the role make tables there (GRANT CREATE ON SCHEMA public TO …), or migrate as one that may"
            }
            Some(&(SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT)) => {
                "something else lives in this database: give chinwag one of its own"
            }
            Some(&(SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE)) => {
                "another node migrates, or a long transaction holds a table: look into pg_stat_activity and start again"
            }
            _ => "nothing of this step was kept; mend what it says and start again",
        };
        PostgresError::Migration { at: self.at.to_owned(), reason: chain(error), advice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_those_of_the_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");
        let mut there: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let here: Vec<_> = MIGRATIONS.iter().map(|one| format!("{}_{}", one.version, one.name)).collect();
        assert_eq!(here, there);
        assert_eq!(MIGRATIONS.last().unwrap().version.parse(), Ok(SCHEMA_VERSION));
    }
}
