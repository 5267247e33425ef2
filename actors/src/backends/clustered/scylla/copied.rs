//! Logs of another store, written as they are: seqs, ids, times and totals stay. Whoever copies is an owner like any other: it claims each
//! log with a term, and every write to a bucket is conditional on that term and on the head. So one that was thought dead and goes on
//! writes nothing into a log that the next one has claimed, or that nodes serve meanwhile; and how far a log is copied is its head.
//!
//! Nothing that is copied has a TTL: it isn't as old as what is written now. The retention's job removes it.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_schema::{
    ids::{ConversationId, Epoch, Term, UserId},
    limits::{
        copy::SENDERS_PER_READ,
        cql::{FENCE_TRIES_MAX, READS_AT_ONCE},
    },
    model::Head,
};
use scylla::statement::{Statement, prepared::PreparedStatement};
use uuid::Uuid;

use super::{
    ScyllaMessages,
    append::Piece,
    log::Log,
    owned::{Sender, Tail},
    rows::{EventRow, Statics, StoredEvent, what},
    server::{Values, applied, at_once},
    statements::{Kind, prepare},
};
use crate::{
    backends::copy::Event,
    ports::{StoreError, StoreResult},
};

/// Tables that hold something of each log.
const TABLES: [&str; 4] = ["logs", "log", "senders", "ages"];
/// Part of a sender's total.
const PART_TOTAL: i8 = 2;

/// Where a log begins of which retention has removed the first events.
#[derive(Debug, Clone, Copy)]
pub(in crate::backends) struct Beginning {
    /// The first event that is stored, or the next one.
    pub oldest_seq: i64,
    /// Messages before it.
    pub messages: i64,
    /// An id below its own, and not below any before it.
    pub id: i64,
    pub at_ms: i64,
}

/// A claimed log.
pub(in crate::backends) struct CopiedLog {
    conversation: ConversationId,
    tail: Tail,
    /// The head of the log that it is copied from.
    whole: i64,
}

impl CopiedLog {
    /// Returns the seq up to which it is copied.
    pub(in crate::backends) fn head(&self) -> i64 {
        self.tail.head
    }
}

/// The logs as a copy writes and compares them.
pub(in crate::backends) struct CopiedLogs<'a> {
    log: &'a Log,
    /// (conversation, bucket)
    ids: PreparedStatement,
    /// (conversation, bucket, [(part, sender, no message id)])
    totals: PreparedStatement,
    /// (conversation, [sender], bucket)
    senders: PreparedStatement,
}

impl ScyllaMessages {
    /// Returns the logs for a copy.
    ///
    /// # Errors
    /// When the servers don't answer.
    pub(in crate::backends) async fn copied_logs(&self) -> StoreResult<CopiedLogs<'_>> {
        let server = &self.log.server;
        let plain = async |text| {
            prepare(&server.session, server.levels, Kind::Plain, text)
                .await
                .map_err(|error| StoreError::Unavailable(format!("the log's servers: {error}")))
        };
        let ids = "SELECT number, message_id, seq FROM log WHERE conversation = ? AND bucket = ? AND part = 1";
        let totals =
            "SELECT number, own FROM log WHERE conversation = ? AND bucket = ? AND (part, number, message_id) IN ?";
        let senders = "SELECT sender FROM senders WHERE conversation = ? AND sender IN ? AND bucket = ?";
        Ok(CopiedLogs {
            log: &self.log,
            ids: plain(ids).await?,
            totals: plain(totals).await?,
            senders: plain(senders).await?,
        })
    }
}

