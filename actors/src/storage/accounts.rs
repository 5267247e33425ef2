//! The account storage actor: runs calls of the [`AccountStore`], and gathers cursor moves.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits::storage::{CURSOR_FLUSH, CURSORS_WAITING_MAX, READS_IN_FLIGHT_MAX},
    model::{Cursor, Membership, Name, User},
};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::call::{self, Call};
use crate::{
    breaker::{Breaker, BreakerGauge, Side},
    message_kinds,
    metrics::StorageMetrics,
    ports::{
        StoreError, StoreResult,
        account_store::{AccountStore, Recall},
    },
    runtime::{Behaviour, Cx, Kind, Mailbox},
};

/// What the actor is told.
pub enum AccountMessage {
    Call(Call<dyn AccountStore>),
    Ran {
        name: &'static str,
        since: Instant,
        healthy: bool,
    },
    /// There are cursor moves to write.
    CursorsMoved,
    FlushCursors,
    CursorsWritten(StoreResult<()>),
}

message_kinds!(AccountMessage { Call, Ran, CursorsMoved, FlushCursors, CursorsWritten });

type Gathered = FxHashMap<(ConversationId, UserId), Cursor>;

/// Cursor moves not yet written; read beside the store, so that nobody sees an old pointer.
#[derive(Default)]
struct Gather {
    waiting: Gathered,
    writing: Gathered,
}

/// The handle to account storage. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    mailbox: Mailbox<AccountMessage>,
    gather: Arc<Mutex<Gather>>,
    /// For what it remembers; whatever may reach the store itself goes through the actor.
    store: Arc<dyn AccountStore>,
}

impl Accounts {
    /// Makes the handle and what the actor keeps.
    pub fn start(
        runtime: &Arc<crate::runtime::Runtime>,
        worker: usize,
        store: Arc<dyn AccountStore>,
        gauge: Arc<BreakerGauge>,
        metrics: Arc<StorageMetrics>,
    ) -> Self {
        let gather = Arc::<Mutex<Gather>>::default();
        let (reads, writes) = (Breaker::new(gauge.clone(), Side::Reads), Breaker::new(gauge, Side::Writes));
        let keep = AccountKeep { store: store.clone(), gather: gather.clone(), reads, writes, metrics };
        Self { mailbox: runtime.spawn::<AccountStorage>(worker, move || keep), gather, store }
    }

    /// Runs an operation of the store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the actor's mailbox is full, the breaker is open or the deadline passed; else the store's.
    pub async fn call<T, F>(
        &self,
        name: &'static str,
        operation: impl FnOnce(Arc<dyn AccountStore>) -> F + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = StoreResult<T>> + Send,
    {
        let (call, receiver) = call::call(name, operation);
        if self.mailbox.tell(AccountMessage::Call(call)).is_err() {
            return Err(StoreError::Unavailable("account storage has too much to do".into()));
        }
        call::result(receiver).await
    }

    /// Returns the id of the account of a name, for whoever writes to it. Names that the store remembers don't count as its answers: they
    /// say nothing about its health.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn user_id(&self, name: Name) -> StoreResult<Option<UserId>> {
        match self.store.recall_user(&name).await {
            Recall::User(id) => Ok(Some(id)),
            Recall::Nobody => Ok(None),
            Recall::Unknown => {
                let found = self.call("user_by_name", move |store| async move { store.user_by_name(&name).await });
                Ok(found.await?.map(|user| user.id))
            }
        }
    }

    /// Notes cursors; they are written within [`CURSOR_FLUSH`]. Reads through this handle see them at once.
    pub fn move_cursor(&self, conversation: ConversationId, user: UserId, cursor: Cursor) -> StoreResult<()> {
        let mut gather = self.gather.lock().unwrap_or_else(PoisonError::into_inner);
        if gather.waiting.len() >= CURSORS_WAITING_MAX {
            return Err(StoreError::Unavailable("too many cursors wait to be written".into()));
        }
        let first = gather.waiting.is_empty();
        let place = gather.waiting.entry((conversation, user)).or_default();
        *place = place.further(cursor);
        drop(gather);
        if first {
            // Past the bound: one at a time, and it must not be lost.
            let _ = self.mailbox.tell_always(AccountMessage::CursorsMoved);
        }
        Ok(())
    }

    /// Reads a page of a user's memberships, with cursors as of now.
    pub async fn memberships(&self, user: UserId, after: ConversationId, limit: usize) -> StoreResult<Vec<Membership>> {
        let mut page =
            self.call("memberships", move |store| async move { store.memberships(user, after, limit).await }).await?;
        for membership in &mut page {
            membership.cursor = self.freshest(membership.conversation.id, user, membership.cursor);
        }
        Ok(page)
    }

    /// Reads a page of a user's memberships, and the accounts of the user and of the others of its one-to-one chats; both in one call,
    /// because every user who connects needs them.
    pub async fn memberships_and_users(
        &self,
        user: UserId,
        after: ConversationId,
        limit: usize,
    ) -> StoreResult<(Vec<Membership>, Vec<User>)> {
        let read =
            self.call("memberships", move |store| async move { store.memberships_and_users(user, after, limit).await });
        let (mut page, users) = read.await?;
        for membership in &mut page {
            membership.cursor = self.freshest(membership.conversation.id, user, membership.cursor);
        }
        Ok((page, users))
    }

    /// Reads a member's cursor as of now.
    pub async fn cursor(&self, conversation: ConversationId, user: UserId) -> StoreResult<Cursor> {
        let stored = self.call("cursor", move |store| async move { store.cursor(conversation, user).await }).await?;
        Ok(self.freshest(conversation, user, stored))
    }

