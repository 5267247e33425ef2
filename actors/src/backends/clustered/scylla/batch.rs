//! Writing one piece of a group: what has to be there before, the conditional batch, what follows.

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::cql::{READS_AT_ONCE, WRITE_TRIES_MAX},
};
use scylla::{SerializeRow, statement::prepared::PreparedStatement, value::MaybeUnset};

use super::{
    append::Piece,
    log::Log,
    owned::Tail,
    rows::{EventRow, Statics, StoredEvent},
    server::{Values, at_once},
};
use crate::ports::{StoreError, StoreResult};

/// Values of `insert_event`. What an event doesn't have stays unset: a null would be stored, as the deletion of something.
#[derive(SerializeRow)]
pub(super) struct InsertEvent<'a> {
    conversation: i64,
    bucket: i64,
    number: i64,
    event_id: i64,
    at_ms: i64,
    what: i8,
    sender: i64,
    sender_name: &'a str,
    messages: i64,
    own: i64,
    client_id: MaybeUnset<&'a [u8]>,
    content: MaybeUnset<&'a str>,
    digest: MaybeUnset<&'a [u8]>,
    target_seq: MaybeUnset<i64>,
    target_id: MaybeUnset<i64>,
    edited_at_ms: MaybeUnset<i64>,
    deleted: MaybeUnset<bool>,
    changed_seq: MaybeUnset<i64>,
    ttl_s: i32,
}

impl<'a> InsertEvent<'a> {
    fn new(conversation: ConversationId, bucket: i64, row: &'a EventRow) -> Self {
        let client_id = row.client_id.as_ref().map(|id| id.as_bytes().as_slice());
        Self {
            conversation: conversation.0,
            bucket,
            number: row.seq,
            event_id: row.id,
            at_ms: row.at_ms,
            what: row.what,
            sender: row.sender,
            sender_name: &row.sender_name,
            messages: row.messages,
            own: row.own,
            client_id: MaybeUnset::from_option(client_id),
            content: MaybeUnset::from_option(row.has_text.then_some(&*row.content)),
            digest: MaybeUnset::from_option(row.digest.as_deref()),
            target_seq: MaybeUnset::from_option(row.target.map(|(seq, _)| seq)),
            target_id: MaybeUnset::from_option(row.target.map(|(_, id)| id)),
            edited_at_ms: MaybeUnset::from_option(row.edited_at_ms),
            deleted: MaybeUnset::from_option(row.deleted.then_some(true)),
            changed_seq: MaybeUnset::from_option(row.changed_seq),
            ttl_s: row.ttl_s,
        }
    }
}

/// What became of a batch.
enum Outcome {
    Written,
    /// It isn't there, and nobody else has written.
    NotYet,
    /// Somebody else owns the log, or wrote.
    Refused,
}

impl Log {
    /// Writes a piece and moves the tail on. An error leaves the tail as it was, and what the log holds unknown, but for `Fenced` of
    /// the first piece of a group: then nothing was written.
    pub(super) async fn write(&self, conversation: ConversationId, tail: &mut Tail, piece: &Piece) -> StoreResult<()> {
        let Some(last) = piece.rows.last() else { return Ok(()) };
        let elsewhere: Vec<_> =
            piece.rows.iter().filter(|row| row.is_change() && self.is_elsewhere(row)).cloned().collect();
        let first_at_ms = self.make_way(conversation, tail, piece).await?;
        if !elsewhere.is_empty() {
            self.begin_changes(conversation, tail.head, last.seq).await?;
        }
        self.write_rows(conversation, tail, piece, first_at_ms).await?;
        if !elsewhere.is_empty() {
            self.finish_changes(conversation, &elsewhere, tail.head).await?;
        }
        self.note_place(conversation, tail).await;
        Ok(())
    }

    /// As [`Self::write`], of rows that were another store's: each is as all changes up to that store's head have left it.
    pub(super) async fn write_copied(
        &self,
        conversation: ConversationId,
        tail: &mut Tail,
        piece: &Piece,
    ) -> StoreResult<()> {
        let first_at_ms = self.make_way(conversation, tail, piece).await?;
        self.write_rows(conversation, tail, piece, first_at_ms).await?;
        self.note_place(conversation, tail).await;
        Ok(())
    }

