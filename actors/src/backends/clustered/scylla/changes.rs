//! Edits and deletions of messages in older buckets, which are other partitions than the event's.
//!
//! In the event's own bucket its batch changes the target as well. Otherwise:
//!
//! 1. `logs.change_begun` says up to which seq such changes may come;
//! 2. the batch appends the event, with the new text: from here on it has happened;
//! 3. the target's row is changed, if what it has is older (`changed_seq`);
//! 4. the text is taken out of the event again, so that a text deleted later is gone;
//! 5. `logs.change_done` follows, and the sender hears of it.
//!
//! Whoever reads in between sees `change_begun` beyond `change_done` and applies what lies between to what it has read. An owner that
//! dies in between leaves that to the next, whose claim repeats 3 to 5. Step 3 needs no term: it repeats what a fenced batch has
//! written, and never takes a later change back.

use std::{collections::BTreeMap, sync::Arc};

use chinwag_schema::{
    ids::ConversationId,
    limits::cql::{FENCE_TRIES_MAX, READS_AT_ONCE},
};

use super::{
    log::Log,
    rows::{EventRow, StoredEvent, StoredLog, what},
    server::at_once,
};
use crate::ports::{StoreError, StoreResult};

/// How a target stands after a change.
#[derive(Debug, Clone)]
struct Stands {
    seq: i64,
    id: i64,
    /// Text and time, or deleted.
    edit: Option<(Arc<str>, i64)>,
    changed_seq: i64,
}

impl Log {
    /// Says that changes of older buckets up to `upto` may come; all up to the head are done. Step 1.
    pub(super) async fn begin_changes(&self, conversation: ConversationId, head: i64, upto: i64) -> StoreResult<()> {
        // Not far behind, or readers would look at the whole log between them.
        self.server.write(&self.statements.end_change, (head, head, conversation.0)).await?;
        self.server.write(&self.statements.begin_change, (upto, upto, conversation.0)).await
    }

    /// Brings changes of this range, which are in the log, to their targets. Steps 3 to 5.
    pub(super) async fn settle(&self, conversation: ConversationId, after: i64, upto: i64) -> StoreResult<()> {
        let changes = self.changes(conversation, after, upto).await?;
        self.finish_changes(conversation, &changes, upto).await
    }

    /// As [`Self::settle`], with the events at hand.
    pub(super) async fn finish_changes(
        &self,
        conversation: ConversationId,
        changes: &[EventRow],
        upto: i64,
    ) -> StoreResult<()> {
        // The last one of each target holds.
        let mut targets = BTreeMap::new();
        for change in changes {
            if let Some((seq, id)) = change.target {
                let edit = (change.what == what::EDITED).then(|| (change.content.clone(), change.at_ms));
                targets.insert(seq, Stands { seq, id, edit, changed_seq: change.seq });
            }
        }
        let calls = targets.values().map(|stands| self.change_target(conversation, stands)).collect();
        at_once(READS_AT_ONCE, calls).await.into_iter().collect::<StoreResult<Vec<()>>>()?;
        let calls = changes
            .iter()
            .filter(|change| change.has_text)
            .map(|change| self.take_text(conversation, change))
            .collect();
        at_once(READS_AT_ONCE, calls).await.into_iter().collect::<StoreResult<Vec<()>>>()?;
        self.server.write(&self.statements.end_change, (upto, upto, conversation.0)).await
    }

    async fn change_target(&self, conversation: ConversationId, stands: &Stands) -> StoreResult<()> {
        let bucket = self.buckets.of(stands.seq);
        for _ in 0..FENCE_TRIES_MAX {
            let stored: Option<StoredEvent> =
                self.server.row(&self.statements.event_serial, (conversation.0, bucket, stands.seq)).await?;
            let Some(row) = stored.map(StoredEvent::read).transpose()?.flatten() else {
                // Retention was faster.
                return Ok(());
            };
            if row.id != stands.id || row.changed_seq.is_some_and(|changed| changed >= stands.changed_seq) {
                return Ok(());
            }
            let (content, edited_at_ms, deleted) = match &stands.edit {
                Some((content, at_ms)) => (&**content, Some(*at_ms), false),
                None => ("", row.edited_at_ms, true),
            };
            // As long as the row lives, and no longer.
            let (ttl_s, conversation, changed_seq) = (row.ttl_s, conversation.0, stands.changed_seq);
            let key = (conversation, bucket, stands.seq);
            let seen = (stands.id, row.changed_seq);
            let values = (ttl_s, content, edited_at_ms, deleted, changed_seq, key.0, key.1, key.2, seen.0, seen.1);
            if self.server.write_if(&self.statements.change_event_if, values).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable(format!("too many change message {} at once", stands.id)))
    }

