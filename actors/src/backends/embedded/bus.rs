//! [`Bus`] in this process: a bounded channel per node.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chinwag_schema::limits::cluster::ENVELOPE_MAX_BYTES;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::ports::{
    StoreError, StoreResult,
    bus::{Bus, Payload},
    directory::NodeLease,
};

/// The bus of the nodes in this process.
#[derive(Default)]
pub struct EmbeddedBus {
    mailboxes: Mutex<Mailboxes>,
}

type Mailboxes = BTreeMap<NodeLease, mpsc::Sender<Payload>>;

impl EmbeddedBus {
    /// Makes a bus without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the mailboxes whose receivers live.
    fn mailboxes(&self) -> MutexGuard<'_, Mailboxes> {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.retain(|_, mailbox| !mailbox.is_closed());
        mailboxes
    }
}

fn deliver(mailbox: &mpsc::Sender<Payload>, payload: Payload) -> StoreResult<()> {
    if payload.len() > ENVELOPE_MAX_BYTES {
        return Err(StoreError::LimitReached(ENVELOPE_MAX_BYTES as u64));
    }
    mailbox.try_send(payload).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::LimitReached(mailbox.max_capacity() as u64),
        TrySendError::Closed(_) => StoreError::NotFound,
    })
}

fn send(mailboxes: &Mailboxes, to: NodeLease, payload: Payload) -> StoreResult<()> {
    deliver(mailboxes.get(&to).ok_or(StoreError::NotFound)?, payload)
}

#[async_trait]
impl Bus for EmbeddedBus {
    async fn send(&self, to: NodeLease, payload: Payload) -> StoreResult<()> {
        send(&self.mailboxes(), to, payload)
    }

    async fn send_many(&self, envelopes: Vec<(NodeLease, Payload)>) -> Vec<StoreResult<()>> {
        let mailboxes = self.mailboxes();
        envelopes.into_iter().map(|(to, payload)| send(&mailboxes, to, payload)).collect()
    }

    async fn broadcast(&self, payload: Payload) -> StoreResult<()> {
        let mailboxes = self.mailboxes();
        let results: Vec<_> = mailboxes.values().map(|mailbox| deliver(mailbox, payload.clone())).collect();
        results.into_iter().find(|one| matches!(one, Err(StoreError::LimitReached(_)))).unwrap_or(Ok(()))
    }

    async fn subscribe(&self, node: NodeLease, bound: usize) -> StoreResult<mpsc::Receiver<Payload>> {
        let (mailbox, receiver) = mpsc::channel(bound.max(1));
        self.mailboxes().insert(node, mailbox);
        Ok(receiver)
    }

    async fn unsubscribe(&self, node: NodeLease) -> StoreResult<()> {
        self.mailboxes().remove(&node);
        Ok(())
    }

    async fn ping(&self) -> StoreResult<()> {
        Ok(())
    }
}
