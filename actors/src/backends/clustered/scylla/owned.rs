//! What is known of logs that this process wrote last, so that an append needn't read what it wrote a moment ago.
//!
//! Invariant: it is never believed alone. An append says which term and head it relies on, and the servers compare; whatever is known at
//! that term and head follows from the events up to there, which nobody else can have written. A log that turns out to be otherwise is
//! forgotten and loaded again.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::cql::{KNOWN_LOGS_MAX, KNOWN_SENDERS_MAX},
};
use rustc_hash::FxHashMap;

/// The end of a log as its owner knows it.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    pub term: i64,
    /// The bucket of the newest event; 0 before the first.
    pub bucket: i64,
    pub head: i64,
    pub messages: i64,
    pub last_id: i64,
    pub last_at_ms: i64,
    /// Time of the bucket's first event.
    pub first_at_ms: Option<i64>,
    /// Claimed under this term up to and including this bucket.
    pub claimed: i64,
    /// What `logs.head_bucket` says; `None`: the log isn't known there yet.
    pub hint: Option<i64>,
    pub expiring: bool,
    /// Tells this loading of the log from others: senders are known per loading.
    pub loading: u64,
}

/// What is known of a sender.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sender {
    pub own: i64,
    /// The newest bucket with events of theirs, and a time not after the first of them there.
    pub newest: Option<(i64, i64)>,
}

/// All that is known.
#[derive(Default)]
pub(super) struct Owned {
    logs: Mutex<FxHashMap<ConversationId, Tail>>,
    senders: Mutex<FxHashMap<(u64, UserId), Sender>>,
    loadings: AtomicU64,
}

impl Owned {
    /// Takes a log out. Whoever took it puts it back if it knows how the write ended; given up in between, it is forgotten.
    pub(super) fn take(&self, conversation: ConversationId) -> Option<Tail> {
        lock(&self.logs).remove(&conversation)
    }

    pub(super) fn forget(&self, conversation: ConversationId) {
        lock(&self.logs).remove(&conversation);
    }

    pub(super) fn put(&self, conversation: ConversationId, tail: Tail) {
        let mut logs = lock(&self.logs);
        // Those in use come back.
        if logs.len() >= KNOWN_LOGS_MAX {
            logs.clear();
        }
        logs.insert(conversation, tail);
    }

    /// Returns a number for a loading.
    pub(super) fn loading(&self) -> u64 {
        self.loadings.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn sender(&self, loading: u64, sender: UserId) -> Option<Sender> {
        lock(&self.senders).get(&(loading, sender)).copied()
    }

    pub(super) fn put_sender(&self, loading: u64, sender: UserId, known: Sender) {
        let mut senders = lock(&self.senders);
        if senders.len() >= KNOWN_SENDERS_MAX {
            senders.clear();
        }
        senders.insert((loading, sender), known);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
