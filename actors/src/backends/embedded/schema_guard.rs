//! Migrations at start, the guard against a store that this program is too old for, and the epoch.
//!
//! The rules for migrations are in `migrations/README.md`.

use std::path::Path;

use chinwag_schema::{ids::Epoch, tables::sqlite::store_info};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection,
    migration::{Migration, MigrationSource},
    sql_query,
    sql_types::BigInt,
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{
    OpenError,
    data_dir::{BootId, DataDir},
    sql,
};

/// The schema that this program writes: the number of its newest migration.
pub const SCHEMA_VERSION: i64 = 2;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Refuses a store that needs a newer program, then applies the migrations that are missing; returns their names.
pub(super) fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<Vec<String>, OpenError> {
    guard(conn, path)?;
    let store = |reason: String| OpenError::Store { path: path.display().to_string(), reason };
    let pending = pending(conn).map_err(|error| store(error.to_string()))?;
    conn.run_pending_migrations(MIGRATIONS).map_err(|error| store(format!("a migration failed: {error}")))?;
    Ok(pending)
}

/// Refuses a store that needs a newer program.
pub(super) fn guard(conn: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let store = |reason: String| OpenError::Store { path: path.display().to_string(), reason };
    let needed = oldest_reader(conn).map_err(|error| store(error.to_string()))?;
    if needed > SCHEMA_VERSION {
        return Err(OpenError::NewerSchema { path: path.display().to_string(), needed, known: SCHEMA_VERSION });
    }
    Ok(())
}

/// Returns the names of the migrations that are missing, oldest first.
pub(super) fn pending(conn: &mut SqliteConnection) -> diesel::migration::Result<Vec<String>> {
    if !is_store(conn)? {
        return all();
    }
    Ok(names(&conn.pending_migrations(MIGRATIONS)?))
}

/// Returns the names of all migrations, oldest first.
pub(super) fn all() -> diesel::migration::Result<Vec<String>> {
    let mut all: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations()?;
    all.sort_unstable_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(names(&all))
}

fn names(migrations: &[Box<dyn Migration<Sqlite>>]) -> Vec<String> {
    migrations.iter().map(|one| one.name().to_string()).collect()
}

/// Says whether there is a store at all, or an empty file.
pub(super) fn is_store(conn: &mut SqliteConnection) -> diesel::QueryResult<bool> {
    let there =
        sql_query("SELECT count(*) AS count FROM sqlite_master WHERE name = 'store_info'").get_result::<Count>(conn)?;
    Ok(there.count > 0)
}

/// Returns the schema version that the store asks for; 0 for an empty one.
fn oldest_reader(conn: &mut SqliteConnection) -> diesel::QueryResult<i64> {
    if !is_store(conn)? {
        return Ok(0);
    }
    let needed = store_info::table.select(store_info::oldest_reader).get_result(conn).optional()?;
    Ok(needed.unwrap_or(0))
}

/// Returns the epoch of the log, a new one if the boot id in the store isn't the one beside it: then the store was put back from a
/// copy, or its companion is lost, and positions that clients hold may lie in another past.
///
/// Each start draws a new boot id. It is written beside the store together with the old one first, so that a crash between the
/// two writes doesn't look like a foreign store.
pub(super) fn settle_epoch(conn: &mut SqliteConnection, dir: &DataDir, path: &Path) -> Result<Epoch, OpenError> {
    let store = |reason: String| OpenError::Store { path: path.display().to_string(), reason };
    let (epoch, stored): (Option<i64>, Option<Vec<u8>>) = store_info::table
        .select((store_info::epoch, store_info::boot_id))
        .get_result(conn)
        .map_err(|error| store(error.to_string()))?;
    let stored: Option<BootId> = stored.and_then(|id| id.try_into().ok());
    let beside = dir.boot_ids()?;
    let same = stored.filter(|id| beside.contains(id));
    let epoch = match (same, epoch) {
        (Some(_), Some(epoch)) => epoch.cast_unsigned(),
        _ => rand::random(),
    };

    let boot: BootId = rand::random();
    dir.set_boot_ids(&same.into_iter().chain([boot]).collect::<Vec<_>>())?;
    sql::write(conn, |conn| {
        diesel::update(store_info::table)
            .set((store_info::epoch.eq(epoch.cast_signed()), store_info::boot_id.eq(boot.to_vec())))
            .execute(conn)
            .map_err(sql::fault)
    })
    .map_err(|error| store(error.to_string()))?;
    dir.set_boot_ids(&[boot])?;
    Ok(Epoch(epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_version_is_the_newest_migration() {
        let all = MigrationSource::<Sqlite>::migrations(&MIGRATIONS).unwrap();
        let newest = all.iter().map(|one| one.name().version().to_string()).max().unwrap();
        assert_eq!(newest.parse(), Ok(SCHEMA_VERSION));
    }
}
