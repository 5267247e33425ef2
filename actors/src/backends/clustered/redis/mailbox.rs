//! The reader of a node's mailbox: takes envelopes out of its stream and keeps the mailbox alive.
//!
//! It has a connection of its own, because it blocks there. What was read is removed by a request that reads on, once it takes an eighth
//! of the mailbox or [`BLOCK`] has passed: removing each lone envelope would cost Redis as much again as the envelope. What was read
//! before a connection was lost isn't read again. When the mailbox is gone (wiped, or expired while this process was paused), it
//! is opened again within twice [`BLOCK`]; what was sent meanwhile heard `NotFound`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chinwag_schema::limits::cluster::{
    ARRIVED_MAX, MAILBOX_KEPT, MAILBOX_MAX_BYTES, RECONNECT_MAX, RECONNECT_MIN, REDIS_DEADLINE,
};
use fred::{
    interfaces::{KeysInterface as _, SetsInterface as _, StreamsInterface as _},
    prelude::Value,
};
use futures_util::future::try_join;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    batch::{packed_len, unpack},
    keys::{Keys, mailbox_name},
    link::{Connection, Link},
    options::{RedisError, RedisOptions},
    scripts::Script,
};
use crate::ports::{StoreError, StoreResult, bus::Payload, directory::NodeLease};

/// How long a read waits for something to come, at most; then the mailbox is renewed and looked after.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries (batches) read at once.
const ENTRIES_PER_READ: u64 = 64;
/// How often the mailbox is put on the list of mailboxes, from which a broadcast may strike it in a race.
const LIST_EVERY: Duration = Duration::from_secs(3);

/// A mailbox that is read. Dropping it stops the reader; the mailbox then expires.
pub(super) struct Mailbox {
    task: JoinHandle<()>,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mailbox {
    /// Opens the mailbox, empty, and starts to read it.
    pub(super) async fn open(
        options: &RedisOptions,
        node: NodeLease,
        bound: usize,
    ) -> StoreResult<(Self, mpsc::Receiver<Payload>)> {
        let unavailable = |error: RedisError| StoreError::Unavailable(error.to_string());
        let link = Link::connect(options, "mailbox").await.map_err(unavailable)?;
        let keys = Keys::new(&options.prefix);
        let (arrived, receiver) = mpsc::channel(bound.clamp(1, ARRIVED_MAX));
        let names = keys.mailbox(node);
        let mut reader = Reader { link, keys, node, names, bound: bound.max(1), arrived, listed: Instant::now() };
        let last = reader.open().await?;
        Ok((Self { task: tokio::spawn(reader.run(last)) }, receiver))
    }

    /// Stops reading. When this returns, the reader touches the mailbox no more.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

/// Deletes a mailbox.
pub(super) async fn delete(link: &Link, keys: &Keys, node: NodeLease) -> StoreResult<()> {
    let (names, list) = (keys.mailbox(node).to_vec(), keys.mailboxes());
    let delete = |connection: Arc<Connection>| async move {
        let unlink = connection.client.unlink::<(), _>(names);
        try_join(unlink, connection.client.srem::<(), _, _>(list, mailbox_name(node))).await
    };
    link.request(delete).await.map(|_| ())
}

/// Position of an entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EntryId {
    ms: u64,
    seq: u64,
}

impl EntryId {
    fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    fn text(self) -> String {
        format!("{}-{}", self.ms, self.seq)
    }

    fn next(self) -> Self {
        Self { seq: self.seq + 1, ..self }
    }
}

/// What was read and isn't removed yet.
#[derive(Debug, Clone, Copy)]
struct Taken {
    envelopes: usize,
    bytes: usize,
    last: Option<EntryId>,
    /// When the mailbox was last looked after.
    since: Instant,
}

impl Taken {
    fn nothing() -> Self {
        Self { envelopes: 0, bytes: 0, last: None, since: Instant::now() }
    }

