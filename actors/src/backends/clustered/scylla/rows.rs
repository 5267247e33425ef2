//! Rows of the log, and the arithmetic of buckets.

use std::sync::Arc;

use chinwag_schema::{
    event::{EventBody, LogEvent, MessageBody},
    ids::{EventId, Seq, UserId},
    model::Name,
};
use scylla::DeserializeRow;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ports::{StoreError, StoreResult};

/// Stored numbers of the kinds of event: never reuse one.
pub(super) mod what {
    pub const MESSAGE: i8 = 0;
    pub const EDITED: i8 = 1;
    pub const DELETED: i8 = 2;
    pub const JOINED: i8 = 3;
    pub const LEFT: i8 = 4;
}

/// Stored numbers of the parts of a bucket.
pub(super) mod part {
    pub const MESSAGE_ID: i8 = 1;
}

/// How seqs are divided into partitions: bucket n has `size` of them, beginning with n × size + 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    pub size: i64,
}

impl Buckets {
    /// Returns the bucket of a seq; that of the first for 0.
    pub(super) const fn of(self, seq: i64) -> i64 {
        if seq < 1 { 0 } else { (seq - 1) / self.size }
    }

    /// Returns the seq right before a bucket's first: its head while it is empty.
    pub(super) const fn base(self, bucket: i64) -> i64 {
        bucket.saturating_mul(self.size)
    }

    /// Returns a bucket's last seq.
    pub(super) const fn last(self, bucket: i64) -> i64 {
        self.base(bucket).saturating_add(self.size)
    }
}

/// What a bucket's partition says about itself. All `None`: it was never claimed.
#[derive(Debug, Clone, Copy, Default, DeserializeRow)]
pub(super) struct Statics {
    pub term: Option<i64>,
    pub head: Option<i64>,
    pub head_messages: Option<i64>,
    pub head_id: Option<i64>,
    pub head_at_ms: Option<i64>,
    pub first_at_ms: Option<i64>,
    pub removed_below: Option<i64>,
}

impl Statics {
    /// Says whether anything was ever written to the bucket, which has this base.
    pub(super) fn has_events(&self, base: i64) -> bool {
        self.head.is_some_and(|head| head > base)
    }
}

/// A row of `logs`. The default is that of a conversation never written to.
#[derive(Debug, Clone, Copy, Default, DeserializeRow)]
pub(super) struct StoredLog {
    pub head_bucket: Option<i64>,
    pub oldest_seq: Option<i64>,
    pub expiring: Option<bool>,
    pub change_begun: Option<i64>,
    pub change_done: Option<i64>,
}

impl StoredLog {
    /// Returns the seq below which retention has removed everything.
    pub(super) fn oldest(&self) -> i64 {
        self.oldest_seq.unwrap_or(1)
    }

    /// Returns the range of seqs, (after, up to), whose edits and deletions may not be in their targets yet.
    pub(super) fn unsettled(&self) -> Option<(i64, i64)> {
        let (begun, done) = (self.change_begun.unwrap_or(0), self.change_done.unwrap_or(0));
        (begun > done).then_some((done, begun))
    }
}

/// A row of an event as it is stored. Whatever expired or was removed has no `event_id`, also if a late change left a rest of it.
#[derive(Debug, Clone, DeserializeRow)]
pub(super) struct StoredEvent {
    pub number: i64,
    event_id: Option<i64>,
    at_ms: Option<i64>,
    what: Option<i8>,
    sender: Option<i64>,
    sender_name: Option<String>,
    messages: Option<i64>,
    own: Option<i64>,
    client_id: Option<Vec<u8>>,
    content: Option<String>,
    digest: Option<Vec<u8>>,
    target_seq: Option<i64>,
    target_id: Option<i64>,
    edited_at_ms: Option<i64>,
    deleted: Option<bool>,
    changed_seq: Option<i64>,
    /// Seconds left.
    ttl_s: Option<i32>,
}

/// An event.
#[derive(Debug, Clone)]
pub(super) struct EventRow {
    pub seq: i64,
    pub id: i64,
    pub at_ms: i64,
    pub what: i8,
    pub sender: i64,
    pub sender_name: Name,
    pub messages: i64,
    pub own: i64,
    pub client_id: Option<Uuid>,
    pub content: Arc<str>,
    /// Says whether a text is stored. Events of changes have one until it is in their target.
    pub has_text: bool,
    /// Of the text first sent, if the message has a client id.
    pub digest: Option<Vec<u8>>,
    /// Seq and id.
    pub target: Option<(i64, i64)>,
    pub edited_at_ms: Option<i64>,
    pub deleted: bool,
    /// The newest change that is in the row.
    pub changed_seq: Option<i64>,
    /// Seconds until it expires; 0 is never.
    pub ttl_s: i32,
}

