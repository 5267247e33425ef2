//! From senders to mailboxes: what waits goes out together, one batch at a time.
//!
//! While a batch is on its way the next one gathers, so a lone envelope doesn't wait and many share commands. Within a batch each
//! receiver gets its envelopes by one script, or by several one after the other; receivers don't wait for each other. One batch
//! at a time keeps the order: nothing overtakes what was sent before.

use std::sync::Arc;

use chinwag_schema::limits::cluster::{
    BATCH_MAX_BYTES, BATCH_MAX_ENVELOPES, ENVELOPE_MAX_BYTES, REDIS_DEADLINE, SENDING_MAX_BYTES,
};
use fred::prelude::{Error, SetsInterface as _, Value};
use futures_util::future::join_all;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{
    batch::{pack, packed_len},
    keys::{Keys, mailbox_name, parse_mailbox_name},
    link::Link,
    scripts::Script,
};
use crate::ports::{StoreError, StoreResult, bus::Payload, directory::NodeLease};

/// What an envelope takes while it waits, besides its payload: bounds the number of tiny ones.
const OVERHEAD_BYTES: usize = 128;
/// Jobs (calls of `send`, `send_many`, `broadcast`) that wait; bytes bound them first.
const JOBS_MAX: usize = SENDING_MAX_BYTES / OVERHEAD_BYTES;

