//! Attaching sockets: listeners of public rooms, members' sockets, and resuming ones. Whatever the way, a socket is attached at one
//! position and hears everything after it, once, in order.

use std::sync::Arc;

use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::Event,
    ids::{Seq, Slot, UserId},
    limits::conversation::REPLAY_MAX_EVENTS,
    model::{Name, Position},
    wire::{Dialect, encoded_event::EncodedEvent},
};

use super::{
    C, Ready,
    history::{AfterPage, page_with_targets},
    listeners::Listener,
    messages::{Answer, Caller, ConversationMessage, ListenOptions, Outcome},
    policy::{Policy, unknown},
};
use crate::{
    ports::message_store::{Direction, Filter, Page},
    relay::{RelayMessage, ReplyTo},
};

/// How a socket comes to be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A member's socket that was woken.
    Member,
    /// A member's client said what it has, and is answered.
    Resumed,
    /// A listener of an earlier owner.
    Listener,
}

impl Ready {
    // ---- listeners of public rooms

    pub(super) fn listen<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        options: ListenOptions,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if !P::LISTENABLE {
            return reply.fail(unknown());
        }
        let position = options.position.filter(|_| cx.keep.listeners.get(from.slot).is_none());
        let kept = self.recent.messages(options.recent).is_some()
            && position.is_none_or(|position| self.outcome_at(position, REPLAY_MAX_EVENTS).is_some());
        if kept {
            return self.listen_with(from, options, Page::default(), reply, cx);
        }
        cx.keep.listeners.attaching(from.slot, listener(&from, true), None);
        let (node, id, head) = (cx.keep.node.clone(), cx.keep.id, self.head.seq);
        let next = Box::new(AfterPage::Listen { from, options, reply });
        self.pipe(
            async move {
                node.messages
                    .call("page", move |store| async move {
                        match position {
                            Some(at) => {
                                let limit = usize::try_from(REPLAY_MAX_EVENTS).expect("1,000");
                                page_with_targets(&*store, id, Direction::After(at.seq), limit, Filter::All).await
                            }
                            None => {
                                store.page(id, Direction::Before(head.next()), options.recent, Filter::Messages).await
                            }
                        }
                    })
                    .await
            },
            move |page| ConversationMessage::Paged { next, page },
            cx,
        );
    }

    /// Attaches a listener. `page` is empty if what is kept suffices.
    pub(super) fn listen_with<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        options: ListenOptions,
        page: Page,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        let now_ms = cx.unix_ms();
        let attached = cx.keep.listeners.get(from.slot).is_some();
        let (outcome, replay) = match options.position {
            Some(position) if !attached => {
                self.replay_from(from.slot, position, page.clone(), REPLAY_MAX_EVENTS, now_ms)
            }
            _ => (None, Vec::new()),
        };
        let recent = self.recent.messages(options.recent).unwrap_or_else(|| {
            // The page is from before; newer messages are in the ring.
            let after = super::last_seq(&page.events, Seq::ZERO);
            let newer = self.recent.after(after).unwrap_or_default();
            let newer = newer.iter().filter_map(|(event, _)| match event.event() {
                Event::Sequenced { event, .. } if event.body.is_message() => Some(event.clone()),
                _ => None,
            });
            let mut recent: Vec<_> =
                page.events.into_iter().filter(|event| event.body.is_message()).chain(newer).collect();
            recent.drain(..recent.len().saturating_sub(options.recent));
            recent
        });
        let changed = cx.keep.listeners.attach(from.slot, listener(&from, true));
        self.count_users(cx);
        let info = self.info(&from, cx.keep);
        let names = cx.keep.listeners.names();
        reply.send(Answer::Listening { info, names, recent, outcome });
        if let Some(change) = changed {
            let (conversation, owner, slot) = (cx.keep.id, cx.keep.node.id, from.slot);
            let has = options.position.filter(|_| matches!(outcome, Some(Outcome::Replayed { .. })));
            let upto = has.map_or(self.head.seq, |position| position.seq.max(self.head.seq));
            cx.keep.to_socket(slot, RelayMessage::Attach { conversation, owner, slot, replay, upto });
            if change.user_changed {
                self.announce_listener(from.user, from.name.clone(), true, Some(from.slot), cx);
            }
        }
    }

    pub(super) fn unlisten<P: Policy>(&mut self, from: &Arc<Caller>, reply: ReplyTo, cx: &mut C<'_, P>) {
        // A member's own socket goes on hearing the conversation.
        let member = self.is_member(from) && from.dialect != Dialect::Rooms;
        let present = member && cx.keep.listeners.is_present(from.slot);
        if !present || !cx.keep.listeners.demote(from.slot) {
            self.detach(from.slot, Some(from.slot), cx);
        }
        reply.send(Answer::Done { info: self.info(from, cx.keep) });
    }

    /// Takes a socket off; the others hear that the user left, if it was the last.
    pub(super) fn detach<P: Policy>(&mut self, slot: Slot, except: Option<Slot>, cx: &mut C<'_, P>) {
        let conversation = cx.keep.id;
        if cx.keep.listeners.get(slot).is_some() {
            cx.keep.to_socket(slot, RelayMessage::Detach { conversation, slot });
        }
        self.remove(slot, except, cx);
    }

    /// The same for a socket whose relay knows.
    pub(super) fn remove<P: Policy>(&mut self, slot: Slot, except: Option<Slot>, cx: &mut C<'_, P>) {
        let Some((listener, change)) = cx.keep.listeners.detach(slot) else { return };
        if change.user_changed {
            let user = listener.caller.user;
            self.stop_typing(user, cx);
            self.count_users(cx);
            self.announce_listener(user, listener.caller.name.clone(), false, except, cx);
        }
    }

    fn count_users<P: Policy>(&self, cx: &C<'_, P>) {
        if let Some(numbers) = &self.numbers {
            numbers.users.store(cx.keep.listeners.user_count() as u64, std::sync::atomic::Ordering::Relaxed);
            numbers.last_active_ms.fetch_max(cx.unix_ms(), std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn announce_listener<P: Policy>(
        &self,
        user: UserId,
        name: Name,
        present: bool,
        except: Option<Slot>,
        cx: &mut C<'_, P>,
    ) {
        let listeners = cx.keep.listeners.user_count();
        if !P::LISTENABLE || listeners > cx.keep.node.settings.announce_max_listeners {
            return;
        }
        let listeners = listeners as u64;
        let event = Event::Listening { origin: self.origin.clone(), user, name, present, listeners };
        self.deliver_ephemeral(event, except, cx.unix_ms(), cx.keep);
    }

    /// Listens on for a socket that listened at another owner and has everything up to `after`.
    pub(super) fn relisten<P: Policy>(&mut self, from: Arc<Caller>, after: Seq, cx: &mut C<'_, P>) {
        if P::LISTENABLE {
            cx.keep.listeners.detach(from.slot);
            cx.keep.listeners.attaching(from.slot, listener(&from, true), Some(after));
            self.attach_from(from, after, Way::Listener, ReplyTo::nobody(), cx);
        }
    }

    // ---- members' sockets

    pub(super) fn attach<P: Policy>(&mut self, from: Arc<Caller>, after: Seq, cx: &mut C<'_, P>) {
        if !self.is_member(&from) {
            // It was one at an earlier owner, and its relay may still hand it what comes for others.
            let (conversation, slot) = (cx.keep.id, from.slot);
            return cx.keep.to_socket(slot, RelayMessage::Detach { conversation, slot });
        }
        if cx.keep.listeners.get(from.slot).is_some() {
            if from.slot.node == cx.keep.node.id {
                return;
            }
            // Its node lost what it knew of us, and asks again.
            cx.keep.listeners.detach(from.slot);
        }
        self.attach_from(from, after, Way::Member, ReplyTo::nobody(), cx);
    }

    pub(super) fn resume<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        position: Position,
        max_events: u64,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if !self.is_member(&from) {
            return reply.fail(match P::may_read(&from, false) {
                Err(error) => error,
                Ok(()) => ClientError::new(ErrorCode::Forbidden, "only members resume; listen with a position instead"),
            });
        }
        let (head, info) = (self.head.seq, self.info(&from, cx.keep));
        if position.epoch != self.origin.epoch || position.seq > self.head_possible() {
            self.attach_now(&from, Way::Resumed, Vec::new(), head, cx);
            return reply.send(Answer::Resumed { info, outcome: Outcome::Reset });
        }
        if head.0.saturating_sub(position.seq.0) > max_events.min(REPLAY_MAX_EVENTS) {
            self.attach_now(&from, Way::Resumed, Vec::new(), head, cx);
            let outcome = Outcome::Gap { from: position.seq.next(), to: head };
            return reply.send(Answer::Resumed { info, outcome });
        }
        self.attach_from(from, position.seq, Way::Resumed, reply, cx);
    }

    /// Attaches a socket that has everything up to `after`.
    fn attach_from<P: Policy>(&mut self, from: Arc<Caller>, after: Seq, way: Way, reply: ReplyTo, cx: &mut C<'_, P>) {
        if after >= self.head.seq || self.recent.after(after).is_some() {
            return self.attach_with(&from, after, way, Page::default(), reply, cx);
        }
        if self.head.seq.0 - after.0 > REPLAY_MAX_EVENTS {
            return self.attach_with(&from, after, way, Page::default(), reply, cx);
        }
        let unasked = (way != Way::Resumed).then_some(after);
        cx.keep.listeners.attaching(from.slot, listener(&from, way == Way::Listener), unasked);
        let (node, id) = (cx.keep.node.clone(), cx.keep.id);
        let next = Box::new(AfterPage::Attach { from, after, way, reply });
        self.pipe(
            async move {
                let limit = usize::try_from(REPLAY_MAX_EVENTS).expect("1,000");
                node.messages
                    .call("replay", move |store| async move {
                        page_with_targets(&*store, id, Direction::After(after), limit, Filter::All).await
                    })
                    .await
            },
            move |page| ConversationMessage::Paged { next, page },
            cx,
        );
    }

    pub(super) fn attach_with<P: Policy>(
        &mut self,
        from: &Arc<Caller>,
        after: Seq,
        way: Way,
        page: Page,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if way != Way::Listener && !self.is_member(from) {
            return reply.fail(unknown());
        }
        let answered = way == Way::Resumed;
        let now_ms = cx.unix_ms();
        let (outcome, replay) = match self.replay_of(from.slot, after.min(self.head.seq), page, now_ms) {
            Some(replay) => (self.replayed(after), replay),
            None => {
                if from.dialect == Dialect::Messenger {
                    // It knows no gaps: its session must not take what comes now for all that there was.
                    self.wake(from.slot, from.user, from.dialect, None, cx.keep);
                }
                let (from, to) = (after.next(), self.head.seq);
                let gap = Event::Gap { origin: self.origin.clone(), from, to };
                // An answer says it itself; without one, the gap is an event.
                let told = if answered { Vec::new() } else { vec![Arc::new(EncodedEvent::new(gap, now_ms))] };
                (Outcome::Gap { from, to }, told)
            }
        };
        let info = self.info(from, cx.keep);
        reply.send(if answered { Answer::Resumed { info, outcome } } else { Answer::Done { info } });
        // A socket may know more than this actor: it read the head from the store while the answer of the append was on its way.
        self.attach_now(from, way, replay, after.max(self.head.seq), cx);
    }

    /// Attaches a socket that has, or is sent with `replay`, everything up to `upto`.
    fn attach_now<P: Policy>(
        &mut self,
        from: &Arc<Caller>,
        way: Way,
        replay: Vec<Arc<EncodedEvent>>,
        upto: Seq,
        cx: &mut C<'_, P>,
    ) {
        if way != Way::Listener && from.slot.node != cx.keep.node.id {
            // Another node says who is there a moment later than its sockets ask.
            cx.keep.listeners.put_present(from.slot, from.user, from.dialect);
        }
        if let Some(change) = cx.keep.listeners.attach(from.slot, listener(from, way == Way::Listener)) {
            let (conversation, owner, slot) = (cx.keep.id, cx.keep.node.id, from.slot);
            cx.keep.to_socket(slot, RelayMessage::Attach { conversation, owner, slot, replay, upto });
            if change.user_changed {
                self.count_users(cx);
                // Who listens on was announced when it began.
                if way != Way::Listener {
                    self.announce_listener(from.user, from.name.clone(), true, Some(from.slot), cx);
                }
            }
        }
    }

    // ---- positions

    /// Returns the largest position that a client can have: what is being appended may be in the store already, where a welcome
    /// reads its heads.
    pub(super) fn head_possible(&self) -> Seq {
        Seq(self.head.seq.0 + self.log.in_flight() as u64)
    }

    /// Says what a position means without a read, or `None` if the store must be asked.
    fn outcome_at(&self, position: Position, max_events: u64) -> Option<Outcome> {
        let head = self.head.seq;
        if position.epoch != self.origin.epoch || position.seq > self.head_possible() {
            return Some(Outcome::Reset);
        }
        if head.0.saturating_sub(position.seq.0) > max_events {
            return Some(Outcome::Gap { from: position.seq.next(), to: head });
        }
        self.recent.after(position.seq.min(head)).is_some().then(|| self.replayed(position.seq))
    }

    fn replay_from(
        &self,
        slot: Slot,
        position: Position,
        page: Page,
        max_events: u64,
        now_ms: i64,
    ) -> (Option<Outcome>, Vec<Arc<EncodedEvent>>) {
        match self.outcome_at(position, max_events) {
            Some(outcome @ (Outcome::Reset | Outcome::Gap { .. })) => (Some(outcome), Vec::new()),
            _ => match self.replay_of(slot, position.seq.min(self.head.seq), page, now_ms) {
                Some(replay) => (Some(self.replayed(position.seq)), replay),
                None => (Some(Outcome::Gap { from: position.seq.next(), to: self.head.seq }), Vec::new()),
            },
        }
    }
}

fn listener(from: &Arc<Caller>, explicit: bool) -> Listener {
    Listener { caller: from.clone(), explicit }
}
