//! [`Bus`] on Redis: a bounded stream per mailbox.
//!
//! A broadcast is an envelope in every mailbox, not pub/sub: it keeps its place among the sender's other envelopes, is bounded like
//! them, and survives a short break of a receiver's connection. It costs one script per node, and is sent for what all nodes must know
//! (revocations, notices), which is rare.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chinwag_schema::limits::cluster::{ENVELOPE_MAX_BYTES, SENDING_MAX_BYTES};
use fred::interfaces::ClientLike as _;
use tokio::sync::{Mutex, mpsc};

use super::{
    keys::Keys,
    link::Link,
    mailbox::{self, Mailbox},
    options::{RedisError, RedisOptions},
    sending::Sending,
};
use crate::ports::{
    StoreError, StoreResult,
    bus::{Bus, Payload},
    directory::NodeLease,
};

/// Bytes of one job of `send_many`: larger ones are cut, so that they don't take all the room.
const JOB_MAX_BYTES: usize = SENDING_MAX_BYTES / 8;
/// And envelopes.
const JOB_MAX_ENVELOPES: usize = 8192;

/// The bus on Redis. It sends on a connection of its own and reads each mailbox on another.
pub struct RedisBus {
    options: RedisOptions,
    keys: Keys,
    link: Arc<Link>,
    sending: Sending,
    /// The mailboxes read here. Held while one is opened or closed.
    mailboxes: Mutex<HashMap<NodeLease, Mailbox>>,
}

impl RedisBus {
    /// Connects. Its tasks run on the caller's runtime and end with it; `subscribe` starts the reader on the runtime of its caller.
    ///
    /// # Errors
    /// When Redis doesn't answer or is too old.
    pub async fn connect(options: &RedisOptions) -> Result<Self, RedisError> {
        let link = Arc::new(Link::connect(options, "bus").await?);
        let keys = Keys::new(&options.prefix);
        let sending = Sending::start(link.clone(), keys.clone());
        Ok(Self { options: options.clone(), keys, link, sending, mailboxes: Mutex::default() })
    }

    /// Says whether there is a connection to send by; without one, everything is refused at once until it is made again.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }
}

#[async_trait]
impl Bus for RedisBus {
    /// `Unavailable`: it may have arrived nevertheless, or arrive later, out of order.
    async fn send(&self, to: NodeLease, payload: Payload) -> StoreResult<()> {
        if payload.len() > ENVELOPE_MAX_BYTES {
            return Err(StoreError::LimitReached(ENVELOPE_MAX_BYTES as u64));
        }
        let missing = || Err(StoreError::Corrupt("an envelope without a result".into()));
        self.sending.send(vec![(to, payload)]).await.pop().unwrap_or_else(missing)
    }

    async fn send_many(&self, envelopes: Vec<(NodeLease, Payload)>) -> Vec<StoreResult<()>> {
        let mut results = Vec::with_capacity(envelopes.len());
        let mut rest = envelopes.into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut job = Vec::new();
            while let Some(envelope) = rest.next_if(|_| bytes < JOB_MAX_BYTES && job.len() < JOB_MAX_ENVELOPES) {
                bytes += envelope.1.len();
                job.push(envelope);
            }
            results.extend(self.sending.send(job).await);
        }
        results
    }

    async fn broadcast(&self, payload: Payload) -> StoreResult<()> {
        self.sending.broadcast(payload).await
    }

    async fn subscribe(&self, node: NodeLease, bound: usize) -> StoreResult<mpsc::Receiver<Payload>> {
        let mut mailboxes = self.mailboxes.lock().await;
        if let Some(earlier) = mailboxes.remove(&node) {
            earlier.stop().await;
        }
        let (mailbox, receiver) = Mailbox::open(&self.options, node, bound).await?;
        mailboxes.insert(node, mailbox);
        Ok(receiver)
    }

    async fn unsubscribe(&self, node: NodeLease) -> StoreResult<()> {
        let mut mailboxes = self.mailboxes.lock().await;
        if let Some(mailbox) = mailboxes.remove(&node) {
            mailbox.stop().await;
        }
        mailbox::delete(&self.link, &self.keys, node).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.link.request(|connection| async move { connection.client.ping::<()>(None).await }).await
    }
}
