//! Claiming and appending. Runs inside one write transaction, all groups of a call together.

use chinwag_schema::{
    event::{EventBody, LogEvent, MessageBody},
    ids::{ConversationId, EventId, Seq, Term},
    model::Head,
    tables::sqlite::{events, message_ids},
};
use diesel::{
    ExpressionMethods, QueryDsl, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Binary, Nullable, SmallInt, Text},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    super::sql::{fault, statement},
    checkpoint::{self, DISTANCE_EVENTS},
    recent::Recent,
    rows::{self, EventRow, HeadRow, from_seq, kind, to_seq},
};
use crate::ports::{
    StoreError, StoreResult,
    message_store::{Append, Appended, NewBody, NewEvent},
};

statement! {
    /// Notes a client's id; changes no row when it is there already.
    NoteMessageId<'a> { conversation: i64 as BigInt, sender: i64 as BigInt, client_id: &'a [u8] as Binary, seq: i64 as BigInt },
    "INSERT OR IGNORE INTO message_ids (conversation, sender, client_id, seq) VALUES (?, ?, ?, ?)"
}

statement! {
    InsertEvent<'a> {
        conversation: i64 as BigInt, seq: i64 as BigInt, id: i64 as BigInt, at_ms: i64 as BigInt, kind: i16 as SmallInt,
        sender: i64 as BigInt, sender_name: &'a str as Text, messages: i64 as BigInt, own: i64 as BigInt,
        client_id: Option<&'a [u8]> as Nullable<Binary>, content: &'a str as Text,
        content_digest: Option<&'a [u8]> as Nullable<Binary>,
        target_seq: Option<i64> as Nullable<BigInt>, target_id: Option<i64> as Nullable<BigInt>,
    },
    "INSERT INTO events (conversation, seq, id, at_ms, kind, sender, sender_name, messages, own, client_id, content, \
     content_digest, target_seq, target_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! {
    EditMessage<'a> { content: &'a str as Text, edited_at_ms: i64 as BigInt, conversation: i64 as BigInt, seq: i64 as BigInt },
    "UPDATE events SET content = ?, edited_at_ms = ? WHERE conversation = ? AND seq = ?"
}

statement! {
    DeleteMessage { conversation: i64 as BigInt, seq: i64 as BigInt },
    "UPDATE events SET content = '', deleted = 1 WHERE conversation = ? AND seq = ?"
}

/// Stores the term and returns the head.
pub(super) fn claim(
    conn: &mut SqliteConnection,
    recent: &mut Recent,
    conversation: ConversationId,
    term: Term,
) -> StoreResult<Head> {
    let term = term.0.cast_signed();
    let stored = recent.head(conn, conversation)?;
    let row = match stored {
        Some(stored) if term < stored.term => return Err(StoreError::Fenced),
        Some(stored) if term == stored.term => stored,
        _ => checkpoint::store(conn, conversation, HeadRow { term, ..stored.unwrap_or_default() })?,
    };
    recent.set_head(conversation, row);
    Ok(row.into())
}

/// Appends one group. The outer error ends the whole transaction; the inner one is this group's, which then has written nothing.
pub(super) fn append(
    conn: &mut SqliteConnection,
    recent: &mut Recent,
    group: &Append,
) -> StoreResult<StoreResult<Vec<Appended>>> {
    let stored = recent.head(conn, group.conversation)?;
    let before = stored.unwrap_or_default();
    let term = group.term.0.cast_signed();
    if term < before.term || from_seq(group.head) != before.head {
        return Ok(Err(StoreError::Fenced));
    }
    if !ids_grow(before.last_id, &group.events) {
        return Ok(Err(StoreError::Corrupt(format!("ids of conversation {} must grow", group.conversation))));
    }

    let mut tail = Tail { conversation: group.conversation, head: HeadRow { term, ..before }, recent };
    let mut results = Vec::with_capacity(group.events.len());
    for event in &group.events {
        results.push(tail.append(conn, event)?);
        // Not only at the group's end: a sender's total is looked for in the events past the checkpoint.
        if tail.head.head - tail.head.checkpoint >= DISTANCE_EVENTS {
            tail.head = checkpoint::store(conn, group.conversation, tail.head)?;
        }
    }
    let mut head = tail.head;
    if head.head > before.head {
        // The term and the time of a log's first event are in no event, only in the head's row.
        let beside_events = stored.is_none_or(|stored| term > stored.term || stored.oldest_at_ms.is_none());
        if beside_events {
            head = checkpoint::store(conn, group.conversation, head)?;
        }
        recent.set_head(group.conversation, head);
    }
    Ok(Ok(results))
}