    /// Does what must be done before a piece is written; returns the time of its bucket's first event.
    async fn make_way(&self, conversation: ConversationId, tail: &mut Tail, piece: &Piece) -> StoreResult<i64> {
        let opens = piece.bucket > tail.bucket;
        if opens {
            self.open(conversation, tail, piece.bucket).await?;
        }
        let at_ms = piece.rows.first().map_or(tail.last_at_ms, |first| first.at_ms);
        self.announce(conversation, tail, piece, at_ms).await?;
        Ok(tail.first_at_ms.filter(|_| !opens).unwrap_or(at_ms))
    }

    /// Writes a piece's batch and moves the tail on.
    async fn write_rows(
        &self,
        conversation: ConversationId,
        tail: &mut Tail,
        piece: &Piece,
        first_at_ms: i64,
    ) -> StoreResult<()> {
        self.write_batch(conversation, tail, piece, first_at_ms).await?;
        tail.bucket = piece.bucket;
        tail.first_at_ms = Some(first_at_ms);
        if let Some(last) = piece.rows.last() {
            (tail.head, tail.messages, tail.last_id, tail.last_at_ms) = (last.seq, last.messages, last.id, last.at_ms);
        }
        for (sender, known) in &piece.senders {
            self.owned.put_sender(tail.loading, UserId(*sender), *known);
        }
        Ok(())
    }

    /// Notes where the head is now. One bucket behind is allowed (`open`), so a failure may wait for the next time.
    async fn note_place(&self, conversation: ConversationId, tail: &mut Tail) {
        if tail.hint != Some(tail.bucket) && self.put_head_bucket(conversation, tail.bucket).await.is_ok() {
            tail.hint = Some(tail.bucket);
        }
    }

    /// What must be before the first event of a bucket: the one after it is claimed, so that who comes next finds a fence wherever a log
    /// can go on; and the head is looked for no more than one bucket before it.
    async fn open(&self, conversation: ConversationId, tail: &mut Tail, bucket: i64) -> StoreResult<()> {
        for next in tail.claimed + 1..=bucket + 1 {
            self.fence(conversation, next, tail.term).await?;
            tail.claimed = next;
        }
        if tail.hint.is_none_or(|hint| hint < bucket - 1) {
            self.put_head_bucket(conversation, bucket - 1).await?;
            tail.hint = Some(bucket - 1);
        }
        Ok(())
    }

    pub(super) async fn put_head_bucket(&self, conversation: ConversationId, bucket: i64) -> StoreResult<()> {
        // Timestamps begin above those of rows that a server might make itself.
        self.server.write(&self.statements.put_head_bucket, (bucket + 1, bucket, conversation.0)).await
    }

    /// Writes down what says where events are before there are any: all of it may also be there without them.
    async fn announce(
        &self,
        conversation: ConversationId,
        tail: &mut Tail,
        piece: &Piece,
        at_ms: i64,
    ) -> StoreResult<()> {
        if tail.hint.is_none() {
            self.put_age(conversation, at_ms).await?;
            self.put_head_bucket(conversation, 0).await?;
            tail.hint = Some(0);
        }
        if self.ttl_s > 0 && !tail.expiring {
            self.server.write(&self.statements.put_expiring, (conversation.0,)).await?;
            tail.expiring = true;
        }
        let new = piece.senders.iter().filter_map(|(sender, known)| {
            let before = self.owned.sender(tail.loading, UserId(*sender)).and_then(|known| known.newest);
            known
                .newest
                .filter(|(bucket, _)| before.is_none_or(|(newest, _)| newest < *bucket))
                .map(|newest| (*sender, newest))
        });
        let calls = new.map(|(sender, (bucket, first_at_ms))| {
            self.server.write(&self.statements.put_sender, (conversation.0, sender, bucket, first_at_ms))
        });
        at_once(READS_AT_ONCE, calls.collect()).await.into_iter().collect()
    }

