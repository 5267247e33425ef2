//! The data directory: made private, locked against a second process, and the boot id that lies beside the store.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use fs4::{FileExt, TryLockError};

use super::OpenError;

/// An open and locked data directory. The lock ends with this value, or with the process, however that ends.
pub(super) struct DataDir {
    path: PathBuf,
    // Held only for its lock.
    _lock: File,
}

/// The lock of a data directory that has no store in it: what a node of a cluster keeps there.
pub struct DataLock(DataDir);

impl DataLock {
    /// Makes the directory (mode 0700) if need be and locks it, until this value ends.
    ///
    /// # Errors
    /// When it is in use or can't be made.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        DataDir::open(path).map(Self)
    }

    /// Returns the directory, as an absolute path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Lies in a directory whose store was moved to a cluster: whose copy it is, and where to.
pub(super) const MOVED_FILE: &str = "moved";

/// The database's name in its directory.
pub(super) const DATABASE_FILE: &str = "chinwag.db";

/// Names one start of the program on a store.
pub(super) type BootId = [u8; 16];

impl DataDir {
    /// Makes the directory (mode 0700) if need be and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| io_error("create the data directory", path, source))?;
        // SQLite wants a name that stays valid and isn't taken for a URI: absolute.
        let path = path.canonicalize().map_err(|source| io_error("resolve", path, source))?;
        let lock_path = path.join("lock");
        let mut lock = private()
            .read(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|source| io_error("open", &lock_path, source))?;
        match FileExt::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The number only helps the reader of the message; without it the message is still true.
                let _ = lock.read_to_string(&mut pid);
                let holder = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
                return Err(OpenError::InUse { path: path.display().to_string(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path, source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|source| io_error("write", &lock_path, source))?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns the directory, as an absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the database, made empty and private (0600) if it isn't there; SQLite gives its other files the same
    /// mode.
    pub(super) fn database_path(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join(DATABASE_FILE);
        private().truncate(false).open(&path).map_err(|source| io_error("open", &path, source))?;
        Ok(path)
    }

    /// Returns the boot ids noted beside the store: none, one, or during a start two.
    pub(super) fn boot_ids(&self) -> Result<Vec<BootId>, OpenError> {
        let path = self.boot_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes.chunks_exact(16).map(|id| id.try_into().expect("chunks of 16 bytes")).collect()),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(io_error("read", &path, source)),
        }
    }

    /// Replaces the boot ids, durably and at once.
    pub(super) fn set_boot_ids(&self, ids: &[BootId]) -> Result<(), OpenError> {
        self.replace(&self.boot_path(), &ids.concat())
    }

    /// Returns what the mark says that a moved store leaves here; `None`: the store wasn't moved.
    pub(super) fn moved(&self) -> Result<Option<String>, OpenError> {
        let path = self.path.join(MOVED_FILE);
        match fs::read(&path) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("read", &path, source)),
        }
    }

    /// Marks the store as moved, durably.
    pub(super) fn set_moved(&self, text: &str) -> Result<(), OpenError> {
        self.replace(&self.path.join(MOVED_FILE), text.as_bytes())
    }

    /// Replaces a small file, durably and at once.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
        let fresh = path.with_extension("new");
        private()
            .truncate(true)
            .open(&fresh)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&fresh, path))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|source| io_error("write", path, source))
    }

    /// Forgets the boot ids, durably: whatever store is here gets a new epoch at the next start.
    pub(super) fn remove_boot_ids(&self) -> Result<(), OpenError> {
        let path = self.boot_path();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path, source)),
            _ => File::open(&self.path)
                .and_then(|dir| dir.sync_all())
                .map_err(|source| io_error("write", &self.path, source)),
        }
    }

    fn boot_path(&self) -> PathBuf {
        self.path.join("boot-id")
    }
}

/// Options that create a file which only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { what, path: path.display().to_string(), source }
}