    fn is_due(&self, bound: usize) -> bool {
        self.envelopes * 8 >= bound || self.bytes * 8 >= MAILBOX_MAX_BYTES || self.since.elapsed() >= BLOCK
    }
}

struct Reader {
    link: Link,
    keys: Keys,
    node: NodeLease,
    names: [String; 2],
    bound: usize,
    arrived: mpsc::Sender<Payload>,
    listed: Instant,
}

/// The receiver was dropped.
struct Closed;

impl Reader {
    async fn run(mut self, mut last: EntryId) {
        let mut taken = Taken::nothing();
        let mut wait = RECONNECT_MIN;
        loop {
            let removing = taken.is_due(self.bound).then(|| std::mem::replace(&mut taken, Taken::nothing()));
            match self.read(last, removing).await {
                Ok((true, entries)) => {
                    wait = RECONNECT_MIN;
                    if let Err(Closed) = self.hand_over(entries, &mut last, &mut taken).await {
                        break;
                    }
                    self.list_again().await;
                }
                Ok((false, _)) => match self.open().await {
                    Ok(again) => {
                        (last, taken) = (again, Taken::nothing());
                        tracing::warn!(node = self.node.node.0, "this node's mailbox was gone and is open again");
                    }
                    Err(error) => tracing::debug!(%error, "this node's mailbox is gone and can't be opened yet"),
                },
                // Whether anything was removed isn't known: the next removal takes it as well, and the room comes back when the
                // stream is empty.
                Err(error) => {
                    tracing::debug!(%error, "this node's mailbox can't be read");
                    sleep(wait).await;
                    wait = (wait * 2).min(RECONNECT_MAX);
                    self.link.connected().await;
                }
            }
            if self.arrived.is_closed() {
                break;
            }
        }
        // Nobody reads any more: what is sent from now on must not count as handed over.
        if let Err(error) = delete(&self.link, &self.keys, self.node).await {
            tracing::debug!(%error, "a closed mailbox is left to expire");
        }
    }

    /// Makes the mailbox, empty; returns the position from which to read.
    async fn open(&mut self) -> StoreResult<EntryId> {
        let kept_ms = MAILBOX_KEPT.as_millis().to_string();
        let args = vec![self.bound.to_string().into(), MAILBOX_MAX_BYTES.to_string().into(), kept_ms.into()];
        let open = |connection: Arc<Connection>| {
            let opened = connection.call(Script::OpenMailbox, self.names.to_vec(), args);
            let (list, name) = (self.keys.mailboxes(), mailbox_name(self.node));
            async move {
                let listed = connection.client.sadd::<(), _, _>(list, name);
                let (id, ()) = try_join(opened, listed).await?;
                id.convert::<String>()
            }
        };
        let id = self.link.request(open).await?;
        self.listed = Instant::now();
        EntryId::parse(&id).ok_or_else(strange)
    }

    /// Reads on; with `removing`, removes what was taken and keeps the mailbox alive. The flag says that the mailbox is there, as far
    /// as is known.
    async fn read(&self, last: EntryId, removing: Option<Taken>) -> StoreResult<(bool, Vec<(EntryId, Bytes)>)> {
        let read = |connection: Arc<Connection>| {
            let remove = removing.map(|taken| connection.call(Script::Taken, self.names.to_vec(), taken_args(taken)));
            let stream = self.names[0].clone();
            async move {
                let block_ms = BLOCK.as_millis() as u64;
                let client = &connection.client;
                let read = client.xread::<Value, _, _>(Some(ENTRIES_PER_READ), Some(block_ms), stream, last.text());
                let Some(remove) = remove else { return Ok((true, read.await?)) };
                let (there, entries) = try_join(remove, read).await?;
                Ok((there.convert::<i64>()? == 1, entries))
            }
        };
        let (there, entries) = self.link.request_within(BLOCK + REDIS_DEADLINE, read).await?;
        Ok((there, parse_entries(entries).ok_or_else(strange)?))
    }

    /// Hands envelopes over, waiting while the receiver is slow; the mailbox stays alive meanwhile.
    async fn hand_over(
        &self,
        entries: Vec<(EntryId, Bytes)>,
        last: &mut EntryId,
        taken: &mut Taken,
    ) -> Result<(), Closed> {
        for (id, batch) in entries {
            *last = id;
            taken.last = Some(id);
            let Some(payloads) = unpack(batch) else {
                tracing::warn!(node = self.node.node.0, "a malformed batch was dropped");
                continue;
            };
            for payload in payloads {
                taken.envelopes += 1;
                taken.bytes += packed_len(&payload);
                self.room().await?.send(payload);
            }
        }
        Ok(())
    }

