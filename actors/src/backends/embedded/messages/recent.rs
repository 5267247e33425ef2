//! Heads and totals of the conversations written to last, so that an append needn't read what was written a moment ago.
//!
//! There is one per database, beside its writer; the directory's lock keeps every other process away. Invariant: it holds nothing but what
//! the store holds, in checkpoints and events together. Whoever moves a head, a checkpoint or a total notes it here or forgets, and
//! after a transaction that failed everything is forgotten.

use std::sync::{Arc, Mutex, PoisonError};

use chinwag_schema::ids::{ConversationId, UserId};
use diesel::SqliteConnection;
use rustc_hash::FxHashMap;

use super::{
    super::Database,
    rows::{self, HeadRow},
};
use crate::ports::StoreResult;

/// Heads, and totals, that are kept: some 5 MiB. Beyond it all are forgotten and those in use come back.
const ENTRIES_MAX: usize = 65_536;

/// What was written last.
#[derive(Default)]
pub(in super::super) struct Recent {
    heads: FxHashMap<ConversationId, HeadRow>,
    own: FxHashMap<(ConversationId, UserId), i64>,
}

/// [`Recent`], shared with the writer's thread.
pub(in super::super) type SharedRecent = Arc<Mutex<Recent>>;

impl Recent {
    /// Returns the head of a conversation; `None` when it was never written to.
    pub(super) fn head(
        &self,
        conn: &mut SqliteConnection,
        conversation: ConversationId,
    ) -> StoreResult<Option<HeadRow>> {
        match self.heads.get(&conversation) {
            Some(head) => Ok(Some(*head)),
            None => rows::head(conn, conversation),
        }
    }

    /// Notes the head that was just written.
    pub(super) fn set_head(&mut self, conversation: ConversationId, head: HeadRow) {
        if self.heads.len() >= ENTRIES_MAX {
            self.heads.clear();
        }
        self.heads.insert(conversation, head);
    }

    /// Returns how many messages the user has sent in the conversation, whose checkpoint is this.
    pub(super) fn own(
        &self,
        conn: &mut SqliteConnection,
        conversation: ConversationId,
        checkpoint: i64,
        sender: UserId,
    ) -> StoreResult<i64> {
        match self.own.get(&(conversation, sender)) {
            Some(own) => Ok(*own),
            None => Ok(rows::own_total(conn, conversation, checkpoint, sender)?.cast_signed()),
        }
    }

    /// Notes the total that was just written.
    pub(super) fn set_own(&mut self, conversation: ConversationId, sender: UserId, own: i64) {
        if self.own.len() >= ENTRIES_MAX {
            self.own.clear();
        }
        self.own.insert((conversation, sender), own);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How a transaction of the log is made durable.
pub(super) enum Durability {
    /// As [`Database::write`].
    Synced,
    /// As [`Database::write_relaxed`].
    Relaxed,
}

/// Runs one write transaction with what was written last at hand.
pub(super) async fn write<R: Send + 'static>(
    database: &Database,
    durability: Durability,
    work: impl FnOnce(&mut SqliteConnection, &mut Recent) -> StoreResult<R> + Send + 'static,
) -> StoreResult<R> {
    let recent = database.recent().clone();
    let settled = recent.clone();
    let work =
        move |conn: &mut SqliteConnection| work(conn, &mut recent.lock().unwrap_or_else(PoisonError::into_inner));
    // On the writer's thread, before the next transaction can begin there.
    let settle = move |failed: bool| {
        if failed {
            settled.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    };
    match durability {
        Durability::Synced => database.write_then(work, settle).await,
        Durability::Relaxed => database.write_relaxed_then(work, settle).await,
    }
}
