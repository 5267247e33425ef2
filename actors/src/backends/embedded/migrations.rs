//! Migrations as operators see them: what a start would change in a data directory, and changing it without a start.

use std::path::Path;

use super::{
    OpenError, backup,
    data_dir::{DATABASE_FILE, DataDir},
    schema_guard,
    sql::{self, Use},
};

/// Returns the names of the migrations that the store in `data` still needs, oldest first; all of them when there is no store.
/// Changes nothing, and works beside a running server.
///
/// # Errors
/// When the store can't be read or needs a newer program.
pub fn pending_migrations(data: &Path) -> Result<Vec<String>, OpenError> {
    let path = data.join(DATABASE_FILE);
    let failed = |reason: String| OpenError::Store { path: path.display().to_string(), reason };
    if !path.is_file() {
        return schema_guard::all().map_err(|error| failed(error.to_string()));
    }
    let mut conn = backup::read_only(&path).map_err(failed)?;
    schema_guard::guard(&mut conn, &path)?;
    schema_guard::pending(&mut conn).map_err(|error| failed(error.to_string()))
}

/// Applies the migrations that the store in `data` still needs, making it if it isn't there; returns their names, oldest first.
///
/// # Errors
/// When a server runs there, or the store is unusable or of a newer program.
pub fn migrate(data: &Path) -> Result<Vec<String>, OpenError> {
    let dir = DataDir::open(data)?;
    let path = dir.database_path()?;
    let failed = |reason| OpenError::Store { path: path.display().to_string(), reason };
    let mut conn = sql::connect(&path, Use::Write).map_err(failed)?;
    schema_guard::migrate(&mut conn, &path)
}