    async fn write_batch(
        &self,
        conversation: ConversationId,
        tail: &Tail,
        piece: &Piece,
        first_at_ms: i64,
    ) -> StoreResult<()> {
        let statements = self.statements_of(conversation, tail, piece, first_at_ms);
        let mut failure = StoreError::Unavailable("the log's servers refuse a write for no reason".into());
        for _ in 0..WRITE_TRIES_MAX {
            match self.server.batch_if(&statements).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error @ StoreError::Unavailable(_)) => failure = error,
                Err(error) => return Err(error),
            }
            // Also after a refusal: another node's round may have finished ours.
            match self.read_back(conversation, tail, piece).await? {
                Outcome::Written => return Ok(()),
                Outcome::Refused => return Err(StoreError::Fenced),
                // The same batch again is safe: it can be applied once, whether the first one comes late or not.
                Outcome::NotYet => {}
            }
        }
        Err(failure)
    }

    async fn read_back(&self, conversation: ConversationId, tail: &Tail, piece: &Piece) -> StoreResult<Outcome> {
        let key = (conversation.0, piece.bucket);
        let Some(ours) = piece.rows.first() else { return Ok(Outcome::Refused) };
        let stored: Option<StoredEvent> =
            self.server.row(&self.statements.event_serial, (key.0, key.1, ours.seq)).await?;
        if let Some(stored) = stored.map(StoredEvent::read).transpose()?.flatten() {
            // Ids are made by one node only.
            return Ok(if stored.id == ours.id { Outcome::Written } else { Outcome::Refused });
        }
        let now: Statics = self.server.row(&self.statements.statics_serial, key).await?.unwrap_or_default();
        let untouched = now.term == Some(tail.term) && now.head == Some(tail.head);
        Ok(if untouched { Outcome::NotYet } else { Outcome::Refused })
    }

    /// Returns the batch: head, events, ids, totals, targets in this bucket. Each cell at most once, as the cells of a batch have one
    /// timestamp and of two the larger value would win.
    fn statements_of<'a>(
        &'a self,
        conversation: ConversationId,
        tail: &Tail,
        piece: &'a Piece,
        first_at_ms: i64,
    ) -> Vec<(&'a PreparedStatement, Values<'a>)> {
        let of = &self.statements;
        let (conversation_id, bucket) = (conversation.0, piece.bucket);
        let mut statements: Vec<(&PreparedStatement, Values<'a>)> = Vec::with_capacity(1 + 3 * piece.rows.len());
        if let Some(last) = piece.rows.last() {
            let values = (
                last.seq,
                last.messages,
                last.id,
                last.at_ms,
                first_at_ms,
                conversation_id,
                bucket,
                tail.term,
                tail.head,
            );
            statements.push((&of.advance, Box::new(values)));
        }
        for row in &piece.rows {
            statements.push((&of.insert_event, Box::new(InsertEvent::new(conversation, bucket, row))));
            if let Some(id) = &row.client_id {
                let values = (conversation_id, bucket, row.sender, id.as_bytes().as_slice(), row.seq, row.ttl_s);
                statements.push((&of.insert_id, Box::new(values)));
            }
        }
        for (sender, known) in &piece.senders {
            statements.push((&of.put_own, Box::new((known.own, conversation_id, bucket, *sender))));
        }
        for row in piece.changed.values().filter(|row| self.buckets.of(row.seq) == bucket) {
            let values = (
                row.ttl_s,
                &*row.content,
                row.edited_at_ms,
                row.deleted,
                row.changed_seq,
                conversation_id,
                bucket,
                row.seq,
            );
            statements.push((&of.change_event, Box::new(values)));
        }
        statements
    }

    /// Notes how old a log's oldest event is, at least.
    pub(super) async fn put_age(&self, conversation: ConversationId, at_ms: i64) -> StoreResult<()> {
        let (day, slot) = super::retention::place(conversation, at_ms);
        // The day last: whoever looks at a day's rows must not find it gone while they are there.
        self.server.write(&self.statements.put_age, (day, slot, at_ms, conversation.0)).await?;
        self.server.write(&self.statements.put_day, (day,)).await
    }
}
