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
    /// Whether the directory may still lead to the file before the last rewriting, after a crash.
    is_unlinked: bool,
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
        let mut journal = Self { file, path, length: 0, base: 0, is_unlinked: false, _lock: lock };
        let kept: Vec<Pending> = items.into_values().collect();
        // Ours hold them before the others' go. Between the two a crash leaves both: the same ids, so it comes to the same.
        journal.rewrite(kept.iter())?;
        for (path, _lock) in left {
            fs::remove_file(path)?;
        }
        Ok((journal, kept))
    }

    /// Appends a record; `durable`: it is on the disk when this returns. After an error it isn't in the file.
    pub(super) fn append(&mut self, record: &Record, durable: bool) -> io::Result<()> {
        self.append_and(record, |journal| if durable { journal.sync() } else { Ok(()) })
    }

    fn append_and(&mut self, record: &Record, sync: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let line = line(record)?;
        if let Err(error) = self.file.write_all(&line).and_then(|()| sync(self)) {
            // Half a line (the disk is full) would spoil the next one, and a whole one be sent by the next run, though the writer heard that
            // it isn't kept.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.is_unlinked {
            File::open(self.directory())?.sync_all()?;
            self.is_unlinked = false;
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Says whether rewriting is worth it.
    pub(super) const fn is_long(&self) -> bool {
        self.length > LONG_BYTES + 2 * self.base
    }

    /// Writes a file with these messages in place of the old one, so that there is a whole one at every moment.
    pub(super) fn rewrite<'a>(&mut self, items: impl Iterator<Item = &'a Pending>) -> io::Result<()> {
        self.replace(items)?;
        self.sync()
    }

    fn replace<'a>(&mut self, items: impl Iterator<Item = &'a Pending>) -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        let mut new = builder.prefix("outbox-").suffix(".new").append(true).tempfile_in(self.directory())?;
        let mut length = 0;
        for item in items {
            let line = line(&Record::Add(item.clone()))?;
            new.write_all(&line)?;
            length += line.len() as u64;
        }
        new.as_file().sync_all()?;
        // From here on the old file is nobody's: what was appended to it would be lost.
        self.file = new.persist(&self.path).map_err(|error| error.error)?;
        (self.length, self.base, self.is_unlinked) = (length, length, true);
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

#[cfg(test)]
mod tests {
    use chinwag_schema::ids::ConversationId;

    use super::*;
    use crate::outbox::Destination;

    fn item(n: u128) -> Pending {
        let to = Destination::Conversation(ConversationId(7));
        Pending {
            message_id: Uuid::from_u128(n),
            to,
            content: n.to_string(),
            written_at: 5,
            state: PendingState::Waiting,
        }
    }

    fn contents(directory: &Path) -> Vec<String> {
        read(&directory.join("outbox-0.jsonl")).unwrap().into_values().map(|item| item.content).collect()
    }

    #[test]
    fn what_is_appended_after_a_rewriting_that_came_half_way_is_in_the_file_that_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.append(&Record::Add(item(1)), true).unwrap();
        // All but the directory's sync.
        journal.replace([item(1)].iter()).unwrap();
        assert!(journal.is_unlinked);
        journal.append(&Record::Add(item(2)), true).unwrap();
        assert!(!journal.is_unlinked);
        assert_eq!(contents(directory.path()), ["1", "2"]);
        assert_eq!(journal.length, fs::metadata(&journal.path).unwrap().len());
    }

    #[test]
    fn a_record_that_could_not_be_synced_is_not_there_for_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.append(&Record::Add(item(1)), true).unwrap();
        let failed = journal.append_and(&Record::Add(item(2)), |_| Err(io::Error::other("the disk is broken")));
        assert_eq!(failed.unwrap_err().to_string(), "the disk is broken");
        assert_eq!(contents(directory.path()), ["1"]);
        journal.append(&Record::Add(item(3)), true).unwrap();
        assert_eq!(contents(directory.path()), ["1", "3"]);
    }
}
