//! One conversation of a store, beside a plain list of what was acknowledged of it.

use chinwag_actors::{
    backends::embedded::EmbeddedMessages,
    ports::message_store::{Append, Appended, Direction, Filter, MessageStore, NewEvent},
};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, EventId, Seq, Term, UserId},
    model::Head,
};
use tempfile::TempDir;

use super::{Stored, messages, open};
use crate::suite::message;

pub const HERE: ConversationId = ConversationId(1);
/// A conversation beside it, on which nothing of the first may rub off.
pub const NEXT: ConversationId = ConversationId(2);
pub const SENDERS: std::ops::RangeInclusive<i64> = 1..=5;

/// A store, and what it acknowledged of [`HERE`].
pub struct Acknowledged {
    pub stored: Stored<EmbeddedMessages>,
    pub term: Term,
    pub all: Vec<LogEvent>,
    /// How many of them retention removed.
    pub removed: usize,
}

impl Acknowledged {
    pub async fn new() -> Self {
        let stored = messages().await;
        stored.store.claim(HERE, Term(1)).await.unwrap();
        Self { stored, term: Term(1), all: Vec::new(), removed: 0 }
    }

    pub fn next_id(&self) -> i64 {
        self.all.last().map_or(0, |event| event.id.0) + 1000
    }

    pub async fn append(&mut self, events: Vec<NewEvent>) {
        let head = Seq(self.all.len() as u64);
        let group = Append { conversation: HERE, term: self.term, head, events };
        for appended in self.stored.store.append(vec![group]).await.unwrap().remove(0).unwrap() {
            let event = match appended {
                Appended::New { event, target: None } => event,
                Appended::New { event, target: Some(target) } => {
                    let at = target.seq.0 as usize - 1;
                    self.all[at] = target;
                    event
                }
                Appended::NoTarget => continue,
                Appended::Duplicate { .. } => panic!("{appended:?}"),
            };
            let mine = self.all.iter().filter(|one| one.sender == event.sender && one.body.is_message()).count();
            let messages = self.all.iter().filter(|one| one.body.is_message()).count();
            let more = usize::from(event.body.is_message());
            assert_eq!((event.messages, event.own), ((messages + more) as u64, (mine + more) as u64), "{event:?}");
            assert_eq!(event.seq.0, self.all.len() as u64 + 1);
            self.all.push(event);
        }
    }

    pub async fn say(&mut self, sender: i64) {
        let id = self.next_id();
        self.append(vec![message(id, sender, Some(id as u128), "text")]).await;
    }

    /// Removes the first `count` of all events.
    pub async fn retain(&mut self, count: usize, slice: usize) {
        let cutoff = self.all.get(count).map_or(i64::MAX, |event| event.at_ms);
        while self.stored.store.remove_older_than(cutoff, slice).await.unwrap() > 0 {
            self.removed = count.max(self.removed);
        }
    }

    pub fn head(&self) -> Head {
        let last = self.all.last();
        Head {
            seq: Seq(self.all.len() as u64),
            messages: last.map_or(0, |event| event.messages),
            oldest_seq: Seq(self.removed as u64 + 1),
            last_id: last.map_or(EventId(0), |event| event.id),
            last_at_ms: last.map_or(0, |event| event.at_ms),
        }
    }

    pub fn own(&self, user: i64) -> u64 {
        self.all.iter().filter(|event| event.sender == UserId(user) && event.body.is_message()).count() as u64
    }

    /// Compares what readers of the store see of heads and totals.
    pub async fn verify(&self, store: &EmbeddedMessages) {
        assert_eq!(store.heads(&[HERE, NEXT]).await.unwrap()[0], self.head());
        for user in SENDERS {
            assert_eq!(store.own_totals(UserId(user), &[HERE]).await.unwrap(), [self.own(user)], "user {user}");
            let totals = store.totals_at(HERE, UserId(user), Seq(u64::MAX)).await.unwrap();
            assert_eq!(totals, (self.head().messages, self.own(user)));
        }
    }

    /// Compares the events as well.
    pub async fn verify_all(&self, store: &EmbeddedMessages) {
        self.verify(store).await;
        let page = store.page(HERE, Direction::After(Seq::ZERO), 4000, Filter::All).await.unwrap();
        assert_eq!(page.events, self.all[self.removed..]);
        assert_eq!((page.complete, page.oldest_seq), (true, Seq(self.removed as u64 + 1)));
        for event in self.all[self.removed..].iter().rev().take(3) {
            assert_eq!(store.find(HERE, event.id).await.unwrap().as_ref(), Some(event));
        }
    }

    /// Opens the store anew. Neither end of it writes heads or totals.
    pub fn reopen(self) -> Self {
        let Self { stored: Stored { store, database, dir }, .. } = self;
        drop((store, database));
        let database = open(&dir);
        Self { stored: Stored { store: EmbeddedMessages::new(database.clone()), database, dir }, ..self }
    }

    /// Goes on with what a crash at this moment leaves.
    pub fn crash(self) -> Self {
        let dir = self.copy();
        let database = open(&dir);
        Self { stored: Stored { store: EmbeddedMessages::new(database.clone()), database, dir }, ..self }
    }

    /// Copies the files as they are. Nothing is appended meanwhile, so what the checkpointer moves into the database during the first
    /// copy is still in its log, which comes second.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in ["chinwag.db", "chinwag.db-wal"] {
            std::fs::copy(self.stored.dir.path().join(file), copy.path().join(file)).unwrap();
        }
        copy
    }
}
