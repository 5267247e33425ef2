//! Jobs that run beside everything: expired tokens, sockets whose token ran out, retention.

use std::{sync::Arc, time::Duration};

use chinwag_actors::{directory::DirectoryMessage, engine::Node, ports::message_store::MessageStore};

use crate::{auth::Accounts, config::Config};

const EXPIRED_SOCKETS_EVERY: Duration = Duration::from_secs(2);
const EXPIRED_TOKENS_EVERY: Duration = Duration::from_secs(3600);
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// Events removed at once, and the pause before the next slice: others write in between.
const RETENTION_SLICE: usize = 2000;
const RETENTION_PAUSE: Duration = Duration::from_millis(50);

/// Starts the jobs on the calling thread.
pub fn start(config: &Config, node: &Arc<Node>, accounts: &Arc<Accounts>, messages: Arc<dyn MessageStore>) {
    let watched = node.clone();
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRED_SOCKETS_EVERY).await;
            let now_ms = watched.runtime.unix_ms();
            // Full: the next round closes them.
            let _ = watched.directory.tell(DirectoryMessage::CloseExpired { now_ms });
        }
    });
    let accounts = accounts.clone();
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRED_TOKENS_EVERY).await;
            match accounts.remove_expired().await {
                Ok(removed) => tracing::info!(removed, "expired tokens removed"),
                Err(error) => tracing::warn!(%error, "expired tokens could not be removed"),
            }
        }
    });
    if let Some(retention) = config.retention {
        let clock = node.runtime.clock().clone();
        let keep_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        actix_rt::spawn(async move {
            loop {
                retain(&*messages, clock.unix_ms().saturating_sub(keep_ms)).await;
                tokio::time::sleep(RETENTION_EVERY).await;
            }
        });
    }
}

async fn retain(messages: &dyn MessageStore, cutoff_ms: i64) {
    let mut total = 0;
    loop {
        match messages.remove_older_than(cutoff_ms, RETENTION_SLICE).await {
            Ok(0) => break,
            Ok(removed) => total += removed,
            Err(error) => {
                tracing::warn!(%error, "old messages could not be removed");
                break;
            }
        }
        tokio::time::sleep(RETENTION_PAUSE).await;
    }
    if total > 0 {
        tracing::info!(removed = total, "messages beyond the retention removed");
    }
}