impl CopiedLogs<'_> {
    /// Says whether nothing was ever written.
    pub(in crate::backends) async fn is_empty(&self) -> StoreResult<bool> {
        let server = &self.log.server;
        for table in TABLES {
            let mut first = Statement::new(format!("SELECT conversation FROM {table} LIMIT 1"));
            first.set_consistency(server.levels.plain);
            let found = server.session.query_unpaged(first, ()).await.map_err(unavailable)?;
            if found.into_rows_result().map_err(unavailable)?.rows_num() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replaces the log's epoch. Nodes that have opened it go on with the old one: there must be none.
    pub(in crate::backends) async fn replace_epoch(&self, from: Epoch, to: Epoch) -> StoreResult<()> {
        if from == to {
            return Ok(());
        }
        let server = &self.log.server;
        let mut replace = Statement::new("UPDATE store_info SET value = ? WHERE name = 'epoch' IF value = ?");
        replace.set_consistency(server.levels.plain);
        replace.set_serial_consistency(Some(server.levels.serial));
        let done = server.session.query_unpaged(replace, (to.to_string(), from.to_string())).await;
        if applied(done.map_err(unavailable)?)? {
            return Ok(());
        }
        Err(StoreError::Corrupt(format!("the log's epoch is no longer {from}: somebody else is changing it")))
    }

    /// Returns the bucket of a seq.
    pub(in crate::backends) fn bucket(&self, seq: i64) -> i64 {
        self.log.buckets.of(seq)
    }

    /// Returns a bucket's last seq.
    pub(in crate::backends) fn last_of(&self, bucket: i64) -> i64 {
        self.log.buckets.last(bucket)
    }

    // ---- writing

    /// Prepares a log whose first events are gone: says where it begins, and claims the bucket before. Returns whether the totals of those
    /// who wrote what is gone have to be written there ([`Self::put_removed`], [`Self::end_removed`]) before it is claimed.
    pub(in crate::backends) async fn begin(
        &self,
        conversation: ConversationId,
        term: Term,
        beginning: &Beginning,
    ) -> StoreResult<bool> {
        let bucket = self.bucket(beginning.oldest_seq - 1);
        let statics = self.log.statics(conversation, bucket).await?;
        if beginning.oldest_seq == 1 || statics.has_events(self.log.buckets.base(bucket)) {
            return Ok(false);
        }
        self.log.put_age(conversation, beginning.at_ms).await?;
        self.log.put_oldest(conversation, beginning.oldest_seq).await?;
        self.log.put_head_bucket(conversation, bucket).await?;
        self.log.fence(conversation, bucket, term.0.cast_signed()).await?;
        Ok(true)
    }

    /// Writes how many messages each of these senders had sent before the log's beginning.
    pub(in crate::backends) async fn put_removed(
        &self,
        conversation: ConversationId,
        term: Term,
        beginning: &Beginning,
        totals: &[(i64, i64)],
    ) -> StoreResult<()> {
        let of = &self.log.statements;
        let bucket = self.bucket(beginning.oldest_seq - 1);
        let base = self.log.buckets.base(bucket);
        // They have events in no older bucket.
        let calls = totals
            .iter()
            .map(|(sender, _)| self.log.server.write(&of.put_sender, (conversation.0, *sender, bucket, 0_i64)))
            .collect();
        at_once(READS_AT_ONCE, calls).await.into_iter().collect::<StoreResult<Vec<()>>>()?;
        let mut statements: Vec<(&PreparedStatement, Values<'_>)> =
            vec![(&of.advance, Box::new(advance(conversation, bucket, term, beginning, base, base)))];
        for (sender, own) in totals {
            statements.push((&of.put_own, Box::new((*own, conversation.0, bucket, *sender))));
        }
        for _ in 0..FENCE_TRIES_MAX {
            if self.log.server.batch_if(&statements).await? {
                return Ok(());
            }
            let now = self.statics_now(conversation, bucket).await?;
            if now.term != Some(term.0.cast_signed()) || now.head != Some(base) {
                return Err(StoreError::Fenced);
            }
        }
        Err(StoreError::Unavailable(format!("conversation {conversation} can't be written to")))
    }

    /// Says that all totals of what is gone are written: the log goes on from there.
    pub(in crate::backends) async fn end_removed(
        &self,
        conversation: ConversationId,
        term: Term,
        beginning: &Beginning,
    ) -> StoreResult<()> {
        let head = beginning.oldest_seq - 1;
        let bucket = self.bucket(head);
        let values = advance(conversation, bucket, term, beginning, head, self.log.buckets.base(bucket));
        if self.log.server.write_if(&self.log.statements.advance, values).await? {
            return Ok(());
        }
        let now = self.statics_now(conversation, bucket).await?;
        let done = now.term == Some(term.0.cast_signed()) && now.head == Some(head);
        if done { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Claims a log that is copied up to `whole`; the rest is to be appended.
    pub(in crate::backends) async fn claim(
        &self,
        conversation: ConversationId,
        term: Term,
        whole: i64,
    ) -> StoreResult<CopiedLog> {
        self.log.owned.forget(conversation);
        let (tail, _) = self.log.load(conversation, term).await?;
        Ok(CopiedLog { conversation, tail, whole })
    }

    /// Appends the events that follow, as they are. After an error the log has to be claimed anew.
    pub(in crate::backends) async fn append(&self, log: &mut CopiedLog, events: &[Event]) -> StoreResult<()> {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let bucket = self.bucket(first.seq);
            let last = self.last_of(bucket);
            let (now, later) = rest.split_at(rest.iter().take_while(|event| event.seq <= last).count());
            let mut senders = BTreeMap::new();
            let mut rows = Vec::with_capacity(now.len());
            for (event, seq) in now.iter().zip(log.tail.head + 1..) {
                if event.seq != seq {
                    return Err(StoreError::Corrupt(format!(
                        "conversation {} has event {} where {seq} should be",
                        log.conversation, event.seq
                    )));
                }
                let known = self.log.owned.sender(log.tail.loading, UserId(event.sender)).unwrap_or_default();
                let sender: &mut Sender = senders.entry(event.sender).or_insert(known);
                sender.own = event.own;
                if sender.newest.is_none_or(|(newest, _)| newest < bucket) {
                    sender.newest = Some((bucket, event.at_ms));
                }
                rows.push(row(event, log.whole)?);
            }
            let piece = Piece::of(bucket, rows, senders);
            self.log.write_copied(log.conversation, &mut log.tail, &piece).await?;
            rest = later;
        }
        Ok(())
    }

    async fn statics_now(&self, conversation: ConversationId, bucket: i64) -> StoreResult<Statics> {
        let found = self.log.server.row(&self.log.statements.statics_serial, (conversation.0, bucket)).await?;
        Ok(found.unwrap_or_default())
    }

    // ---- reading back

    /// Returns a log's head, read from where it is kept.
    pub(in crate::backends) async fn head(&self, conversation: ConversationId) -> StoreResult<Head> {
        self.log.head(conversation).await
    }

    /// Reads the events with these seqs, both included, in order.
    pub(in crate::backends) async fn events(
        &self,
        conversation: ConversationId,
        from: i64,
        upto: i64,
    ) -> StoreResult<Vec<Event>> {
        let mut events = Vec::new();
        for bucket in self.bucket(from)..=self.bucket(upto) {
            let values = (conversation.0, bucket, from, upto.saturating_add(1), i32::MAX);
            for stored in self.log.server.rows::<StoredEvent>(&self.log.statements.oldest, values).await? {
                events.extend(stored.read()?.map(event));
            }
        }
        Ok(events)
    }

    /// Says whether an event is stored beyond the head.
    pub(in crate::backends) async fn has_more(&self, conversation: ConversationId, head: i64) -> StoreResult<bool> {
        let bucket = self.bucket(head);
        let more = self.log.first_in(conversation, bucket, head + 1).await?;
        Ok(more.is_some() || self.log.first_in(conversation, bucket + 1, head + 1).await?.is_some())
    }

    /// Returns the message ids of a bucket: (sender, id, seq), in no particular order.
    pub(in crate::backends) async fn message_ids(
        &self,
        conversation: ConversationId,
        bucket: i64,
    ) -> StoreResult<Vec<(i64, Vec<u8>, i64)>> {
        let rows: Vec<(i64, Vec<u8>, Option<i64>)> = self.log.server.rows(&self.ids, (conversation.0, bucket)).await?;
        Ok(rows.into_iter().map(|(sender, id, seq)| (sender, id, seq.unwrap_or(0))).collect())
    }

    /// Returns those senders' totals at the end of a bucket that are stored, of senders by whom events are looked for there.
    pub(in crate::backends) async fn totals(
        &self,
        conversation: ConversationId,
        bucket: i64,
        senders: &[i64],
    ) -> StoreResult<BTreeMap<i64, i64>> {
        let calls = senders
            .chunks(SENDERS_PER_READ)
            .map(async |some| {
                let keys: Vec<_> = some.iter().map(|sender| (PART_TOTAL, *sender, Vec::<u8>::new())).collect();
                let (totals, listed) = futures_util::future::try_join(
                    self.log.server.rows::<(i64, Option<i64>)>(&self.totals, (conversation.0, bucket, keys)),
                    self.log.server.rows::<(i64,)>(&self.senders, (conversation.0, some, bucket)),
                )
                .await?;
                let listed: BTreeSet<i64> = listed.into_iter().map(|(sender,)| sender).collect();
                let known = totals.into_iter().filter(|(sender, _)| listed.contains(sender));
                Ok(known.filter_map(|(sender, own)| Some((sender, own?))).collect::<Vec<_>>())
            })
            .collect();
        let found: StoreResult<Vec<_>> = at_once(READS_AT_ONCE, calls).await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

/// Values of the statement that moves a head, at the beginning of a log.
fn advance(
    conversation: ConversationId,
    bucket: i64,
    term: Term,
    beginning: &Beginning,
    head: i64,
    from: i64,
) -> (i64, i64, i64, i64, i64, i64, i64, i64, i64) {
    let Beginning { messages, id, at_ms, .. } = *beginning;
    (head, messages, id, at_ms, at_ms, conversation.0, bucket, term.0.cast_signed(), from)
}

/// Makes the row of an event of a log whose head is `whole`.
fn row(event: &Event, whole: i64) -> StoreResult<EventRow> {
    let client_id = event.client_id.as_deref().map(Uuid::from_slice).transpose();
    let client_id =
        client_id.map_err(|error| StoreError::Corrupt(format!("event {} has a bad client id: {error}", event.id)))?;
    let changed = event.edited_at_ms.is_some() || event.deleted;
    Ok(EventRow {
        seq: event.seq,
        id: event.id,
        at_ms: event.at_ms,
        what: event.kind,
        sender: event.sender,
        sender_name: event.sender_name.as_str().into(),
        messages: event.messages,
        own: event.own,
        client_id,
        content: event.content.as_str().into(),
        // Those of changes have their text in the target.
        has_text: event.kind == what::MESSAGE,
        digest: event.digest.clone(),
        target: event.target,
        edited_at_ms: event.edited_at_ms,
        deleted: event.deleted,
        // Whatever changed it came before the head, and whatever will comes after.
        changed_seq: changed.then_some(whole),
        ttl_s: 0,
    })
}

fn event(row: EventRow) -> Event {
    Event {
        seq: row.seq,
        id: row.id,
        at_ms: row.at_ms,
        kind: row.what,
        sender: row.sender,
        sender_name: row.sender_name.to_string(),
        messages: row.messages,
        own: row.own,
        client_id: row.client_id.map(|id| id.as_bytes().to_vec()),
        content: row.content.to_string(),
        digest: row.digest,
        target: row.target,
        edited_at_ms: row.edited_at_ms,
        deleted: row.deleted,
    }
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the log's servers: {error}"))
}
