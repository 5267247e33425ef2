//! Messages that the server hasn't acknowledged yet, in memory and, so that they survive the end of the process however it comes, in a
//! [journal](journal). Sends nothing.

mod journal;

use std::{collections::BTreeMap, path::Path};

use chinwag_schema::ids::ConversationId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use journal::{Journal, Record};

/// Messages kept at most; beyond it writing more is refused.
pub const OUTBOX_MAX: usize = 500;

/// Where a message is to go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Conversation(ConversationId),
    /// The one-to-one chat with the user of this name, which is opened if need be.
    User(String),
}

impl From<ConversationId> for Destination {
    fn from(id: ConversationId) -> Self {
        Self::Conversation(id)
    }
}

impl From<&str> for Destination {
    fn from(name: &str) -> Self {
        Self::User(name.to_owned())
    }
}

/// How far a message of the outbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingState {
    /// It will be sent, again and again until there is an answer.
    Waiting,
    /// The server won't take it; why, for people. It isn't tried again by itself.
    Failed(String),
    /// The server has it; it goes from the outbox when the log has come that far.
    Stored,
}

/// A message of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// UUIDv7, of the time it was written.
    pub message_id: Uuid,
    pub to: Destination,
    pub content: String,
    /// Unix ms.
    pub written_at: i64,
    pub state: PendingState,
}

/// One user's unacknowledged messages, oldest first.
#[derive(Debug)]
pub struct Outbox {
    // UUIDv7 sort by the time they were made.
    items: BTreeMap<Uuid, Pending>,
    journal: Option<Journal>,
}

impl Outbox {
    /// Makes one that is forgotten with the process.
    pub fn in_memory() -> Self {
        Self { items: BTreeMap::new(), journal: None }
    }