    fn freshest(&self, conversation: ConversationId, user: UserId, stored: Cursor) -> Cursor {
        let gather = self.gather.lock().unwrap_or_else(PoisonError::into_inner);
        [&gather.writing, &gather.waiting]
            .into_iter()
            .filter_map(|cursors| cursors.get(&(conversation, user)))
            .fold(stored, |cursor, &moved| cursor.further(moved))
    }

    /// Writes the gathered cursors now and waits for it (drain).
    pub async fn flush_cursors(&self) -> StoreResult<()> {
        let cursors: Vec<_> = {
            let gather = self.gather.lock().unwrap_or_else(PoisonError::into_inner);
            let all = gather.writing.iter().chain(&gather.waiting);
            all.map(|(&(conversation, user), &cursor)| (conversation, user, cursor)).collect()
        };
        if cursors.is_empty() {
            return Ok(());
        }
        self.call("put_cursors", move |store| async move { store.put_cursors(&cursors).await }).await
    }
}

/// What the actor works with, and what outlives a panic.
pub struct AccountKeep {
    store: Arc<dyn AccountStore>,
    gather: Arc<Mutex<Gather>>,
    reads: Breaker,
    writes: Breaker,
    metrics: Arc<StorageMetrics>,
}

impl AccountKeep {
    fn breaker_of(&mut self, operation: &str) -> &mut Breaker {
        match call::side_of(operation) {
            Side::Reads => &mut self.reads,
            Side::Writes => &mut self.writes,
        }
    }
}

/// The account storage actor. Mailbox bound 16,384 calls, of which 64 are in flight; when full, callers hear 'unavailable'.
/// A restart drops the calls that wait (their callers hear 'unavailable') and keeps gathered cursors.
pub struct AccountStorage {
    waiting: VecDeque<Call<dyn AccountStore>>,
    in_flight: usize,
}

/// Calls that wait inside the actor; further ones stay in the mailbox's account of what is refused.
const WAITING_MAX: usize = 16_384;

impl Behaviour for AccountStorage {
    type Message = AccountMessage;
    type Keep = AccountKeep;
    const KIND: Kind = "account_storage";
    const MAILBOX: usize = 16_384;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        // Whatever a rebuilt actor was writing is written again: cursors only move forward.
        let mut gather = cx.keep.gather.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = std::mem::take(&mut gather.writing);
        for (key, cursor) in lost {
            let place = gather.waiting.entry(key).or_default();
            *place = place.further(cursor);
        }
        if !gather.waiting.is_empty() {
            cx.after(CURSOR_FLUSH, AccountMessage::FlushCursors);
        }
        drop(gather);
        Self { waiting: VecDeque::new(), in_flight: 0 }
    }

    fn handle(&mut self, message: AccountMessage, cx: &mut Cx<'_, Self>) {
        match message {
            AccountMessage::Call(call) => {
                let now = cx.now();
                // Dropping the call tells its caller.
                if cx.keep.breaker_of(call.name).admits(now) && self.waiting.len() < WAITING_MAX {
                    self.waiting.push_back(call);
                }
            }
            AccountMessage::Ran { name, since, healthy } => {
                self.in_flight -= 1;
                cx.keep.metrics.call(name, since.elapsed(), healthy);
                let now = cx.now();
                if healthy {
                    cx.keep.breaker_of(name).succeeded();
                } else {
                    let breaker = cx.keep.breaker_of(name);
                    breaker.failed(now);
                    if !breaker.admits(now) {
                        // It has just opened: what waits would only wait for its deadline. Dropping a call tells its caller.
                        self.waiting.retain(|call| call::side_of(call.name) != call::side_of(name));
                    }
                }
            }
            AccountMessage::CursorsMoved => cx.after(CURSOR_FLUSH, AccountMessage::FlushCursors),
            AccountMessage::FlushCursors => flush(cx),
            AccountMessage::CursorsWritten(result) => {
                let mut gather = cx.keep.gather.lock().unwrap_or_else(PoisonError::into_inner);
                let written = std::mem::take(&mut gather.writing);
                if let Err(error) = result {
                    tracing::warn!(%error, cursors = written.len(), "cursors not stored yet");
                    for (key, cursor) in written {
                        let place = gather.waiting.entry(key).or_default();
                        *place = place.further(cursor);
                    }
                }
                if !gather.waiting.is_empty() {
                    cx.after(CURSOR_FLUSH, AccountMessage::FlushCursors);
                }
            }
        }
        while self.in_flight < READS_IN_FLIGHT_MAX {
            let Some(call) = self.waiting.pop_front() else { break };
            self.in_flight += 1;
            let (name, since) = (call.name, Instant::now());
            cx.pipe(call.run(cx.keep.store.clone()), move |healthy| AccountMessage::Ran { name, since, healthy });
        }
    }

    fn observe(&self, keep: &AccountKeep) -> Value {
        let gather = keep.gather.lock().unwrap_or_else(PoisonError::into_inner);
        json!({"in_flight": self.in_flight, "waiting": self.waiting.len(), "cursors_waiting": gather.waiting.len()})
    }
}

fn flush(cx: &mut Cx<'_, AccountStorage>) {
    let cursors: Vec<_> = {
        let mut gather = cx.keep.gather.lock().unwrap_or_else(PoisonError::into_inner);
        if !gather.writing.is_empty() || gather.waiting.is_empty() {
            return;
        }
        gather.writing = std::mem::take(&mut gather.waiting);
        gather.writing.iter().map(|(&(conversation, user), &cursor)| (conversation, user, cursor)).collect()
    };
    let store = cx.keep.store.clone();
    cx.pipe(
        async move {
            tokio::time::timeout(chinwag_schema::limits::storage::DEADLINE, store.put_cursors(&cursors))
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("put_cursors did not answer".into())))
        },
        AccountMessage::CursorsWritten,
    );
}
