//! The message storage actor: groups appends while one write is in flight, and runs reads beside it.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Instant};

use chinwag_schema::limits::storage::{APPENDS_WAITING_MAX, DEADLINE, GROUP_MAX_EVENTS, READS_IN_FLIGHT_MAX};
use serde_json::{Value, json};

use super::{
    call::{self, Call},
    pace::Pace,
};
use crate::{
    breaker::{Breaker, BreakerGauge, Side},
    conversation::messages::ConversationMessage,
    message_kinds,
    metrics::StorageMetrics,
    ports::{
        StoreError, StoreResult,
        message_store::{Append, Appended, MessageStore},
    },
    runtime::{Behaviour, Completion, Cx, Kind, Mailbox},
};

/// What the actor is told.
pub enum MessageMessage {
    /// Appends to one conversation; completed with `ConversationMessage::Appended`.
    Append {
        append: Append,
        done: Completion<ConversationMessage>,
    },
    Call(Call<dyn MessageStore>),
    Written {
        results: StoreResult<Vec<StoreResult<Vec<Appended>>>>,
        since: Instant,
        events: usize,
    },
    /// What gathers has waited long enough.
    Lingered,
    Ran {
        name: &'static str,
        since: Instant,
        healthy: bool,
    },
}

message_kinds!(MessageMessage { Append, Call, Written, Lingered, Ran });

/// The handle to message storage. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    mailbox: Mailbox<MessageMessage>,
}

impl Messages {
    /// Starts the actor on `worker`.
    pub fn start(
        runtime: &Arc<crate::runtime::Runtime>,
        worker: usize,
        store: Arc<dyn MessageStore>,
        gauge: Arc<BreakerGauge>,
        metrics: Arc<StorageMetrics>,
    ) -> Self {
        let (reads, writes) = (Breaker::new(gauge.clone(), Side::Reads), Breaker::new(gauge, Side::Writes));
        let keep = MessageKeep { store, reads, writes, metrics };
        Self { mailbox: runtime.spawn::<MessageStorage>(worker, move || keep) }
    }

    /// Appends; `done` hears what became of it. A refused append is completed at once with `Unavailable`, nothing written.
    pub fn append(&self, append: Append, done: Completion<ConversationMessage>) {
        if let Err(refused) = self.mailbox.tell(MessageMessage::Append { append, done })
            && let MessageMessage::Append { done, .. } = refused.into_inner()
        {
            refuse(done);
        }
    }

    /// Runs an operation of the store.
    ///
    /// # Errors
    /// As [`super::accounts::Accounts::call`].
    pub async fn call<T, F>(
        &self,
        name: &'static str,
        operation: impl FnOnce(Arc<dyn MessageStore>) -> F + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = StoreResult<T>> + Send,
    {
        let (call, receiver) = call::call(name, operation);
        if self.mailbox.tell(MessageMessage::Call(call)).is_err() {
            return Err(StoreError::Unavailable("message storage has too much to do".into()));
        }
        call::result(receiver).await
    }
}

fn refuse(done: Completion<ConversationMessage>) {
    // `LimitReached` says that nothing was tried, so the owner needn't read back.
    done.complete(ConversationMessage::Appended(Err(StoreError::LimitReached(APPENDS_WAITING_MAX as u64))));
}

/// What the actor works with, and what outlives a panic.
pub struct MessageKeep {
    store: Arc<dyn MessageStore>,
    reads: Breaker,
    writes: Breaker,
    metrics: Arc<StorageMetrics>,
}

impl MessageKeep {
    fn breaker_of(&mut self, operation: &str) -> &mut Breaker {
        match call::side_of(operation) {
            Side::Reads => &mut self.reads,
            Side::Writes => &mut self.writes,
        }
    }
}

/// The message storage actor. Mailbox bound 16,384; when full, or when 8,192 appends wait, senders hear 'retry later'. A restart drops
/// what waits; owners notice by their own deadline and read back.
pub struct MessageStorage {
    appends: VecDeque<(Append, Completion<ConversationMessage>)>,
    /// Events in them.
    events_waiting: usize,
    pace: Pace,
    /// A `Lingered` is on its way.
    lingering: bool,
    /// Whom to tell of the write in flight.
    writing: Option<Vec<Completion<ConversationMessage>>>,
    reads: VecDeque<Call<dyn MessageStore>>,
    reads_in_flight: usize,
}

impl Behaviour for MessageStorage {
    type Message = MessageMessage;
    type Keep = MessageKeep;
    const KIND: Kind = "message_storage";
    const MAILBOX: usize = 16_384;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        Self {
            appends: VecDeque::new(),
            events_waiting: 0,
            pace: Pace::new(cx.now()),
            lingering: false,
            writing: None,
            reads: VecDeque::new(),
            reads_in_flight: 0,
        }
    }

