//! Appending one group.
//!
//! A group is divided where a bucket ends, and where a batch would get too large; each piece is planned (what is a repeat, which totals,
//! which targets), then written by one conditional batch. So a group that is refused in the middle may have left its first events, in
//! order: as if they had been a group of their own.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits::cql::{BATCH_MAX_BYTES, READS_AT_ONCE},
};

use super::{
    log::Log,
    owned::{Sender, Tail},
    repeats::Repeats,
    rows::{EventRow, digest, from_seq, to_seq, what},
    server::at_once,
};
use crate::ports::{
    StoreError, StoreResult,
    message_store::{Append, Appended, NewBody, NewEvent},
};

/// What was read for a piece, before it is planned.
struct Known {
    senders: HashMap<i64, Sender>,
    repeats: Repeats,
    /// Rows of repeats' firsts and of targets.
    rows: HashMap<i64, EventRow>,
}

/// One batch: events that follow each other in one bucket.
pub(super) struct Piece {
    pub bucket: i64,
    /// New events, as they will be stored.
    pub rows: Vec<EventRow>,
    /// Stored messages that they change, as they stand then.
    pub changed: BTreeMap<i64, EventRow>,
    /// Their senders.
    pub senders: BTreeMap<i64, Sender>,
    results: Vec<Appended>,
    bytes: usize,
}

impl Piece {
    /// Makes one of rows that need no more planning, with what is known of their senders then.
    pub(super) fn of(bucket: i64, rows: Vec<EventRow>, senders: BTreeMap<i64, Sender>) -> Self {
        Self { bucket, rows, changed: BTreeMap::new(), senders, results: Vec::new(), bytes: 0 }
    }
}

impl Log {
    /// Appends one group.
    pub(super) async fn append(&self, group: &Append) -> StoreResult<Vec<Appended>> {
        let conversation = group.conversation;
        let fits = |tail: &Tail| tail.term.cast_unsigned() == group.term.0 && to_seq(tail.head) == group.head;
        let mut tail = match self.owned.take(conversation).filter(fits) {
            Some(tail) => tail,
            None => self.load(conversation, group.term).await?.0,
        };
        if !fits(&tail) {
            self.owned.put(conversation, tail);
            return Err(StoreError::Fenced);
        }
        if !ids_grow(tail.last_id, &group.events) {
            self.owned.put(conversation, tail);
            return Err(StoreError::Corrupt(format!("ids of conversation {conversation} must grow")));
        }
        let mut results = Vec::with_capacity(group.events.len());
        while results.len() < group.events.len() {
            let piece = self.plan(conversation, &tail, &group.events[results.len()..]).await?;
            if !piece.rows.is_empty() {
                // On an error the tail is dropped: the next append reads how things stand.
                self.write(conversation, &mut tail, &piece).await?;
            }
            results.extend(piece.results);
        }
        self.owned.put(conversation, tail);
        Ok(results)
    }

    /// Plans as many of the events as one batch takes.
    async fn plan(&self, conversation: ConversationId, tail: &Tail, events: &[NewEvent]) -> StoreResult<Piece> {
        // In the bucket of the head, or in the next when that one is full.
        let bucket = self.buckets.of(tail.head + 1);
        let room = usize::try_from(self.buckets.last(bucket) - tail.head).unwrap_or(usize::MAX);
        let known = self.look_up(conversation, tail, events).await?;
        let mut piece = Piece {
            bucket,
            rows: Vec::new(),
            changed: BTreeMap::new(),
            senders: BTreeMap::new(),
            results: Vec::new(),
            bytes: 0,
        };
        let mut planner = Planner { log: self, tail, known, piece: &mut piece };
        for event in events {
            if planner.piece.rows.len() >= room || planner.piece.bytes >= BATCH_MAX_BYTES {
                break;
            }
            planner.plan(event)?;
        }
        Ok(piece)
    }

    /// Reads what planning needs: totals of the senders, ids that are stored, rows of targets and of repeats' firsts.
    async fn look_up(&self, conversation: ConversationId, tail: &Tail, events: &[NewEvent]) -> StoreResult<Known> {
        let mut senders = HashMap::new();
        let mut unknown = Vec::new();
        for event in events {
            if let Entry::Vacant(entry) = senders.entry(event.sender.0) {
                let known = self.owned.sender(tail.loading, event.sender).or((tail.head == 0).then(Sender::default));
                if known.is_none() {
                    unknown.push(event.sender);
                }
                entry.insert(known.unwrap_or_default());
            }
        }
        let calls = unknown.iter().map(|user| self.sender(conversation, *user)).collect();
        for (user, sender) in unknown.iter().zip(at_once(READS_AT_ONCE, calls).await) {
            let sender = sender?;
            self.owned.put_sender(tail.loading, *user, sender);
            senders.insert(user.0, sender);
        }
        let repeats = self.repeats(conversation, tail, events, &senders).await?;
        let targets = events.iter().filter_map(|event| match event.body {
            NewBody::Edited { target_seq, .. } | NewBody::Deleted { target_seq } => Some(from_seq(target_seq)),
            _ => None,
        });
        let mut wanted: Vec<_> = targets.chain(repeats.values().copied()).collect();
        wanted.retain(|seq| (1..=tail.head).contains(seq));
        wanted.sort_unstable();
        wanted.dedup();
        // Not as a reader would: all changes up to the head are in their targets (`changes`).
        let calls = wanted.iter().map(|seq| self.stored_event(conversation, *seq)).collect();
        let mut rows = HashMap::new();
        for row in at_once(READS_AT_ONCE, calls).await {
            rows.extend(row?.map(|row| (row.seq, row)));
        }
        Ok(Known { senders, repeats, rows })
    }

