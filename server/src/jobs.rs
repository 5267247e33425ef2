//! Jobs that run beside everything: expired tokens, sockets whose token ran out, retention; in a cluster, what other nodes revoke.

use std::{sync::Arc, time::Duration};

use chinwag_actors::{
    directory::DirectoryMessage, engine::Node, ports::message_store::MessageStore, session::outbox::Outbox,
};
use chinwag_schema::{error::CloseCode, limits::storage::DEADLINE};
use tokio::time::Instant;

use crate::{
    auth::{Accounts, service::Learnt},
    backends::Gauges,
    config::Config,
};

const EXPIRED_SOCKETS_EVERY: Duration = Duration::from_secs(2);
const EXPIRED_TOKENS_EVERY: Duration = Duration::from_secs(3600);
/// How late a revocation of another node counts here at most, when its word is lost.
const REVOCATIONS_EVERY: Duration = Duration::from_secs(3);
/// Without a word from Redis and Postgres for this long, sockets are closed.
const ISOLATED_AFTER: Duration = Duration::from_secs(30);
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// Events removed at once, and the pause before the next slice: others write in between.
const RETENTION_SLICE: usize = 2000;
const RETENTION_PAUSE: Duration = Duration::from_millis(50);

/// Starts the jobs on the calling thread.
pub fn start(
    config: &Config,
    node: &Arc<Node>,
    accounts: &Arc<Accounts>,
    messages: Arc<dyn MessageStore>,
    services: Option<Gauges>,
) {
    let watched = node.clone();
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRED_SOCKETS_EVERY).await;
            let now_ms = watched.runtime.unix_ms();
            // Full: the next round closes them.
            let _ = watched.directory.tell(DirectoryMessage::CloseExpired { now_ms });
        }
    });
    let (accounts, accounts_watched) = (accounts.clone(), accounts.clone());
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRED_TOKENS_EVERY).await;
            match accounts.remove_expired().await {
                Ok(removed) => tracing::info!(removed, "expired tokens removed"),
                Err(error) => tracing::warn!(%error, "expired tokens could not be removed"),
            }
        }
    });
    if let Some(services) = services {
        actix_rt::spawn(watch_revocations(node.clone(), accounts_watched, services));
    }
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

/// Closes the sockets of what other nodes revoked, though their word of it was lost. A node that hears neither them nor the store closes
/// all: it can't know who may still be here.
async fn watch_revocations(node: Arc<Node>, accounts: Arc<Accounts>, services: Gauges) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(REVOCATIONS_EVERY).await;
        if services.redis_connected() {
            heard = Instant::now();
        }
        match tokio::time::timeout(DEADLINE, accounts.learn_revocations()).await {
            Ok(Ok(learnt)) => {
                heard = Instant::now();
                close(&node, learnt);
            }
            Ok(Err(error)) => tracing::warn!(%error, "what other nodes revoked is unknown"),
            Err(_) => tracing::warn!("what other nodes revoked is unknown: the accounts don't answer"),
        }
        if heard.elapsed() >= ISOLATED_AFTER {
            tracing::error!("neither Redis nor Postgres answers: closing all sockets, they may have been revoked");
            for worker in 0..node.runtime.placement().workers() {
                let there = node.clone();
                node.runtime.placement().run_on(worker, move || {
                    let close =
                        |outbox: &Outbox| outbox.close(CloseCode::OVERLOADED, "this node is cut off, try another");
                    there.local_sockets().for_each(|_, socket| close(&socket.outbox));
                });
            }
        }
    }
}

fn close(node: &Node, learnt: Learnt) {
    let (code, reason) = (CloseCode::REVOKED, "credentials revoked");
    let users = learnt.users.into_iter().map(|user| DirectoryMessage::CloseUser { user, code, reason });
    let tokens = learnt.tokens.into_iter().map(|id| DirectoryMessage::CloseToken { token_id: id.into(), code, reason });
    for message in users.chain(tokens) {
        // Past the bound: bounded by what was revoked in three seconds, and told once.
        let _ = node.directory.tell_always(message);
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
