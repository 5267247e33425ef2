//! Appending: what waits, what is in flight, and what to do when nobody knows how a write ended.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::{Event, EventBody, LogEvent},
    ids::{EventId, UserId},
    limits::{
        conversation::{MESSAGE_ID_AHEAD_MAX, PENDING_MAX},
        storage::GROUP_MAX_EVENTS,
    },
    model::Head,
    wire::{Dialect, encoded_event::EncodedEvent},
};
use uuid::Uuid;

use super::{
    C, Ready,
    history::changed_page,
    membership::MemberChange,
    messages::{Answer, Batch, Caller, ConversationMessage},
    policy::Policy,
};
use crate::{
    engine::Counters,
    ports::{
        StoreError, StoreResult,
        account_store::MemberRow,
        message_store::{Append, Appended, Direction, NewBody, NewEvent, Page},
    },
    relay::ReplyTo,
};

/// Wait before the next try to read back.
const READ_BACK_AGAIN: Duration = Duration::from_secs(1);

/// Appends of one conversation. Invariant: at most one write is in flight; what comes meanwhile gathers.
pub(super) struct Log {
    waiting: VecDeque<Pending>,
    in_flight: Vec<Pending>,
    /// Counts writes, so that an old timer doesn't touch a new one.
    batch: u64,
    reading_back: bool,
    last_id: EventId,
    counters: Arc<Counters>,
    /// What `counters` know of `waiting` and `in_flight`.
    told: u64,
    /// Memberships found half changed, to be finished.
    pub(super) unsettled: Vec<MemberRow>,
}

/// An event on its way into the log.
pub(super) struct Pending {
    pub(super) event: NewEvent,
    pub(super) from: Option<Arc<Caller>>,
    pub(super) then: Then,
    pub(super) reply: ReplyTo,
}

/// What follows once it is durable.
pub(super) enum Then {
    Message,
    Change,
    Member(Box<MemberChange>),
}

impl Log {
    pub(super) fn new(head: Head, unsettled: Vec<MemberRow>, counters: Arc<Counters>) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            batch: 0,
            reading_back: false,
            last_id: head.last_id,
            counters,
            told: 0,
            unsettled,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Tells the counters how many senders wait.
    pub(super) fn count(&mut self) {
        let unacknowledged = (self.waiting.len() + self.in_flight.len()) as u64;
        if unacknowledged > self.told {
            self.counters.unacknowledged.fetch_add(unacknowledged - self.told, Relaxed);
        } else if unacknowledged < self.told {
            self.counters.unacknowledged.fetch_sub(self.told - unacknowledged, Relaxed);
        }
        self.told = unacknowledged;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.counters.unacknowledged.fetch_sub(self.told, Relaxed);
    }
}