    async fn take_text(&self, conversation: ConversationId, change: &EventRow) -> StoreResult<()> {
        let values = (conversation.0, self.buckets.of(change.seq), change.seq, change.id);
        // Refused when retention was faster.
        self.server.write_if(&self.statements.take_text, values).await.map(|_| ())
    }

    /// Reads the changes of older buckets in a range of seqs, in order.
    async fn changes(&self, conversation: ConversationId, after: i64, upto: i64) -> StoreResult<Vec<EventRow>> {
        let mut changes = Vec::new();
        if after >= upto {
            return Ok(changes);
        }
        for bucket in self.buckets.of(after + 1)..=self.buckets.of(upto) {
            let values = (conversation.0, bucket, after, upto);
            for row in self.server.rows::<StoredEvent>(&self.statements.changes, values).await? {
                changes.extend(row.read()?.filter(|row| row.is_change() && self.is_elsewhere(row)));
            }
        }
        Ok(changes)
    }

    /// Says whether a change's target is in another bucket.
    pub(super) fn is_elsewhere(&self, change: &EventRow) -> bool {
        change.target.is_some_and(|(target, _)| self.buckets.of(target) != self.buckets.of(change.seq))
    }

    /// Applies to rows just read what their log says may not be in them yet. `log` was read before them.
    pub(super) async fn overlay(
        &self,
        conversation: ConversationId,
        log: &StoredLog,
        rows: &mut [EventRow],
    ) -> StoreResult<()> {
        if let Some((done, begun)) = log.unsettled()
            && rows.iter().any(EventRow::is_changeable)
        {
            self.apply(conversation, &self.changes(conversation, done, begun).await?, rows).await?;
        }
        // A change that was appended after `log` was read: it has its text still, or its target is done by now.
        let stale: Vec<_> = rows
            .iter()
            .filter(|row| row.is_change() && self.is_elsewhere(row))
            .filter_map(|change| change.target.map(|(target, _)| (target, change.seq)))
            .filter(|(target, seq)| {
                let target = rows.iter().find(|row| row.seq == *target);
                target.is_some_and(|row| row.changed_seq.is_none_or(|changed| changed < *seq))
            })
            .collect();
        for (target, _) in stale {
            let now = self.event_now(conversation, target).await?;
            if let (Some(now), Some(row)) = (now, rows.iter_mut().find(|row| row.seq == target)) {
                *row = now;
            }
        }
        Ok(())
    }

    /// Reads one event as it stands.
    pub(super) async fn event_now(&self, conversation: ConversationId, seq: i64) -> StoreResult<Option<EventRow>> {
        let log = self.stored_log(conversation).await?;
        let Some(row) = self.stored_event(conversation, seq).await? else { return Ok(None) };
        let mut rows = [row];
        if let Some((done, begun)) = log.unsettled() {
            self.apply(conversation, &self.changes(conversation, done, begun).await?, &mut rows).await?;
        }
        let [row] = rows;
        Ok((row.seq >= log.oldest()).then_some(row))
    }

    /// Reads one event's row.
    pub(super) async fn stored_event(&self, conversation: ConversationId, seq: i64) -> StoreResult<Option<EventRow>> {
        let values = (conversation.0, self.buckets.of(seq), seq);
        let stored: Option<StoredEvent> = self.server.row(&self.statements.event, values).await?;
        Ok(stored.map(StoredEvent::read).transpose()?.flatten())
    }

    /// Applies changes, in order, to the rows that they are of.
    async fn apply(
        &self,
        conversation: ConversationId,
        changes: &[EventRow],
        rows: &mut [EventRow],
    ) -> StoreResult<()> {
        for change in changes {
            let Some((target, _)) = change.target else { continue };
            let Some(row) = rows.iter_mut().find(|row| row.seq == target) else { continue };
            if row.changed_seq.is_some_and(|changed| changed >= change.seq) {
                continue;
            }
            match change.what {
                what::DELETED => row.change(change.seq, None),
                _ if change.has_text => row.change(change.seq, Some((&change.content, change.at_ms))),
                // Done since the row was read.
                _ => {
                    if let Some(now) = self.stored_event(conversation, target).await? {
                        *row = now;
                    }
                }
            }
        }
        Ok(())
    }
}
