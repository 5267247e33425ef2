//! [`Bus`] in this process: a bounded channel per node.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chinwag_schema::ids::NodeId;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::ports::{
    StoreError, StoreResult,
    bus::{Bus, Payload, To},
};

/// The bus of the nodes in this process.
#[derive(Default)]
pub struct EmbeddedBus {
    mailboxes: Mutex<BTreeMap<NodeId, mpsc::Sender<Payload>>>,
}

impl EmbeddedBus {
    /// Makes a bus without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn mailboxes(&self) -> MutexGuard<'_, BTreeMap<NodeId, mpsc::Sender<Payload>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deliver(mailbox: &mpsc::Sender<Payload>, payload: Payload) -> StoreResult<()> {
    mailbox.try_send(payload).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::LimitReached(mailbox.max_capacity() as u64),
        TrySendError::Closed(_) => StoreError::NotFound,
    })
}

#[async_trait]
impl Bus for EmbeddedBus {
    /// `NotFound` when the node has no mailbox. A broadcast goes to everyone it can; `LimitReached` then says that some mailbox
    /// was full.
    async fn send(&self, to: To, payload: Payload) -> StoreResult<()> {
        let mut mailboxes = self.mailboxes();
        mailboxes.retain(|_, mailbox| !mailbox.is_closed());
        match to {
            To::Node(node) => deliver(mailboxes.get(&node).ok_or(StoreError::NotFound)?, payload),
            To::All => {
                let results: Vec<_> = mailboxes.values().map(|mailbox| deliver(mailbox, payload.clone())).collect();
                results.into_iter().find(|one| matches!(one, Err(StoreError::LimitReached(_)))).unwrap_or(Ok(()))
            }
        }
    }

    async fn subscribe(&self, node: NodeId, bound: usize) -> StoreResult<mpsc::Receiver<Payload>> {
        let (mailbox, receiver) = mpsc::channel(bound.max(1));
        self.mailboxes().insert(node, mailbox);
        Ok(receiver)
    }

    async fn ping(&self) -> StoreResult<()> {
        Ok(())
    }
}
