//! What operators did: `audit.log` in the data directory, one JSON object per line, only ever appended to.
//!
//! An action is written down before it is done (`begun`) and again when it ended; both lines are on the disk before anything goes on.
//! So an action that can't be written down isn't done, and a crash in between is seen. The newest entries are kept in memory for the
//! console.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::operator::Operator;
use crate::http::iso_time;

const FILE: &str = "audit.log";
/// A file that reached this size is put aside, bytes.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files put aside that are kept (`audit.log.1` is the newest).
const ASIDE_MAX: u32 = 4;
/// Entries shown in the console.
pub const SHOWN_MAX: usize = 256;
/// What is read of the file at a start: entries are far shorter than 1 KiB.
const TAIL_BYTES: u64 = SHOWN_MAX as u64 * 2 * 1024;

/// What became of an action: `begun`, `done` or `refused`.
const BEGUN: &str = "begun";

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The same in both lines of an action.
    pub id: Uuid,
    /// When it began, ISO 8601.
    pub at: String,
    pub at_ms: i64,
    pub action: String,
    pub target: String,
    pub by: String,
    pub address: String,
    pub outcome: String,
    /// What came of it, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The log. [`Self::begin`] and [`Self::end`] write to the disk and wait for it: never call them on a worker thread.
pub struct AuditLog {
    directory: PathBuf,
    file_max_bytes: u64,
    inner: Mutex<Inner>,
    /// Never held while anything waits for the disk.
    newest: Mutex<VecDeque<Entry>>,
}

struct Inner {
    file: File,
    bytes: u64,
    /// The last write failed: it may have left a part of a line.
    torn: bool,
}

