//! Taking this node's lease for the first time.

use std::time::Duration;

use chinwag_schema::{ids::NodeId, limits::shards::LEASE};
use tokio::time::{Instant, sleep};

use crate::ports::{
    StoreError,
    directory::{Directory, NodeLease},
};

/// The last life of this node may have ended a moment ago: its lease is waited for, and a little more.
const PATIENCE: Duration = LEASE.saturating_add(Duration::from_secs(1));
const TRY_EVERY: Duration = Duration::from_millis(250);

/// Why this node can't join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Its name is in use.
    #[error(
        "another process runs as node {} and keeps its lease: stop that one, or give this one a name of its own (--node)",
        .0.0
    )]
    NameInUse(NodeId),
    /// The directory doesn't answer.
    #[error("the directory didn't take this node's lease: {0}")]
    Directory(#[from] StoreError),
}

/// Takes this node's lease, before its actors start. Waits for the end of the lease of a life before.
///
/// # Errors
/// When another process of this name still renews its lease after a whole lease time, or the directory doesn't answer.
pub async fn join(directory: &dyn Directory, me: NodeLease) -> Result<(), JoinError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match directory.renew_node(me, LEASE).await {
            Ok(_) => return Ok(()),
            Err(StoreError::AlreadyExists) if Instant::now() < until => sleep(TRY_EVERY).await,
            Err(StoreError::AlreadyExists) => return Err(JoinError::NameInUse(me.node)),
            Err(error) => return Err(error.into()),
        }
    }
}
