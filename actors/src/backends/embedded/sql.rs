//! What all parts of the embedded store share: the settings of a connection, transactions, errors, cached statements.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use diesel::{
    Connection, SqliteConnection,
    connection::SimpleConnection,
    result::{DatabaseErrorKind, Error as DieselError},
};

use crate::ports::{StoreError, StoreResult};

/// Pages (4 KiB) in the log above which a commit of the writer checkpoints by itself. The checkpointer normally keeps the rest
/// small; this is what bounds the file under a load that never pauses.
const CHECKPOINT_PAGES: u32 = 8192;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The one that writes.
    Write,
    /// Reads beside the writer.
    Read,
    /// Moves committed pages from the log into the database.
    Checkpoint,
}

/// Opens a connection and sets it up.
pub(super) fn connect(path: &Path, purpose: Use) -> Result<SqliteConnection, String> {
    let path = path.to_str().ok_or("its path is not UTF-8")?;
    let mut conn = SqliteConnection::establish(path).map_err(|error| error.to_string())?;
    // FULL: in WAL mode the commit then waits for its fsync; NORMAL may lose the last commits when the power goes (invariant 1).
    let common = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                  PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;";
    let own = match purpose {
        Use::Write => format!("PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA cache_size = -65536;"),
        Use::Read => "PRAGMA query_only = ON; PRAGMA cache_size = -16384;".to_owned(),
        Use::Checkpoint => "PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 0;".to_owned(),
    };
    conn.batch_execute(common).and_then(|()| conn.batch_execute(&own)).map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Runs `work` in a write transaction: all of it is durable when this returns `Ok`, none of it after an error of `work`. An error
/// of the commit itself leaves the outcome unknown to the caller.
///
/// Diesel's own transactions aren't used because SQLite ends a transaction by itself on a full disk, after which diesel takes the
/// connection for broken for good.
pub(super) fn write<R>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R>,
) -> StoreResult<R> {
    // Said anew each time: invariant 1 must not hang on what an earlier operation left behind.
    transaction(conn, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", work)
}

/// Like [`write`], but the commit doesn't wait for its fsync; the next one of [`write`] covers it.
pub(super) fn write_relaxed<R>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R>,
) -> StoreResult<R> {
    transaction(conn, "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", work)
}

/// Runs `work` on one snapshot of the store.
pub(super) fn read<R>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R>,
) -> StoreResult<R> {
    transaction(conn, "BEGIN DEFERRED", work)
}

fn transaction<R>(
    conn: &mut SqliteConnection,
    begin: &str,
    work: impl FnOnce(&mut SqliteConnection) -> StoreResult<R>,
) -> StoreResult<R> {
    conn.batch_execute(begin).map_err(fault)?;
    // Caught here so that a defect in one operation doesn't leave the connection inside its transaction.
    let done = catch_unwind(AssertUnwindSafe(|| work(conn)))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("an operation of the store panicked".to_owned())))
        .and_then(|value| conn.batch_execute("COMMIT").map(|()| value).map_err(fault));
    if done.is_err() {
        // Fails when SQLite has rolled back already, which is as good.
        let _ = conn.batch_execute("ROLLBACK");
    }
    done
}

/// Translates an error of the database. A full disk, a failing one and a lock are all 'retry later'.
pub(super) fn fault(error: DieselError) -> StoreError {
    match error {
        DieselError::NotFound => StoreError::NotFound,
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => StoreError::AlreadyExists,
        DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => StoreError::NotFound,
        DieselError::DatabaseError(_, about) => {
            let about = about.message();
            if about.contains("malformed") || about.contains("not a database") {
                StoreError::Corrupt(about.to_owned())
            } else {
                StoreError::Unavailable(about.to_owned())
            }
        }
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// Declares a statement that diesel prepares once per connection.
///
/// Diesel's own update and upsert builders are marked as not to be cached, since their text may vary; that would parse the SQL anew
/// for each appended row. Each `?` stands for the next field, in order; a wrong number of them doesn't compile.
///
/// Another trap beside it: `first()` binds its `LIMIT 1`, and SQLite plans a statement with a bound limit anew each time it runs.
/// Lookups by a unique key use `get_result()`.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $(<$lt:lifetime>)? { $($field:ident: $rust:ty as $sql_type:ty),* $(,)? }, $sql:expr) => {
        $(#[$doc])*
        pub(super) struct $name $(<$lt>)? { $(pub(super) $field: $rust),* }

        const _: () = {
            use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

            pub struct Id;

            const FIELDS: &[&str] = &[$(stringify!($field)),*];
            const PARTS: [&str; FIELDS.len() + 1] = $crate::backends::placeholders::parts($sql);

            impl $(<$lt>)? QueryId for $name $(<$lt>)? {
                type QueryId = Id;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl $(<$lt>)? QueryFragment<diesel::sqlite::Sqlite> for $name $(<$lt>)? {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::sqlite::Sqlite>) -> diesel::QueryResult<()> {
                    let mut parts = PARTS.iter();
                    out.push_sql(parts.next().unwrap_or(&""));
                    $(
                        out.push_bind_param::<$sql_type, _>(&self.$field)?;
                        out.push_sql(parts.next().unwrap_or(&""));
                    )*
                    Ok(())
                }
            }

            impl $(<$lt>)? Query for $name $(<$lt>)? {
                type SqlType = diesel::sql_types::Untyped;
            }

            impl $(<$lt>)? diesel::RunQueryDsl<diesel::SqliteConnection> for $name $(<$lt>)? {}
        };
    };
}
pub(super) use statement;