/// Says whether each id is greater than the one before it, on which `find` relies.
fn ids_grow(last: i64, events: &[NewEvent]) -> bool {
    let mut last = last;
    events.iter().all(|event| std::mem::replace(&mut last, event.id.0) < event.id.0)
}

/// Returns what tells a repeat's text from another: the first half of its SHA-256.
fn digest(content: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(content.as_bytes())[..16]);
    half
}

/// The end of one log while a group is appended to it.
struct Tail<'r> {
    conversation: ConversationId,
    head: HeadRow,
    recent: &'r mut Recent,
}

impl Tail<'_> {
    fn append(&mut self, conn: &mut SqliteConnection, event: &NewEvent) -> StoreResult<Appended> {
        match &event.body {
            NewBody::Message { client_id, content } => self.append_message(conn, event, *client_id, content),
            NewBody::Edited { target_seq, content } => self.append_change(conn, event, *target_seq, Some(content)),
            NewBody::Deleted { target_seq } => self.append_change(conn, event, *target_seq, None),
            NewBody::Joined => self.append_plain(conn, event, kind::JOINED, EventBody::Joined),
            NewBody::Left => self.append_plain(conn, event, kind::LEFT, EventBody::Left),
        }
    }

    fn append_message(
        &mut self,
        conn: &mut SqliteConnection,
        event: &NewEvent,
        client_id: Option<Uuid>,
        content: &std::sync::Arc<str>,
    ) -> StoreResult<Appended> {
        let (conversation, sender) = (self.conversation.0, event.sender.0);
        // Only a repeat is ever compared, and only a client's id tells that something is one.
        let mut first_digest = None;
        if let Some(id) = &client_id {
            let seq = self.head.head + 1;
            let noted =
                NoteMessageId { conversation, sender, client_id: id.as_bytes(), seq }.execute(conn).map_err(fault)?;
            let digest = digest(content);
            if noted == 0 {
                return self.duplicate(conn, event, id, &digest);
            }
            first_digest = Some(digest);
        }
        let own = self.count_own(conn, event)?;
        self.head.messages += 1;
        let body =
            EventBody::Message(MessageBody { client_id, content: content.clone(), edited_at_ms: None, deleted: false });
        let mut row = self.next_row(event, kind::MESSAGE, own);
        row.client_id = client_id.as_ref().map(|id| id.as_bytes().as_slice());
        row.content = content;
        row.content_digest = first_digest.as_ref().map(<[u8; 16]>::as_slice);
        row.execute(conn).map_err(fault)?;
        Ok(Appended::New { event: self.appended(event, own, body), target: None })
    }

    /// Answers a repeat with the row of the first.
    fn duplicate(
        &self,
        conn: &mut SqliteConnection,
        event: &NewEvent,
        client_id: &Uuid,
        digest: &[u8],
    ) -> StoreResult<Appended> {
        let seq: i64 = message_ids::table
            .filter(message_ids::conversation.eq(self.conversation.0))
            .filter(message_ids::sender.eq(event.sender.0))
            .filter(message_ids::client_id.eq(client_id.as_bytes().as_slice()))
            .select(message_ids::seq)
            .get_result(conn)
            .map_err(fault)?;
        let first = self.stored(conn, to_seq(seq))?.ok_or_else(|| {
            StoreError::Corrupt(format!(
                "conversation {} knows an id of event {seq} but not the event",
                self.conversation
            ))
        })?;
        let stored: Option<Vec<u8>> = events::table
            .filter(events::conversation.eq(self.conversation.0))
            .filter(events::seq.eq(seq))
            .select(events::content_digest)
            .get_result(conn)
            .map_err(fault)?;
        Ok(Appended::Duplicate { event: first.into_event()?, same_body: stored.as_deref() == Some(digest) })
    }

    /// Appends an edit (with its text) or a deletion, and changes the target's row.
    fn append_change(
        &mut self,
        conn: &mut SqliteConnection,
        event: &NewEvent,
        target_seq: Seq,
        content: Option<&str>,
    ) -> StoreResult<Appended> {
        let target = self.stored(conn, target_seq)?.filter(|row| row.kind == kind::MESSAGE && !row.deleted);
        let Some(mut target) = target else {
            return Ok(Appended::NoTarget);
        };
        let (conversation, seq) = (self.conversation.0, target.seq);
        let (kind, body) = match content {
            Some(content) => {
                let edited_at_ms = event.at_ms;
                EditMessage { content, edited_at_ms, conversation, seq }.execute(conn).map_err(fault)?;
                target.content = content.to_owned();
                target.edited_at_ms = Some(edited_at_ms);
                (kind::EDITED, EventBody::Edited { target: EventId(target.id), target_seq })
            }
            None => {
                DeleteMessage { conversation, seq }.execute(conn).map_err(fault)?;
                target.content.clear();
                target.deleted = true;
                (kind::DELETED, EventBody::Deleted { target: EventId(target.id), target_seq })
            }
        };
        let own = self.own_total(conn, event)?;
        let mut row = self.next_row(event, kind, own);
        row.target_seq = Some(target.seq);
        row.target_id = Some(target.id);
        row.execute(conn).map_err(fault)?;
        let event = self.appended(event, own, body);
        Ok(Appended::New { event, target: Some(target.into_event()?) })
    }

    fn append_plain(
        &mut self,
        conn: &mut SqliteConnection,
        event: &NewEvent,
        kind: i16,
        body: EventBody,
    ) -> StoreResult<Appended> {
        let own = self.own_total(conn, event)?;
        self.next_row(event, kind, own).execute(conn).map_err(fault)?;
        Ok(Appended::New { event: self.appended(event, own, body), target: None })
    }

    /// Advances the head to this event and returns its row, still without text and target.
    fn next_row<'a>(&mut self, event: &'a NewEvent, kind: i16, own: i64) -> InsertEvent<'a> {
        self.head.head += 1;
        self.head.last_id = event.id.0;
        self.head.last_at_ms = event.at_ms;
        // If there was none, `oldest_seq` was head + 1 all the time, which is where this event goes.
        self.head.oldest_at_ms.get_or_insert(event.at_ms);
        InsertEvent {
            conversation: self.conversation.0,
            seq: self.head.head,
            id: event.id.0,
            at_ms: event.at_ms,
            kind,
            sender: event.sender.0,
            sender_name: &event.sender_name,
            messages: self.head.messages,
            own,
            client_id: None,
            content: "",
            content_digest: None,
            target_seq: None,
            target_id: None,
        }
    }

    /// Returns the event that the head was just advanced to.
    fn appended(&self, event: &NewEvent, own: i64, body: EventBody) -> LogEvent {
        LogEvent {
            seq: to_seq(self.head.head),
            id: event.id,
            at_ms: event.at_ms,
            sender: event.sender,
            sender_name: event.sender_name.clone(),
            messages: self.head.messages.cast_unsigned(),
            own: own.cast_unsigned(),
            body,
        }
    }

    fn stored(&self, conn: &mut SqliteConnection, seq: Seq) -> StoreResult<Option<EventRow>> {
        rows::event(conn, self.conversation, seq)
    }

    fn own_total(&self, conn: &mut SqliteConnection, event: &NewEvent) -> StoreResult<i64> {
        self.recent.own(conn, self.conversation, self.head.checkpoint, event.sender)
    }

    /// Counts one more message of the sender; returns the new total, which the message's row stores.
    fn count_own(&mut self, conn: &mut SqliteConnection, event: &NewEvent) -> StoreResult<i64> {
        let own = self.own_total(conn, event)? + 1;
        self.recent.set_own(self.conversation, event.sender, own);
        Ok(own)
    }
}