    async fn room(&self) -> Result<mpsc::Permit<'_, Payload>, Closed> {
        use tokio::sync::mpsc::error::TrySendError;
        match self.arrived.try_reserve() {
            Ok(permit) => return Ok(permit),
            Err(TrySendError::Closed(())) => return Err(Closed),
            Err(TrySendError::Full(())) => {}
        }
        loop {
            match timeout(MAILBOX_KEPT / 4, self.arrived.reserve()).await {
                Ok(permit) => return permit.map_err(|_| Closed),
                Err(_) => self.keep_alive().await,
            }
        }
    }

    async fn keep_alive(&self) {
        let names = self.names.to_vec();
        let touch = |connection: Arc<Connection>| connection.call(Script::Taken, names, taken_args(Taken::nothing()));
        if let Err(error) = self.link.request(touch).await {
            tracing::debug!(%error, "this node's mailbox was not renewed");
        }
    }

    async fn list_again(&mut self) {
        if self.listed.elapsed() < LIST_EVERY {
            return;
        }
        self.listed = Instant::now();
        let (list, name) = (self.keys.mailboxes(), mailbox_name(self.node));
        let listing = |connection: Arc<Connection>| async move { connection.client.sadd::<(), _, _>(list, name).await };
        if let Err(error) = self.link.request(listing).await {
            tracing::debug!(%error, "this node's mailbox was not listed again");
        }
    }
}

fn taken_args(taken: Taken) -> Vec<Value> {
    let stays = taken.last.map(|last| last.next().text()).unwrap_or_default();
    let numbers = [MAILBOX_KEPT.as_millis() as usize, taken.envelopes, taken.bytes];
    numbers.map(|number| number.to_string().into()).into_iter().chain([stays.into()]).collect()
}

fn strange() -> StoreError {
    StoreError::Corrupt(
        "a mailbox on Redis holds what this program can't read; is the prefix shared with something else?".into(),
    )
}

/// Reads `[[stream, [[id, [field, value, …]], …]]]`, or nothing when the time was over.
fn parse_entries(answer: Value) -> Option<Vec<(EntryId, Bytes)>> {
    if answer.is_null() {
        return Some(Vec::new());
    }
    let [stream] = take::<1>(answer)?;
    let [_, entries] = take::<2>(stream)?;
    let Value::Array(entries) = entries else { return None };
    let parse = |entry| {
        let [id, fields] = take::<2>(entry)?;
        let Value::Array(mut fields) = fields else { return None };
        // The batch is the last value.
        let batch = fields.pop()?.into_bytes()?;
        Some((EntryId::parse(&id.into_string()?)?, batch))
    };
    entries.into_iter().map(parse).collect()
}

fn take<const N: usize>(value: Value) -> Option<[Value; N]> {
    match value {
        Value::Array(values) => values.try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_order_and_nonsense_is_refused() {
        let bytes = |text: &'static str| Value::Bytes(Bytes::from_static(text.as_bytes()));
        let entry = |id, batch| {
            let fields = vec![bytes("n"), bytes("1"), bytes("b"), bytes(batch)];
            Value::Array(vec![bytes(id), Value::Array(fields)])
        };
        let entries = Value::Array(vec![entry("5-0", "x"), entry("5-1", "y")]);
        let answer = Value::Array(vec![Value::Array(vec![bytes("stream"), entries])]);
        let read = parse_entries(answer).unwrap();
        assert_eq!(read[0], (EntryId { ms: 5, seq: 0 }, Bytes::from_static(b"x")));
        assert_eq!(read[1].0.next().text(), "5-2");
        assert_eq!(parse_entries(Value::Null), Some(Vec::new()));
        for bad in [Value::Array(vec![]), Value::Integer(1), Value::Array(vec![entry("5", "x")]), bytes("x")] {
            assert_eq!(parse_entries(bad), None);
        }
    }
}
