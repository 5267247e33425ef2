//! Files that hold secrets: nobody but their owner may read them.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Largest secret file, bytes.
const PRIVATE_MAX_BYTES: u64 = 64 * 1024;

/// Why a secret file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: others may read it (mode {mode:04o}); set mode 0600", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: is larger than {PRIVATE_MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
}

/// Reads a text that only its owner may read (no permission for group or others).
///
/// # Errors
/// When it can't be read, is exposed, or is larger than 64 KiB.
pub fn read_private(path: &Path) -> Result<String, FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    let file = fs::File::open(path).map_err(io)?;
    // Of the open file, not of the path: it can't be exchanged in between.
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(PRIVATE_MAX_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > PRIVATE_MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Makes a new file of mode 0600 with this text, durably: it exists whole or not at all after a power loss.
///
/// # Errors
/// `AlreadyExists` when the file exists; other failures to write.
pub fn create_private(path: &Path, text: &str) -> Result<(), FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_new(&draft, text).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    written.map_err(io)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