    /// Opens the outbox in a directory, which is made if need be, mode 0700. Each process has a file of its own, held by a lock; what processes
    /// that ended have left is taken over, in the order in which it was written.
    ///
    /// # Errors
    /// When files can't be read, written or locked, or when eight processes use the directory already.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (journal, found) = Journal::open(directory)?;
        let items = found.into_iter().map(|item| (item.message_id, item)).collect();
        Ok(Self { items, journal: Some(journal) })
    }

    /// Returns the messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.items.values()
    }

    /// Returns a message.
    pub fn get(&self, message_id: Uuid) -> Option<&Pending> {
        self.items.get(&message_id)
    }

    /// Returns how many will still be sent by themselves.
    pub fn waiting(&self) -> usize {
        self.items.values().filter(|item| item.state == PendingState::Waiting).count()
    }

    /// Returns the newest id of those that will still be sent by themselves: a refused one may have been refused for its time.
    pub(crate) fn newest_waiting(&self) -> Option<Uuid> {
        self.items.values().rfind(|item| item.state == PendingState::Waiting).map(|item| item.message_id)
    }

    /// Returns the oldest message for each destination that has one waiting.
    pub(crate) fn heads(&self) -> BTreeMap<&Destination, &Pending> {
        let mut heads = BTreeMap::new();
        for item in self.items.values().filter(|item| item.state == PendingState::Waiting) {
            heads.entry(&item.to).or_insert(item);
        }
        heads
    }

    /// Keeps a message; it is on the disk when this returns.
    pub(crate) fn add(&mut self, item: Pending) -> Result<(), Error> {
        if self.items.len() >= OUTBOX_MAX {
            return Err(Error::OutboxFull);
        }
        if let Some(journal) = &mut self.journal {
            journal.append(&Record::Add(item.clone()), true)?;
        }
        self.items.insert(item.message_id, item);
        Ok(())
    }

    /// Forgets a message: it is in the log, or given up.
    pub(crate) fn remove(&mut self, message_id: Uuid) -> Option<Pending> {
        let item = self.items.remove(&message_id)?;
        if item.state != PendingState::Stored {
            self.note(&Record::Done(message_id));
        }
        Some(item)
    }

    /// Notes that the server has a message: it stays in memory only, until the log has come that far.
    pub(crate) fn stored(&mut self, message_id: Uuid) {
        let Some(item) = self.items.get_mut(&message_id) else { return };
        item.state = PendingState::Stored;
        self.note(&Record::Done(message_id));
    }

    /// Notes that the server won't take a message.
    pub(crate) fn fail(&mut self, message_id: Uuid, error: String) {
        let Some(item) = self.items.get_mut(&message_id) else { return };
        item.state = PendingState::Failed(error.clone());
        self.note(&Record::Fail { message_id, error });
    }

    /// Writes what does no harm when it is lost: the message is sent again then, under its id, and nothing comes of it.
    fn note(&mut self, record: &Record) {
        let Some(journal) = &mut self.journal else { return };
        let kept = self.items.values().filter(|item| item.state != PendingState::Stored);
        if journal.append(record, false).is_ok() && journal.is_long() {
            // A full disk: the long one goes on to serve.
            let _ = journal.rewrite(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u128, content: &str) -> Pending {
        let to = Destination::Conversation(ConversationId(7));
        let message_id = Uuid::from_u128(n);
        Pending { message_id, to, content: content.into(), written_at: 5, state: PendingState::Waiting }
    }

    fn contents(outbox: &Outbox) -> Vec<&str> {
        outbox.iter().map(|item| &*item.content).collect()
    }

    #[test]
    fn what_was_added_is_there_for_the_next_process_and_what_was_stored_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(directory.path()).unwrap();
        outbox.add(item(1, "one")).unwrap();
        outbox.add(item(2, "two")).unwrap();
        outbox.add(item(3, "three\n\"quoted\"")).unwrap();
        outbox.stored(Uuid::from_u128(1));
        assert_eq!(outbox.waiting(), 2);
        outbox.fail(Uuid::from_u128(2), "spam".into());
        outbox.add(item(4, "of a clock that is ahead")).unwrap();
        assert_eq!(outbox.newest_waiting(), Some(Uuid::from_u128(4)));
        outbox.fail(Uuid::from_u128(4), "message_id is of the future".into());
        assert_eq!(outbox.newest_waiting(), Some(Uuid::from_u128(3)));
        outbox.remove(Uuid::from_u128(4));
        drop(outbox);
        let outbox = Outbox::open(directory.path()).unwrap();
        assert_eq!(contents(&outbox), ["two", "three\n\"quoted\""]);
        assert_eq!(outbox.get(Uuid::from_u128(2)).unwrap().state, PendingState::Failed("spam".into()));
        assert_eq!(outbox.heads().values().map(|item| &*item.content).collect::<Vec<_>>(), ["three\n\"quoted\""]);
    }

    #[test]
    fn a_second_process_has_a_file_of_its_own_and_leaves_it_to_whoever_comes_next() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Outbox::open(directory.path()).unwrap();
        let mut second = Outbox::open(directory.path()).unwrap();
        first.add(item(1, "of the first")).unwrap();
        second.add(item(2, "of the second")).unwrap();
        assert_eq!((contents(&first), contents(&second)), (vec!["of the first"], vec!["of the second"]));
        drop(second);
        drop(first);
        let next = Outbox::open(directory.path()).unwrap();
        assert_eq!(contents(&next), ["of the first", "of the second"]);
        // They were moved, not copied.
        assert_eq!(contents(&Outbox::open(directory.path()).unwrap()), Vec::<&str>::new());
    }

    #[test]
    fn a_line_that_was_being_written_when_the_machine_stopped_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(directory.path()).unwrap();
        outbox.add(item(1, "whole")).unwrap();
        outbox.add(item(2, "torn")).unwrap();
        drop(outbox);
        let path = directory.path().join("outbox-0.jsonl");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        let mut outbox = Outbox::open(directory.path()).unwrap();
        assert_eq!(contents(&outbox), ["whole"]);
        outbox.add(item(3, "later")).unwrap();
        drop(outbox);
        assert_eq!(contents(&Outbox::open(directory.path()).unwrap()), ["whole", "later"]);
    }

    #[test]
    fn the_file_stays_short_and_the_outbox_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(directory.path()).unwrap();
        outbox.add(item(1, "stays")).unwrap();
        let text = "x".repeat(4000);
        for n in 2..100 {
            outbox.add(item(n, &text)).unwrap();
            outbox.remove(Uuid::from_u128(n));
        }
        assert!(std::fs::metadata(directory.path().join("outbox-0.jsonl")).unwrap().len() < 80_000);
        drop(outbox);
        let mut outbox = Outbox::open(directory.path()).unwrap();
        assert_eq!(contents(&outbox), ["stays"]);
        let mut full = Outbox::in_memory();
        for n in 0..OUTBOX_MAX as u128 {
            full.add(item(n, "x")).unwrap();
        }
        assert!(matches!(full.add(item(9999, "x")), Err(Error::OutboxFull)));
        outbox.remove(Uuid::from_u128(1));
        assert_eq!(outbox.iter().count(), 0);
    }
}