impl StoredEvent {
    /// Reads the row; `None` for the rest of one that is gone.
    pub(super) fn read(self) -> StoreResult<Option<EventRow>> {
        let Some(id) = self.event_id else { return Ok(None) };
        let (Some(at_ms), Some(what), Some(sender), Some(messages), Some(own)) =
            (self.at_ms, self.what, self.sender, self.messages, self.own)
        else {
            // Expired between two of its cells.
            return Ok(None);
        };
        let client_id = self
            .client_id
            .as_deref()
            .map(Uuid::from_slice)
            .transpose()
            .map_err(|error| StoreError::Corrupt(format!("event {id} has a bad client id: {error}")))?;
        Ok(Some(EventRow {
            seq: self.number,
            id,
            at_ms,
            what,
            sender,
            sender_name: self.sender_name.unwrap_or_default().into(),
            messages,
            own,
            client_id,
            has_text: self.content.is_some(),
            content: self.content.unwrap_or_default().into(),
            digest: self.digest,
            target: self.target_seq.zip(self.target_id),
            edited_at_ms: self.edited_at_ms,
            deleted: self.deleted.unwrap_or(false),
            changed_seq: self.changed_seq,
            ttl_s: self.ttl_s.unwrap_or(0),
        }))
    }
}

impl EventRow {
    /// Says whether an edit or a deletion may change it.
    pub(super) fn is_changeable(&self) -> bool {
        self.what == what::MESSAGE && !self.deleted
    }

    /// Says whether it is an edit or a deletion.
    pub(super) fn is_change(&self) -> bool {
        matches!(self.what, what::EDITED | what::DELETED)
    }

    /// Applies a change of this seq, unless the row has it, or a later one, already: an edit's text and time, or a deletion.
    pub(super) fn change(&mut self, seq: i64, edit: Option<(&Arc<str>, i64)>) {
        if self.changed_seq.is_some_and(|changed| changed >= seq) {
            return;
        }
        self.changed_seq = Some(seq);
        match edit {
            Some((content, at_ms)) => {
                self.content = content.clone();
                self.edited_at_ms = Some(at_ms);
            }
            None => {
                self.content = "".into();
                self.deleted = true;
            }
        }
    }

    /// Reads the row as an event.
    pub(super) fn event(&self) -> StoreResult<LogEvent> {
        let target = || {
            self.target
                .map(|(seq, id)| (EventId(id), to_seq(seq)))
                .ok_or_else(|| StoreError::Corrupt(format!("event {} has no target", self.id)))
        };
        let body = match self.what {
            what::MESSAGE => EventBody::Message(MessageBody {
                client_id: self.client_id,
                content: self.content.clone(),
                edited_at_ms: self.edited_at_ms,
                deleted: self.deleted,
            }),
            what::EDITED => target().map(|(target, target_seq)| EventBody::Edited { target, target_seq })?,
            what::DELETED => target().map(|(target, target_seq)| EventBody::Deleted { target, target_seq })?,
            what::JOINED => EventBody::Joined,
            what::LEFT => EventBody::Left,
            other => return Err(StoreError::Corrupt(format!("event {} is of unknown kind {other}", self.id))),
        };
        Ok(LogEvent {
            seq: to_seq(self.seq),
            id: EventId(self.id),
            at_ms: self.at_ms,
            sender: UserId(self.sender),
            sender_name: self.sender_name.clone(),
            messages: self.messages.cast_unsigned(),
            own: self.own.cast_unsigned(),
            body,
        })
    }
}

/// Reads a stored seq.
pub(super) fn to_seq(stored: i64) -> Seq {
    Seq(stored.cast_unsigned())
}

/// Writes a seq; positions that no log can reach become the largest one.
pub(super) fn from_seq(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Returns what repeats of a text are compared by: half a SHA-256, which no two texts share by accident.
pub(super) fn digest(content: &str) -> Vec<u8> {
    Sha256::digest(content)[..16].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_hole() {
        let buckets = Buckets { size: 4 };
        let of: Vec<_> = (0..=9).map(|seq| buckets.of(seq)).collect();
        assert_eq!(of, [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
        assert_eq!((buckets.base(1), buckets.last(1)), (4, 8));
        assert_eq!(buckets.of(i64::MAX), (i64::MAX - 1) / 4);
    }
}
