//! `chinwag cluster-key`: makes the key that the nodes of a cluster share.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;

use crate::{bootstrap::Failure, files, hex};

/// Prints a fresh key, or writes it to a new file that only its owner may read.
///
/// # Errors
/// When the file exists or can't be written.
pub fn run(file: Option<&Path>) -> Result<(), Failure> {
    let key = hex::encode(&hex::random_32());
    match file {
        Some(path) => {
            let text =
                format!("# The key by which the nodes of a cluster know each other. Keep this file secret.\n{key}\n");
            files::create_private(path, &text).context("the key was not written")?;
            println!("wrote a new key to {} (mode 0600); copy it to every node: --cluster-key-file", path.display());
        }
        None => writeln!(std::io::stdout(), "{key}").context("the key was not printed")?,
    }
    Ok(())
}
