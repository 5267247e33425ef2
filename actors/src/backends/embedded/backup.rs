//! Backups: a consistent copy of the store in one file, also of one that a server is writing to.
//!
//! The copy is SQLite's `VACUUM INTO` over a second, read-only connection, in one read transaction: it holds what was committed when it
//! began, so all that was acknowledged before. Writers go on meanwhile; their log can't be reused until the copy is done and grows by
//! what they write. (SQLite's online backup would begin anew with each write of another process.)
//!
//! A backup has no boot id: wherever it is put back, the log gets a new epoch.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use diesel::{
    RunQueryDsl, SqliteConnection,
    connection::{Connection, SimpleConnection},
    sql_query,
    sql_types::{BigInt, Text},
};

use super::{OpenError, data_dir::DATABASE_FILE, schema_guard};

/// Reasons told when a store is damaged; a damaged file can have thousands.
const FINDINGS_MAX: i64 = 5;

/// What to do when the file to be written is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    Refuse,
    Replace,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub struct StoreCounts {
    #[diesel(sql_type = BigInt)]
    pub users: i64,
    #[diesel(sql_type = BigInt)]
    pub conversations: i64,
    #[diesel(sql_type = BigInt)]
    pub members: i64,
    /// Sum of the heads of all logs: events that were ever appended.
    #[diesel(sql_type = BigInt)]
    pub appended: i64,
}

impl StoreCounts {
    /// Says whether everything that only grows is here at least as large as there. Members may have left meanwhile.
    fn covers(&self, earlier: &Self) -> bool {
        self.users >= earlier.users && self.conversations >= earlier.conversations && self.appended >= earlier.appended
    }
}