    fn handle(&mut self, message: MessageMessage, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        match message {
            MessageMessage::Append { append, done } => {
                if self.appends.len() < APPENDS_WAITING_MAX && cx.keep.writes.admits(now) {
                    self.pace.came(append.conversation, now);
                    self.events_waiting += append.events.len();
                    self.appends.push_back((append, done));
                } else {
                    refuse(done);
                }
            }
            MessageMessage::Call(call) => {
                if self.reads.len() < APPENDS_WAITING_MAX && cx.keep.breaker_of(call.name).admits(now) {
                    self.reads.push_back(call);
                }
            }
            MessageMessage::Written { results, since, events } => {
                self.written(results, since, events, cx);
            }
            // `turn_ended` writes.
            MessageMessage::Lingered => self.lingering = false,
            MessageMessage::Ran { name, since, healthy } => {
                self.reads_in_flight -= 1;
                cx.keep.metrics.call(name, since.elapsed(), healthy);
                if healthy {
                    cx.keep.breaker_of(name).succeeded();
                } else {
                    let breaker = cx.keep.breaker_of(name);
                    breaker.failed(now);
                    if !breaker.admits(now) {
                        self.give_up_waiting(call::side_of(name));
                    }
                }
            }
        }
        while self.reads_in_flight < READS_IN_FLIGHT_MAX {
            let Some(call) = self.reads.pop_front() else { break };
            self.reads_in_flight += 1;
            let (name, since) = (call.name, Instant::now());
            cx.pipe(call.run(cx.keep.store.clone()), move |healthy| MessageMessage::Ran { name, since, healthy });
        }
    }

    fn turn_ended(&mut self, cx: &mut Cx<'_, Self>) {
        // Not in `handle`: what came in the same turn goes into one group.
        if self.writing.is_some() || self.appends.is_empty() {
            return;
        }
        let wait = self.pace.wait(self.events_waiting, cx.now());
        if wait.is_zero() {
            self.write(cx);
        } else if !std::mem::replace(&mut self.lingering, true) {
            cx.after(wait, MessageMessage::Lingered);
        }
    }

    fn observe(&self, _keep: &MessageKeep) -> Value {
        json!({
            "appends_waiting": self.appends.len(),
            "groups_in_flight": self.writing.as_ref().map_or(0, Vec::len),
            "reads_in_flight": self.reads_in_flight,
            "reads_waiting": self.reads.len(),
        })
    }
}

impl MessageStorage {
    /// Starts one write of what has gathered. Invariant: at most one is in flight, so that groups of one conversation stay in order.
    fn write(&mut self, cx: &mut Cx<'_, Self>) {
        let (mut groups, mut dones, mut events) = (Vec::new(), Vec::new(), 0);
        while let Some((append, _)) = self.appends.front() {
            if events > 0 && events + append.events.len() > GROUP_MAX_EVENTS {
                break;
            }
            events += append.events.len();
            self.events_waiting -= append.events.len();
            if let Some((append, done)) = self.appends.pop_front() {
                groups.push(append);
                dones.push(done);
            }
        }
        self.writing = Some(dones);
        let (store, since) = (cx.keep.store.clone(), Instant::now());
        cx.pipe(
            async move {
                tokio::time::timeout(DEADLINE, store.append(groups))
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Unavailable("append did not answer".into())))
            },
            move |results| MessageMessage::Written { results, since, events },
        );
    }

    /// A breaker has just opened: what waits for its side would only wait for its deadline. Dropping a call tells its caller.
    fn give_up_waiting(&mut self, side: Side) {
        self.reads.retain(|call| call::side_of(call.name) != side);
        if side == Side::Writes {
            self.events_waiting = 0;
            self.appends.drain(..).for_each(|(_, done)| refuse(done));
        }
    }

    fn written(
        &mut self,
        results: StoreResult<Vec<StoreResult<Vec<Appended>>>>,
        since: Instant,
        events: usize,
        cx: &mut Cx<'_, Self>,
    ) {
        let dones = self.writing.take().unwrap_or_default();
        let now = cx.now();
        self.pace.wrote(now);
        cx.keep.metrics.append(events, since.elapsed(), results.is_ok());
        match results {
            Ok(results) => {
                cx.keep.writes.succeeded();
                for (done, result) in dones.into_iter().zip(results) {
                    done.complete(ConversationMessage::Appended(result));
                }
            }
            Err(error) => {
                tracing::warn!(%error, events, "an append failed; the conversations read back");
                cx.keep.writes.failed(now);
                if !cx.keep.writes.admits(now) {
                    self.give_up_waiting(Side::Writes);
                }
                for done in dones {
                    done.complete(ConversationMessage::Appended(Err(error.clone())));
                }
            }
        }
    }
}