impl AuditLog {
    /// Opens the log of a data directory, and reads its newest entries.
    ///
    /// # Errors
    /// When the file can't be opened, made or read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::with_bound(directory, FILE_MAX_BYTES)
    }

    fn with_bound(directory: &Path, file_max_bytes: u64) -> io::Result<Self> {
        let path = directory.join(FILE);
        let mut file = open_private(&path)?;
        let (newest, whole) = read_newest(&mut file)?;
        if !whole {
            // A crash cut the last line off: what comes now begins a line of its own.
            file.write_all(b"\n")?;
        }
        let bytes = file.metadata()?.len();
        let inner = Mutex::new(Inner { file, bytes, torn: false });
        Ok(Self { directory: directory.to_owned(), file_max_bytes, inner, newest: Mutex::new(newest) })
    }

    /// Writes down that an action begins.
    ///
    /// # Errors
    /// When that can't be made durable: the action must not be done then.
    pub fn begin(&self, at_ms: i64, operator: Operator, action: &str, target: &str) -> io::Result<Entry> {
        let entry = Entry {
            id: Uuid::now_v7(),
            at: iso_time(at_ms),
            at_ms,
            action: action.to_owned(),
            target: target.to_owned(),
            by: operator.by,
            address: operator.address,
            outcome: BEGUN.to_owned(),
            detail: None,
        };
        self.write(entry.clone())?;
        Ok(entry)
    }

    /// Writes down how an action ended.
    ///
    /// # Errors
    /// When that can't be made durable; the console shows it all the same.
    pub fn end(&self, entry: Entry, outcome: &str, detail: String) -> io::Result<()> {
        self.write(Entry { outcome: outcome.to_owned(), detail: Some(detail), ..entry })
    }

    /// Returns the newest actions, newest first.
    pub fn newest(&self) -> Vec<Entry> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    fn write(&self, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.note(entry);
        if inner.bytes > 0 && inner.bytes + line.len() as u64 > self.file_max_bytes {
            self.put_aside(&mut inner)?;
        }
        if std::mem::replace(&mut inner.torn, true) {
            line.insert(0, b'\n');
        }
        inner.bytes += line.len() as u64;
        inner.file.write_all(&line)?;
        inner.file.sync_data()?;
        inner.torn = false;
        Ok(())
    }

    fn note(&self, entry: Entry) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.iter_mut().rev().find(|known| known.id == entry.id) {
            Some(known) => *known = entry,
            None => {
                if newest.len() == SHOWN_MAX {
                    newest.pop_front();
                }
                newest.push_back(entry);
            }
        }
    }

    /// Makes `audit.log` `audit.log.1` and so on; the oldest goes.
    fn put_aside(&self, inner: &mut Inner) -> io::Result<()> {
        let aside = |n: u32| self.directory.join(format!("{FILE}.{n}"));
        for n in (1..ASIDE_MAX).rev() {
            match fs::rename(aside(n), aside(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let path = self.directory.join(FILE);
        fs::rename(&path, aside(1))?;
        inner.file = open_private(&path)?;
        inner.bytes = 0;
        File::open(&self.directory)?.sync_all()
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // It may have been there before, with other rights.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Reads the newest entries, and says whether the last line is whole. Lines that can't be read are left out.
fn read_newest(file: &mut File) -> io::Result<(VecDeque<Entry>, bool)> {
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let mut read = VecDeque::<Entry>::new();
    for entry in tail.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok()) {
        match read.iter_mut().rev().find(|known| known.id == entry.id) {
            Some(known) => *known = entry,
            None => read.push_back(entry),
        }
    }
    read.drain(..read.len().saturating_sub(SHOWN_MAX));
    Ok((read, tail.last().is_none_or(|&last| last == b'\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator() -> Operator {
        Operator { by: "this machine".to_owned(), address: "127.0.0.1".to_owned() }
    }

    fn text(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap()
    }

    #[test]
    fn an_action_is_written_before_and_after_it_and_read_again() {
        let place = tempfile::tempdir().unwrap();
        let log = AuditLog::open(place.path()).unwrap();
        let entry = log.begin(1_753_570_766_123, operator(), "ban", "ann").unwrap();
        assert!(text(place.path(), FILE).contains("\"outcome\":\"begun\""), "on the disk before it is done");
        log.end(entry, "done", "banned ann".to_owned()).unwrap();
        let lines = text(place.path(), FILE);
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.contains("2025-07-26T22:59:26.123Z"), "{lines}");
        assert_eq!(fs::metadata(place.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);

        let again = AuditLog::open(place.path()).unwrap().newest();
        assert_eq!(again, log.newest());
        assert_eq!((again.len(), again[0].outcome.as_str()), (1, "done"));
    }

    #[test]
    fn a_line_that_a_crash_cut_off_spoils_no_other() {
        let place = tempfile::tempdir().unwrap();
        AuditLog::open(place.path()).unwrap().begin(1, operator(), "kick", "ann").unwrap();
        let mut file = OpenOptions::new().append(true).open(place.path().join(FILE)).unwrap();
        file.write_all(b"{\"id\":\"cut o").unwrap();
        let log = AuditLog::open(place.path()).unwrap();
        log.begin(2, operator(), "kick", "bob").unwrap();
        let targets: Vec<_> =
            AuditLog::open(place.path()).unwrap().newest().into_iter().map(|one| one.target).collect();
        assert_eq!(targets, ["bob", "ann"]);
    }

    #[test]
    fn files_and_memory_are_bounded_and_the_newest_stays() {
        let place = tempfile::tempdir().unwrap();
        let log = AuditLog::with_bound(place.path(), 2000).unwrap();
        for n in 0..1000 {
            log.begin(n, operator(), "kick", &format!("user {n}")).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3", "audit.log.4"]);
        for name in names {
            assert!(fs::metadata(place.path().join(&name)).unwrap().len() <= 2000, "{name}");
        }
        let newest = log.newest();
        assert_eq!((newest.len(), newest[0].target.as_str()), (SHOWN_MAX, "user 999"));
    }

    #[test]
    fn what_cannot_be_written_down_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let log = AuditLog::with_bound(place.path(), 300).unwrap();
        log.begin(1, operator(), "kick", "ann").unwrap();
        // The directory is gone: the file can't be put aside.
        fs::remove_dir_all(place.path()).unwrap();
        assert!(log.begin(2, operator(), "kick", "bob").is_err());
    }
}