/// Why a backup or a restoration failed. Nothing was changed then, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is no store in {0}; name the right directory with --data")]
    NoStore(String),
    #[error("{0} is there already; choose another name, or say --force to replace it")]
    FileThere(String),
    #[error("there is a store in {0} already; say --force to put the backup in its place (it is kept beside)")]
    StoreThere(String),
    #[error("{path} is no backup of chinwag: {reason}")]
    NotABackup { path: String, reason: String },
    #[error("{path} is damaged: {reason}; use an earlier backup")]
    Damaged { path: String, reason: String },
    #[error(
        "the copy is not complete: it holds {copied} of {expected} {what}; nothing was written, look for errors of the disk and try again"
    )]
    Incomplete { what: &'static str, copied: i64, expected: i64 },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: io::Error },
    #[error("cannot copy the store {path}: {reason}")]
    Copy { path: String, reason: String },
    #[error(transparent)]
    Open(#[from] OpenError),
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.display().to_string();
    move |source| BackupError::Io { what, path, source }
}

/// Copies the store in `data` into `file` (mode 0600), checks the copy, and returns what it holds. Works beside a running server.
/// `file` is whole or not there: it is written beside under another name, flushed to the disk, and renamed.
///
/// # Errors
/// When there is no store, the file is there and may not be replaced, or the copy fails or isn't sound.
pub fn backup(data: &Path, file: &Path, if_there: IfThere) -> Result<StoreCounts, BackupError> {
    let store = data.join(DATABASE_FILE);
    if !store.is_file() {
        return Err(BackupError::NoStore(data.display().to_string()));
    }
    if if_there == IfThere::Refuse && file.try_exists().map_err(io_error("look for", file))? {
        return Err(BackupError::FileThere(file.display().to_string()));
    }
    let draft = Draft::beside(file)?;
    let before = copy(&store, &draft.0)?;
    let counts = inspect(&draft.0)?;
    if !counts.covers(&before) {
        let pairs = [
            ("users", counts.users, before.users),
            ("conversations", counts.conversations, before.conversations),
            ("events", counts.appended, before.appended),
        ];
        let short = pairs.into_iter().find(|(_, copied, expected)| copied < expected);
        let (what, copied, expected) = short.expect("one of them is smaller");
        return Err(BackupError::Incomplete { what, copied, expected });
    }
    draft.publish(file, if_there)?;
    Ok(counts)
}

/// Copies the store into the empty file `draft`; returns what the store held when the copy began.
fn copy(store: &Path, draft: &Path) -> Result<StoreCounts, BackupError> {
    let failed = |reason: String| BackupError::Copy { path: store.display().to_string(), reason };
    let mut conn = read_only(store).map_err(failed)?;
    schema_guard::guard(&mut conn, store)?;
    let before = counts(&mut conn).map_err(|error| failed(error.to_string()))?;
    let target = draft.to_str().ok_or_else(|| failed(format!("the path {} is not UTF-8", draft.display())))?;
    conn.batch_execute(&format!("VACUUM INTO '{}'", target.replace('\'', "''")))
        .map_err(|error| failed(error.to_string()))?;
    drop(conn);
    let mut copied = SqliteConnection::establish(target).map_err(|error| failed(error.to_string()))?;
    copied.batch_execute("UPDATE store_info SET boot_id = NULL").map_err(|error| failed(error.to_string()))?;
    Ok(before)
}

/// Opens a store for reading only; it must be there. `mode=ro` and not `query_only`, which would refuse `VACUUM INTO`.
pub(super) fn read_only(path: &Path) -> Result<SqliteConnection, String> {
    let path = path.canonicalize().map_err(|error| error.to_string())?;
    let text = path.to_str().ok_or("its path is not UTF-8")?;
    // What has a meaning in a URI (sqlite.org/uri.html).
    let text = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let mut conn = SqliteConnection::establish(&format!("file:{text}?mode=ro")).map_err(|error| error.to_string())?;
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY").map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Checks a copy of a store from end to end and returns what it holds.
///
/// # Errors
/// When it is no store, is damaged, has a log with holes, or needs a newer program.
pub(super) fn inspect(path: &Path) -> Result<StoreCounts, BackupError> {
    let shown = || path.display().to_string();
    let foreign = |reason: String| BackupError::NotABackup { path: shown(), reason };
    let damaged = |reason: String| BackupError::Damaged { path: shown(), reason };
    let mut conn = read_only(path).map_err(foreign)?;
    if !schema_guard::is_store(&mut conn).map_err(|error| foreign(error.to_string()))? {
        return Err(foreign("it has none of the store's tables".to_owned()));
    }
    schema_guard::guard(&mut conn, path)?;
    let check = format!("PRAGMA integrity_check({FINDINGS_MAX})");
    let findings = sql_query(check).load::<Finding>(&mut conn).map_err(|error| damaged(error.to_string()))?;
    let findings: Vec<&str> =
        findings.iter().map(|finding| finding.integrity_check.as_str()).filter(|text| *text != "ok").collect();
    if !findings.is_empty() {
        return Err(damaged(findings.join("; ")));
    }
    let count = |sql: &str, conn: &mut SqliteConnection| {
        sql_query(sql).get_result::<Count>(conn).map(|row| row.count).map_err(|error| damaged(error.to_string()))
    };
    let orphans = count("SELECT count(*) AS count FROM pragma_foreign_key_check", &mut conn)?;
    if orphans > 0 {
        return Err(damaged(format!("{orphans} rows refer to others that are missing")));
    }
    // Rows are only ever removed from the old end of a log.
    let holes = "SELECT count(*) AS count FROM (SELECT 1 FROM events GROUP BY conversation HAVING max(seq) - min(seq) + 1 <> count(*))";
    let holes = count(holes, &mut conn)?;
    if holes > 0 {
        return Err(damaged(format!("the logs of {holes} conversations have holes")));
    }
    counts(&mut conn).map_err(|error| damaged(error.to_string()))
}

fn counts(conn: &mut SqliteConnection) -> diesel::QueryResult<StoreCounts> {
    // A checkpoint may be behind its log (`messages/checkpoint.rs`), and a log may have lost all its events to retention.
    sql_query(
        "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM conversations) AS conversations, \
         (SELECT count(*) FROM members) AS members, \
         (SELECT coalesce(sum(max(head, coalesce((SELECT max(seq) FROM events WHERE conversation = log_heads.conversation), 0))), 0) \
          FROM log_heads) AS appended",
    )
    .get_result(conn)
}

#[derive(diesel::QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A private file that is being written; removed again unless it is published.
pub(super) struct Draft(pub(super) PathBuf);

impl Draft {
    /// Makes an empty one in the directory of `file`.
    pub(super) fn beside(file: &Path) -> Result<Self, BackupError> {
        let directory = directory_of(file);
        let directory = directory.canonicalize().map_err(io_error("find the directory", directory))?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = directory.join(format!("{name}.new-{}", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(io_error("write", &path))?;
        Ok(Self(path))
    }

    /// Flushes it to the disk and gives it its name: the file is whole or not there, also after a power loss.
    pub(super) fn publish(self, file: &Path, if_there: IfThere) -> Result<(), BackupError> {
        let written = File::open(&self.0).and_then(|draft| draft.sync_all());
        written.map_err(io_error("write", &self.0))?;
        match if_there {
            IfThere::Replace => fs::rename(&self.0, file).map_err(io_error("write", file))?,
            // Unlike a renaming, a link never replaces a file that came meanwhile.
            IfThere::Refuse => fs::hard_link(&self.0, file).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => BackupError::FileThere(file.display().to_string()),
                _ => io_error("write", file)(error),
            })?,
        }
        let directory = directory_of(file);
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error("write", directory))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already once it was renamed. SQLite may have left a journal after a failure.
        let _ = fs::remove_file(&self.0);
        let mut journal = self.0.clone().into_os_string();
        journal.push("-journal");
        let _ = fs::remove_file(journal);
    }
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
