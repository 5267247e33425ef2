//! `chinwag backup` and `chinwag restore`: the embedded store as one file, and back.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::anyhow;
use chinwag_actors::{
    backends::embedded::{self, BackupError, IfThere, OpenError, StoreCounts},
    runtime::{Clock as _, clock::SystemClock},
};

use crate::{
    bootstrap::{Failure, exit},
    config::Config,
};

/// In the data directory: an empty file, as old as the last backup.
pub(crate) const LAST_BACKUP: &str = "last-backup";

/// Copies the store into `file`, of a running server too.
///
/// # Errors
/// When there is no store, the file is there (without `--force`), or the copy isn't sound; no file is left then.
pub fn backup(config: &Config, file: &Path, if_there: IfThere) -> Result<(), Failure> {
    embedded_only(config, "backup")?;
    let counts = embedded::backup(&config.data, file, if_there).map_err(failure)?;
    note(&config.data);
    let text = format!("wrote {}: {}, checked", file.display(), told(&counts));
    say(&format!("{text}\nthe keys that sign tokens are not in it: keep a copy of {}", secret_of(config)))
}

/// Puts the backup `file` into the data directory of a stopped server.
///
/// # Errors
/// When a server runs there, a store is there (without `--force`), or the backup is unsound or needs a newer program.
pub fn restore(config: &Config, file: &Path, if_there: IfThere) -> Result<(), Failure> {
    embedded_only(config, "restore")?;
    let counts = embedded::restore(&config.data, file, if_there, SystemClock.unix_ms()).map_err(failure)?;
    say(&format!(
        "restored {} into {}: {}\nclients that saw later messages begin anew (a new epoch)",
        file.display(),
        config.data.display(),
        told(&counts)
    ))
}

/// Leaves the time of this backup where the server finds it for its metrics (`chinwag_last_backup_timestamp_seconds`). The backup is
/// whole without it.
fn note(data: &Path) {
    if let Err(error) = File::create(data.join(LAST_BACKUP)) {
        eprintln!("chinwag: the time of this backup can't be noted in {}: {error}", data.display());
    }
}

fn embedded_only(config: &Config, what: &str) -> Result<(), Failure> {
    if config.cluster.is_none() {
        return Ok(());
    }
    let error = anyhow!(
        "chinwag {what} is for the embedded store; a cluster's stores are saved and put back with the tools of Postgres and of ScyllaDB \
         or Cassandra: see ops/runbook.md"
    );
    Err(Failure { code: exit::USAGE, error })
}

fn failure(error: BackupError) -> Failure {
    let code = match &error {
        BackupError::FileThere(_) | BackupError::StoreThere(_) => exit::REFUSED,
        BackupError::Open(OpenError::InUse { .. } | OpenError::NewerSchema { .. }) | BackupError::NoStore(_) => {
            exit::DATA
        }
        _ => exit::FAILED,
    };
    Failure::new(code, error)
}

fn told(counts: &StoreCounts) -> String {
    let StoreCounts { users, conversations, members, appended } = counts;
    format!("{users} users, {conversations} conversations with {members} members, {appended} events")
}

fn secret_of(config: &Config) -> String {
    match &config.secret {
        crate::config::SecretSource::File { path, .. } => path.display().to_string(),
        crate::config::SecretSource::Given(_) => "CHINWAG_SECRET".to_owned(),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::new(exit::FAILED, error))
}
