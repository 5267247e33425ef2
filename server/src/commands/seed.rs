//! `chinwag seed`: sample users, groups, chats and messages for a demonstration.

use std::io::Write;

use super::Opened;

/// Fills the store.
///
/// # Errors
/// When the store refuses.
pub async fn run(_opened: &Opened, _output: &mut impl Write) -> anyhow::Result<()> {
    Ok(())
}