    /// Reads what is known of a sender.
    async fn sender(&self, conversation: ConversationId, user: UserId) -> StoreResult<Sender> {
        let found = self.own_below(conversation, user, i64::MAX).await?;
        Ok(found.map_or_else(Sender::default, |(own, bucket, first_at_ms)| Sender {
            own,
            newest: Some((bucket, first_at_ms)),
        }))
    }
}

/// Decides what becomes of each event of a piece. Reads nothing.
struct Planner<'a> {
    log: &'a Log,
    tail: &'a Tail,
    known: Known,
    piece: &'a mut Piece,
}

impl Planner<'_> {
    fn plan(&mut self, event: &NewEvent) -> StoreResult<()> {
        let appended = match &event.body {
            NewBody::Message { client_id, content } => {
                let first = client_id.and_then(|id| self.first(event.sender, id));
                if let Some(first) = first {
                    let same_body = first.digest.as_ref() == Some(&digest(content));
                    Appended::Duplicate { event: first.event()?, same_body }
                } else {
                    let mut row = self.next_row(event, what::MESSAGE);
                    row.client_id = *client_id;
                    row.digest = client_id.map(|_| digest(content));
                    row.content = content.clone();
                    row.has_text = true;
                    self.push(row, None)?
                }
            }
            NewBody::Edited { target_seq, content } => self.plan_change(event, *target_seq, Some(content))?,
            NewBody::Deleted { target_seq } => self.plan_change(event, *target_seq, None)?,
            NewBody::Joined => {
                let row = self.next_row(event, what::JOINED);
                self.push(row, None)?
            }
            NewBody::Left => {
                let row = self.next_row(event, what::LEFT);
                self.push(row, None)?
            }
        };
        self.piece.results.push(appended);
        Ok(())
    }

    /// Returns the message that has this id, in the log or in this piece.
    fn first(&self, sender: UserId, id: uuid::Uuid) -> Option<&EventRow> {
        let new = self.piece.rows.iter().find(|row| row.client_id == Some(id) && row.sender == sender.0);
        new.or_else(|| {
            let seq = self.known.repeats.get(&(sender.0, id))?;
            self.piece.changed.get(seq).or_else(|| self.known.rows.get(seq))
        })
    }

    fn plan_change(
        &mut self,
        event: &NewEvent,
        target_seq: Seq,
        content: Option<&std::sync::Arc<str>>,
    ) -> StoreResult<Appended> {
        let target_seq = from_seq(target_seq);
        let seq = self.next_seq();
        let Some(target) = self.target(target_seq) else { return Ok(Appended::NoTarget) };
        target.change(seq, content.map(|content| (content, event.at_ms)));
        let target = target.clone();
        let mut row = self.next_row(event, if content.is_some() { what::EDITED } else { what::DELETED });
        row.target = Some((target.seq, target.id));
        if let Some(content) = content.filter(|_| self.log.is_elsewhere(&row)) {
            row.content = content.clone();
            row.has_text = true;
        }
        self.push(row, Some(target))
    }

    /// Returns the message to change, in this piece or among those to be changed.
    fn target(&mut self, seq: i64) -> Option<&mut EventRow> {
        if seq > self.tail.head {
            let at = usize::try_from(seq - self.tail.head - 1).ok()?;
            return self.piece.rows.get_mut(at).filter(|row| row.is_changeable());
        }
        if !self.piece.changed.contains_key(&seq) {
            let row = self.known.rows.get(&seq).filter(|row| row.is_changeable())?;
            self.piece.changed.insert(seq, row.clone());
        }
        self.piece.changed.get_mut(&seq).filter(|row| row.is_changeable())
    }

    fn next_seq(&self) -> i64 {
        self.tail.head + self.piece.rows.len() as i64 + 1
    }

    /// Returns the row of the next event, yet without text and target, and counts it.
    fn next_row(&mut self, event: &NewEvent, what: i8) -> EventRow {
        let counts = i64::from(what == what::MESSAGE);
        let (bucket, seq) = (self.piece.bucket, self.next_seq());
        let known = self.known.senders.get(&event.sender.0).copied().unwrap_or_default();
        let sender = self.piece.senders.entry(event.sender.0).or_insert(known);
        sender.own += counts;
        if sender.newest.is_none_or(|(newest, _)| newest < bucket) {
            sender.newest = Some((bucket, event.at_ms));
        }
        let own = sender.own;
        let before = self.piece.rows.last().map_or(self.tail.messages, |row| row.messages);
        EventRow {
            seq,
            id: event.id.0,
            at_ms: event.at_ms,
            what,
            sender: event.sender.0,
            sender_name: event.sender_name.clone(),
            messages: before + counts,
            own,
            client_id: None,
            content: "".into(),
            has_text: false,
            digest: None,
            target: None,
            edited_at_ms: None,
            deleted: false,
            changed_seq: None,
            ttl_s: self.log.ttl_s,
        }
    }

    fn push(&mut self, row: EventRow, target: Option<EventRow>) -> StoreResult<Appended> {
        let event = row.event()?;
        let target = target.map(|target| target.event()).transpose()?;
        self.piece.bytes += row.content.len() + row.sender_name.len();
        self.piece.rows.push(row);
        Ok(Appended::New { event, target })
    }
}

/// Says whether each id is greater than the one before it, on which `find` relies.
fn ids_grow(mut last: i64, events: &[NewEvent]) -> bool {
    events.iter().all(|event| event.id.0 > std::mem::replace(&mut last, event.id.0))
}