/// The way from this node's senders to Redis. Ends with the last clone of it.
pub(super) struct Sending {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

struct Job {
    what: What,
    /// Held until the job is done.
    _room: OwnedSemaphorePermit,
}

enum What {
    Send(Vec<(NodeLease, Payload)>, oneshot::Sender<Vec<StoreResult<()>>>),
    Broadcast(Payload, oneshot::Sender<StoreResult<()>>),
}

impl What {
    fn given_up(&self) -> bool {
        match self {
            Self::Send(_, reply) => reply.is_closed(),
            Self::Broadcast(_, reply) => reply.is_closed(),
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(what.to_owned())
}

fn too_large() -> StoreError {
    StoreError::LimitReached(ENVELOPE_MAX_BYTES as u64)
}

/// Refuses what the receiver couldn't take at all.
fn checked(payload: &Payload) -> StoreResult<()> {
    if payload.len() > ENVELOPE_MAX_BYTES { Err(too_large()) } else { Ok(()) }
}

impl Sending {
    /// Starts the task that sends.
    pub(super) fn start(link: Arc<Link>, keys: Keys) -> Self {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        tokio::spawn(Sender { link, keys }.run(waiting));
        Self { jobs, room: Arc::new(Semaphore::new(SENDING_MAX_BYTES)) }
    }

    /// Sends envelopes in order; returns what became of each.
    pub(super) async fn send(&self, envelopes: Vec<(NodeLease, Payload)>) -> Vec<StoreResult<()>> {
        let count = envelopes.len();
        let (reply, answer) = oneshot::channel();
        let bytes = envelopes.iter().map(|(_, payload)| payload.len()).sum();
        match self.give(What::Send(envelopes, reply), count, bytes, answer).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    /// Sends to all mailboxes.
    pub(super) async fn broadcast(&self, payload: Payload) -> StoreResult<()> {
        checked(&payload)?;
        let (reply, answer) = oneshot::channel();
        let bytes = payload.len();
        self.give(What::Broadcast(payload, reply), 1, bytes, answer).await?
    }

    async fn give<T>(&self, what: What, count: usize, bytes: usize, answer: oneshot::Receiver<T>) -> StoreResult<T> {
        let full = || unavailable("too much waits to be sent to other nodes");
        // At most half of the room for one job, so that a large one is never refused for ever.
        let cost = (bytes + count * OVERHEAD_BYTES).min(SENDING_MAX_BYTES / 2);
        let cost = u32::try_from(cost).expect("a few MiB");
        let room = self.room.clone().try_acquire_many_owned(cost).map_err(|_| full())?;
        self.jobs.try_send(Job { what, _room: room }).map_err(|_| full())?;
        // Given up, a job that still waits is not sent.
        let late = |_| unavailable(&format!("other nodes' mailboxes did not answer within {REDIS_DEADLINE:?}"));
        timeout(REDIS_DEADLINE, answer).await.map_err(late)?.map_err(|_| unavailable("the bus has stopped"))
    }
}

/// The task that sends.
struct Sender {
    link: Arc<Link>,
    keys: Keys,
}

/// An envelope of the batch, with the places of its result.
struct Outgoing {
    payload: Payload,
    job: usize,
    /// Which of the job's envelopes; of a broadcast, none.
    index: Option<usize>,
}

type Mailboxes = IndexMap<NodeLease, Vec<Outgoing>, FxBuildHasher>;

/// What the script said about a chunk.
enum Sent {
    All,
    NoMailbox,
    /// It has room for so many envelopes and bytes, and takes so many envelopes when empty.
    NoRoom {
        envelopes: usize,
        bytes: usize,
        bound: u64,
    },
}

impl Sender {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, BATCH_MAX_ENVELOPES).await > 0 {
            self.send_batch(std::mem::take(&mut jobs)).await;
        }
    }

    async fn send_batch(&self, mut jobs: Vec<Job>) {
        jobs.retain(|job| !job.what.given_up());
        let all = if jobs.iter().any(|job| matches!(job.what, What::Broadcast(..))) {
            self.mailboxes().await
        } else {
            Ok(Vec::new())
        };
        let mut mailboxes = Mailboxes::default();
        let mut results: Vec<Vec<StoreResult<()>>> = Vec::with_capacity(jobs.len());
        let mut broadcasts: Vec<StoreResult<()>> = Vec::with_capacity(jobs.len());
        let mut replies = Vec::with_capacity(jobs.len());
        for (job, Job { what, _room }) in jobs.into_iter().enumerate() {
            let mut put = |to, payload, index| {
                mailboxes.entry(to).or_default().push(Outgoing { payload, job, index });
            };
            broadcasts.push(Ok(()));
            results.push(Vec::new());
            match what {
                What::Send(envelopes, reply) => {
                    for (index, (to, payload)) in envelopes.into_iter().enumerate() {
                        results[job].push(checked(&payload));
                        if results[job][index].is_ok() {
                            put(to, payload, Some(index));
                        }
                    }
                    replies.push((Reply::Send(reply), _room));
                }
                What::Broadcast(payload, reply) => {
                    match &all {
                        Ok(all) => all.iter().for_each(|&to| put(to, payload.clone(), None)),
                        Err(error) => broadcasts[job] = Err(error.clone()),
                    }
                    replies.push((Reply::Broadcast(reply), _room));
                }
            }
        }
        let sends = mailboxes.iter().map(|(&to, outgoing)| self.send_to(to, outgoing));
        let outcomes = join_all(sends).await;
        let mut gone = Vec::new();
        for ((to, outgoing), outcomes) in mailboxes.into_iter().zip(outcomes) {
            for (one, outcome) in outgoing.into_iter().zip(outcomes) {
                match (one.index, outcome) {
                    (Some(index), outcome) => results[one.job][index] = outcome,
                    // A mailbox that is gone is no failure of a broadcast.
                    (None, Err(StoreError::NotFound)) => gone.push(to),
                    (None, Err(error)) => broadcasts[one.job] = Err(error),
                    (None, Ok(())) => {}
                }
            }
        }
        for (((reply, _room), results), broadcast) in replies.into_iter().zip(results).zip(broadcasts) {
            match reply {
                Reply::Send(reply) => drop(reply.send(results)),
                Reply::Broadcast(reply) => drop(reply.send(broadcast)),
            }
        }
        if !gone.is_empty() {
            gone.dedup();
            self.forget(gone).await;
        }
    }

    /// Sends one mailbox its envelopes, in order.
    async fn send_to(&self, to: NodeLease, outgoing: &[Outgoing]) -> Vec<StoreResult<()>> {
        let mut results = Vec::with_capacity(outgoing.len());
        let mut rest = outgoing;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_len(rest, BATCH_MAX_ENVELOPES, BATCH_MAX_BYTES).max(1));
            rest = after;
            match self.send_chunk(to, chunk).await {
                Ok(Sent::All) => results.extend(chunk.iter().map(|_| Ok(()))),
                Ok(Sent::NoMailbox) => results.extend(chunk.iter().map(|_| Err(StoreError::NotFound))),
                Ok(Sent::NoRoom { envelopes, bytes, bound }) => {
                    // Those that fit are sent; if others were quicker, none.
                    let fitting = chunk_len(chunk, envelopes, bytes);
                    let sent = fitting > 0 && matches!(self.send_chunk(to, &chunk[..fitting]).await, Ok(Sent::All));
                    let sent = if sent { fitting } else { 0 };
                    let refused = |index| if index < sent { Ok(()) } else { Err(StoreError::LimitReached(bound)) };
                    results.extend((0..chunk.len()).map(refused));
                }
                Err(error) => results.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        results
    }

    async fn send_chunk(&self, to: NodeLease, chunk: &[Outgoing]) -> StoreResult<Sent> {
        let batch = pack(chunk.iter().map(|one| &one.payload));
        let args = vec![chunk.len().to_string().into(), batch.len().to_string().into(), Value::Bytes(batch)];
        let keys = self.keys.mailbox(to).into();
        let answer = self.link.request(|connection| connection.call(Script::Send, keys, args)).await?;
        let strange = || StoreError::Corrupt("a mailbox on Redis is no mailbox".into());
        match answer {
            Value::Integer(1) => Ok(Sent::All),
            Value::Integer(_) => Ok(Sent::NoMailbox),
            answer => {
                let room: Vec<i64> = answer.convert().map_err(|_: Error| strange())?;
                let [envelopes, bytes, bound] = room[..] else { return Err(strange()) };
                let size = |number: i64| usize::try_from(number).unwrap_or(0);
                Ok(Sent::NoRoom { envelopes: size(envelopes), bytes: size(bytes), bound: bound.unsigned_abs() })
            }
        }
    }

    /// Returns the mailboxes that a broadcast goes to.
    async fn mailboxes(&self) -> StoreResult<Vec<NodeLease>> {
        let key = self.keys.mailboxes();
        let read = async |client: fred::clients::Client| client.smembers::<Vec<String>, _>(key).await;
        let names = self.link.request(|connection| read(connection.client.clone())).await?;
        Ok(names.iter().filter_map(|name| parse_mailbox_name(name)).collect())
    }

    /// Strikes mailboxes that are gone off the list; one that comes back lists itself again.
    async fn forget(&self, gone: Vec<NodeLease>) {
        let (key, names) = (self.keys.mailboxes(), gone.into_iter().map(mailbox_name).collect::<Vec<_>>());
        let strike = async |client: fred::clients::Client| client.srem::<(), _, _>(key, names).await;
        if let Err(error) = self.link.request(|connection| strike(connection.client.clone())).await {
            tracing::debug!(%error, "mailboxes that are gone stay on the list for now");
        }
    }
}

enum Reply {
    Send(oneshot::Sender<Vec<StoreResult<()>>>),
    Broadcast(oneshot::Sender<StoreResult<()>>),
}

/// Returns how many of the first envelopes stay within these bounds.
fn chunk_len(outgoing: &[Outgoing], envelopes: usize, mut bytes: usize) -> usize {
    let fits = |one: &&Outgoing| {
        let left = bytes.checked_sub(packed_len(&one.payload));
        bytes = left.unwrap_or(bytes);
        left.is_some()
    };
    outgoing.iter().take(envelopes).take_while(fits).count()
}
