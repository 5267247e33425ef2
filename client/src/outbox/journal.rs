//! The outbox on the disk: one JSON record a line, appended, each added message synced before anybody relies on it. One file per process, with
//! a lock of its own (`flock`: the kernel releases it when the process ends, however that happens).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{OUTBOX_MAX, Pending, PendingState};

/// Processes that may use one directory at the same time.
const PROCESSES_MAX: usize = 8;
/// A file longer than this is written anew with what is still in it.
const LONG_BYTES: u64 = 64 * 1024;
/// A file that is longer isn't one of ours: a full outbox of the longest messages has 16 MiB, and as much again before it is rewritten.
const READ_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    Add(Pending),
    /// Stored by the server, or given up.
    Done(Uuid),
    Fail {
        message_id: Uuid,
        error: String,
    },
}

/// This process's file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
    /// Length right after the last rewriting.
    base: u64,
    _lock: File,
}

impl Journal {
    /// Opens the first file that no living process has, and takes over what is in the others of that kind.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<Pending>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut own = None;
        let mut left = Vec::new();
        for number in 0..PROCESSES_MAX {
            let path = directory.join(format!("outbox-{number}.jsonl"));
            if own.is_some() && !path.exists() {
                continue;
            }
            let Some(lock) = lock(&directory.join(format!("outbox-{number}.lock")))? else { continue };
            if own.is_none() {
                own = Some((path, lock));
            } else {
                left.push((path, lock));
            }
        }
        let Some((path, lock)) = own else {
            let text = format!("{PROCESSES_MAX} clients of this user run already (locks in {})", directory.display());
            return Err(io::Error::other(text));
        };
        let mut items = read(&path)?;
        for (path, _) in &left {
            items.extend(read(path)?);
        }
        let file = options().append(true).create(true).open(&path)?;
        let mut journal = Self { file, path, length: 0, base: 0, _lock: lock };
        let kept: Vec<Pending> = items.into_values().collect();
        // Ours hold them before the others' go. Between the two a crash leaves both: the same ids, so it comes to the same.
        journal.rewrite(kept.iter())?;
        for (path, _lock) in left {
            fs::remove_file(path)?;
        }
        Ok((journal, kept))
    }

    /// Appends a record; `durable`: it is on the disk when this returns.
    pub(super) fn append(&mut self, record: &Record, durable: bool) -> io::Result<()> {
        let line = line(record)?;
        if let Err(error) = self.file.write_all(&line) {
            // Half a line (the disk is full) would spoil the next one.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += line.len() as u64;
        if durable { self.file.sync_data() } else { Ok(()) }
    }

    /// Says whether rewriting is worth it.
    pub(super) const fn is_long(&self) -> bool {
        self.length > LONG_BYTES + 2 * self.base
    }

    /// Writes a file with these messages in place of the old one, so that there is a whole one at every moment.
    pub(super) fn rewrite<'a>(&mut self, items: impl Iterator<Item = &'a Pending>) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix("outbox-").suffix(".new").tempfile_in(directory)?;
        let mut length = 0;
        for item in items {
            let line = line(&Record::Add(item.clone()))?;
            new.write_all(&line)?;
            length += line.len() as u64;
        }
        new.as_file().sync_all()?;
        new.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()?;
        self.file = options().append(true).open(&self.path)?;
        (self.length, self.base) = (length, length);
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Locks a file for as long as it is open; `None`: another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = options().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads the messages that are still in a file. The last line may be torn, and is left out then.
fn read(path: &Path) -> io::Result<BTreeMap<Uuid, Pending>> {
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > READ_MAX_BYTES => {
            return Err(io::Error::other(format!("{} is too long for an outbox", path.display())));
        }
        Ok(_) => fs::read(path)?,
    };
    let mut items = BTreeMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Record::Add(item)) if items.len() < 2 * OUTBOX_MAX => {
                items.insert(item.message_id, item);
            }
            Ok(Record::Done(message_id)) => drop(items.remove(&message_id)),
            Ok(Record::Fail { message_id, error }) => {
                if let Some(item) = items.get_mut(&message_id) {
                    item.state = PendingState::Failed(error);
                }
            }
            Ok(Record::Add(_)) | Err(_) => {}
        }
    }
    Ok(items)
}