impl Ready {
    pub(super) fn post<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        client_id: Option<Uuid>,
        content: Arc<str>,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if let Err(error) = P::may_post(&from, self.is_member(&from)) {
            return reply.fail(error);
        }
        if let Some(id) = client_id
            && let Err(error) = check_client_id(id, cx.unix_ms(), cx.keep.node.settings.dedup_window)
        {
            return reply.fail(error);
        }
        let user = from.user;
        let body = NewBody::Message { client_id, content };
        self.enqueue(from, body, Then::Message, reply, cx);
        self.stop_typing(user, cx);
    }

    /// Lets an event wait for the next write.
    pub(super) fn enqueue<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        body: NewBody,
        then: Then,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if self.log.waiting.len() >= PENDING_MAX {
            return reply.fail(ClientError::unavailable("the conversation"));
        }
        let at_ms = cx.unix_ms();
        let Ok(id) = cx.keep.node.ids.event(at_ms) else {
            return reply.fail(ClientError::unavailable("the server"));
        };
        // Ids grow with seq (find by id relies on it), also after an owner whose clock was ahead.
        let id = EventId(id.0.max(self.log.last_id.0 + 1));
        self.log.last_id = id;
        let event = NewEvent { id, at_ms, sender: from.user, sender_name: from.name.clone(), body };
        self.log.waiting.push_back(Pending { event, from: Some(from), then, reply });
    }

    /// Starts a write of what waits, if none is in flight.
    pub(super) fn append_waiting<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        if !self.log.in_flight.is_empty() || self.log.waiting.is_empty() {
            return;
        }
        // Who leaves hears nothing later (invariant 8): a departure ends its write, and takes effect before the next.
        let departs = |pending: &Pending| matches!(&pending.then, Then::Member(change) if change.is_departure());
        let most = self.log.waiting.len().min(GROUP_MAX_EVENTS);
        let count = self.log.waiting.iter().take(most).position(departs).map_or(most, |last| last + 1);
        self.log.in_flight = self.log.waiting.drain(..count).collect();
        if self.log.waiting.is_empty() && self.log.waiting.capacity() > 64 {
            self.log.waiting = VecDeque::new();
        }
        self.log.batch += 1;
        let append = Append {
            conversation: cx.keep.id,
            term: self.term,
            head: self.head.seq,
            events: self.log.in_flight.iter().map(|pending| pending.event.clone()).collect(),
        };
        let lost = || ConversationMessage::Appended(Err(StoreError::Unavailable("storage was rebuilt".into())));
        cx.keep.node.messages.append(append, cx.completion(lost));
    }

    pub(super) fn appended<P: Policy>(&mut self, result: StoreResult<Vec<Appended>>, cx: &mut C<'_, P>) {
        if self.log.reading_back || self.log.in_flight.is_empty() {
            // Too late: the outcome is being read back, or was.
            return;
        }
        match result {
            Ok(outcomes) => {
                let pending = std::mem::take(&mut self.log.in_flight);
                self.settle(pending.into_iter().zip(outcomes), cx);
            }
            Err(StoreError::LimitReached(_)) => self.fail_in_flight(&ClientError::unavailable("storage")),
            Err(StoreError::Fenced) => self.fenced(cx),
            Err(error) => {
                tracing::warn!(conversation = %cx.keep.id, %error, "the outcome of an append is unknown; reading back");
                self.start_read_back(cx);
            }
        }
    }

    /// Tells everybody what became of a write: first those who listen, in order, then the senders.
    fn settle<P: Policy>(&mut self, outcomes: impl Iterator<Item = (Pending, Appended)>, cx: &mut C<'_, P>) {
        let now_ms = cx.unix_ms();
        let mut batch: Batch = Vec::new();
        let mut answers = Vec::new();
        for (pending, outcome) in outcomes {
            match outcome {
                Appended::New { event, target } => {
                    self.advance(&event, cx);
                    let except = pending.from.as_ref().and_then(|from| excepted(from, &pending.then));
                    let sequenced = Event::Sequenced { origin: self.origin.clone(), event: event.clone(), target };
                    let encoded = Arc::new(EncodedEvent::new(sequenced, now_ms));
                    self.recent.push(encoded.clone(), except);
                    batch.push((encoded, except));
                    answers.push((pending, event));
                }
                Appended::Duplicate { event, same_body } => self.answer_duplicate(pending, &event, same_body, cx),
                Appended::NoTarget => {
                    let error = ClientError::new(ErrorCode::NotFound, "no such message").field("message");
                    pending.reply.fail(error);
                }
            }
        }
        self.deliver(batch, cx);
        for (pending, event) in answers {
            self.answer(pending, &event, cx);
        }
    }

    fn advance<P: Policy>(&mut self, event: &LogEvent, cx: &mut C<'_, P>) {
        self.head.seq = event.seq;
        self.head.messages = event.messages;
        self.head.last_id = event.id;
        self.head.last_at_ms = event.at_ms;
        if event.body.is_message() {
            cx.keep.node.counters.messages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if let Some(member) = self.members.get_mut(&event.sender) {
                member.own = Some(event.own);
            }
            if let Some(numbers) = &self.numbers {
                numbers.messages.store(event.messages, std::sync::atomic::Ordering::Relaxed);
                numbers.last_active_ms.store(event.at_ms, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    fn answer<P: Policy>(&mut self, pending: Pending, event: &LogEvent, cx: &mut C<'_, P>) {
        let Pending { from, then, reply, .. } = pending;
        let (seq, id, at_ms) = (event.seq, event.id, event.at_ms);
        match then {
            Then::Message => {
                let Some(from) = from else { return };
                let info = self.info(&from, cx.keep);
                reply.send(Answer::Posted { info, seq, id, at_ms, duplicate: false });
            }
            Then::Change => {
                let Some(from) = from else { return };
                reply.send(Answer::Changed { info: self.info(&from, cx.keep), seq, id, at_ms });
            }
            Then::Member(change) => self.member_appended(*change, seq, reply, cx),
        }
    }

    fn answer_duplicate<P: Policy>(&self, pending: Pending, event: &LogEvent, same_body: bool, cx: &mut C<'_, P>) {
        let Some(from) = &pending.from else { return };
        if !same_body {
            let text = "this message id was used for another message";
            let error = ClientError::new(ErrorCode::MessageIdReused, text).field("message_id");
            return pending.reply.fail(error);
        }
        let info = self.info(from, cx.keep);
        let (seq, id, at_ms) = (event.seq, event.id, event.at_ms);
        pending.reply.send(Answer::Posted { info, seq, id, at_ms, duplicate: true });
    }

    /// Refuses what a user who isn't a member any more may not post.
    pub(super) fn refuse_waiting_of<P: Policy>(&mut self, user: UserId) {
        for pending in std::mem::take(&mut self.log.waiting) {
            let error = match (&pending.from, &pending.then) {
                (Some(from), Then::Message | Then::Change) if from.user == user => P::may_post(from, false).err(),
                _ => None,
            };
            match error {
                Some(error) => pending.reply.fail(error),
                None => self.log.waiting.push_back(pending),
            }
        }
    }

    /// Refuses everything that waits or whose outcome isn't known yet.
    pub(super) fn fail_all(&mut self, error: &ClientError) {
        self.fail_in_flight(error);
        for pending in std::mem::take(&mut self.log.waiting) {
            pending.reply.fail(error.clone());
        }
    }

    fn fail_in_flight(&mut self, error: &ClientError) {
        for pending in std::mem::take(&mut self.log.in_flight) {
            pending.reply.fail(error.clone());
        }
    }

    /// Somebody else owns the conversation, or the head moved under us: nothing here can be trusted any more.
    fn fenced<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        tracing::warn!(conversation = %cx.keep.id, term = self.term.0, "fenced; the conversation is loaded again");
        self.fail_all(&ClientError::unavailable("the conversation"));
        cx.keep.node.fenced(cx.keep.id, self.term);
        // In place: those who listen are known nowhere else, and what somebody appended is delivered to them then. A later owner's term
        // refuses the claim.
        cx.rebuild();
    }

    // ---- unknown outcomes

    fn start_read_back<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        self.log.reading_back = true;
        let (node, id, term, after) = (cx.keep.node.clone(), cx.keep.id, self.term, self.head.seq);
        cx.pipe(
            async move {
                node.messages
                    .call("read_back", move |store| async move {
                        // The claim is a write: it comes after whatever is still on its way, or fences it off.
                        let head = store.claim(id, term).await?;
                        let page = changed_page(&*store, id, Direction::After(after), GROUP_MAX_EVENTS).await?;
                        Ok((head, page))
                    })
                    .await
            },
            ConversationMessage::ReadBack,
        );
    }

    pub(super) fn read_back<P: Policy>(&mut self, result: StoreResult<(Head, Page)>, cx: &mut C<'_, P>) {
        let Page { events, targets, .. } = match result {
            Ok((_, page)) => page,
            Err(StoreError::Fenced) => return self.fenced(cx),
            Err(_) => {
                // Still in doubt; the store's own warning is in the log.
                return cx.after(READ_BACK_AGAIN, ConversationMessage::Retry { batch: self.log.batch });
            }
        };
        self.log.reading_back = false;
        let targets: HashMap<_, _> = events.iter().chain(&targets).map(|event| (event.seq, event.clone())).collect();
        let mut stored: HashMap<_, _> = events.into_iter().map(|event| (event.id, event)).collect();
        let (mut outcomes, mut lost) = (Vec::new(), Vec::new());
        for pending in std::mem::take(&mut self.log.in_flight) {
            match stored.remove(&pending.event.id) {
                Some(event) => {
                    let target = event.body.target().and_then(|seq| targets.get(&seq)).cloned();
                    outcomes.push((pending, Appended::New { event, target }));
                }
                None => lost.push(pending),
            }
        }
        self.settle(outcomes.into_iter(), cx);
        for pending in lost {
            pending.reply.fail(ClientError::unavailable("storage"));
        }
        self.append_waiting(cx);
    }

    pub(super) fn read_back_again<P: Policy>(&mut self, batch: u64, cx: &mut C<'_, P>) {
        if batch == self.log.batch && !self.log.in_flight.is_empty() {
            self.start_read_back(cx);
        }
    }
}

/// The socket that doesn't get the event: the native sender has the answer, the messenger dialect's sender hears nothing, and who
/// joins or leaves there hears a `SUCCESS` instead.
fn excepted(from: &Caller, then: &Then) -> Option<chinwag_schema::ids::Slot> {
    let excepted = match then {
        Then::Message => matches!(from.dialect, Dialect::Native | Dialect::Messenger),
        Then::Member(_) => from.dialect == Dialect::Messenger,
        Then::Change => false,
    };
    excepted.then_some(from.slot)
}

/// Checks the age of a message id (UUIDv7) against the server's time.
fn check_client_id(id: Uuid, now_ms: i64, window: Option<Duration>) -> Result<(), ClientError> {
    let Some((seconds, nanos)) = id.get_timestamp().map(|at| at.to_unix()) else {
        return Err(ClientError::new(ErrorCode::BadRequest, "'message_id' must be a UUIDv7").field("message_id"));
    };
    let at_ms =
        i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000));
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let (code, text) = if at_ms > now_ms.saturating_add(ms(MESSAGE_ID_AHEAD_MAX)) {
        (ErrorCode::MessageIdAhead, "the message id lies more than 10 minutes ahead of the server")
    } else if window.is_some_and(|window| at_ms < now_ms.saturating_sub(ms(window))) {
        (ErrorCode::MessageIdExpired, "the message id is older than messages are kept")
    } else {
        return Ok(());
    };
    Err(ClientError::new(code, text).field("message_id"))
}

/// Says whether an event is a message that its sender may still change.
pub(super) fn changeable(event: &LogEvent) -> bool {
    matches!(&event.body, EventBody::Message(message) if !message.deleted)
}
