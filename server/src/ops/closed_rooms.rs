//! `closed-rooms.json` in the data directory: the rooms that an operator closed stay closed over a restart of their node.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use chinwag_schema::ids::ConversationId;

/// Name of the file.
pub const FILE: &str = "closed-rooms.json";

/// Writes the list, whole or not at all.
///
/// # Errors
/// When it can't be made durable.
pub fn write(path: &Path, rooms: &[ConversationId]) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(rooms)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads the list; empty when there is none.
///
/// # Errors
/// When it can't be read, or isn't what [`write()`] wrote.
pub fn read(path: &Path) -> io::Result<Vec<ConversationId>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE);
        assert!(read(&path).unwrap().is_empty());
        let rooms = [ConversationId(9_007_199_254_740_993), ConversationId(4)];
        write(&path, &rooms).unwrap();
        assert_eq!(read(&path).unwrap(), rooms);
        fs::write(&path, "[1").unwrap();
        assert!(read(&path).is_err());
    }
}
