//! Puts a backup in the place of a store.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{
    backup::{BackupError, Draft, IfThere, StoreCounts, inspect, io_error},
    data_dir::{DATABASE_FILE, DataDir, MOVED_FILE},
};

/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Puts the backup `file` into the data directory `data`, after checking it from end to end; returns what it holds. A store that is there
/// is moved into the directory `replaced-…` beside it. The next start makes a new epoch, so that clients who saw later events begin
/// anew.
///
/// # Errors
/// When a server runs there, a store is there and may not be replaced, or the backup isn't sound or needs a newer program.
pub fn restore(data: &Path, file: &Path, if_there: IfThere, now_ms: i64) -> Result<StoreCounts, BackupError> {
    let counts = inspect(file)?;
    let dir = DataDir::open(data)?;
    let store = dir.path().join(DATABASE_FILE);
    let there = fs::metadata(&store).is_ok_and(|found| found.len() > 0);
    if there && if_there == IfThere::Refuse {
        return Err(BackupError::StoreThere(data.display().to_string()));
    }
    let draft = Draft::beside(&store)?;
    let copied = File::open(file).and_then(|mut from| io::copy(&mut from, &mut File::create(&draft.0)?));
    copied.map_err(io_error("copy", file))?;
    let copy = inspect(&draft.0)?;
    if copy != counts {
        return Err(BackupError::Damaged {
            path: file.display().to_string(),
            reason: "it changed meanwhile".to_owned(),
        });
    }
    // From here on any store that is found here is one with a new epoch.
    dir.remove_boot_ids()?;
    if there {
        set_aside(&dir, now_ms)?;
    }
    draft.publish(&store, IfThere::Replace)?;
    Ok(counts)
}

/// Moves the store away, its log first: SQLite would take a log that is left for one of the new store.
fn set_aside(dir: &DataDir, now_ms: i64) -> Result<(), BackupError> {
    let aside = dir.path().join(format!("replaced-{now_ms}"));
    fs::create_dir(&aside).map_err(io_error("make", &aside))?;
    let companions = COMPANIONS.iter().map(|suffix| format!("{DATABASE_FILE}{suffix}"));
    // The mark last: a store that was moved never lies there without it.
    for name in companions.chain([DATABASE_FILE.to_owned(), MOVED_FILE.to_owned()]) {
        let from = dir.path().join(&name);
        match fs::rename(&from, aside.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("move away", &from)(error)),
            _ => {}
        }
    }
    Ok(())
}
