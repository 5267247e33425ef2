//! Pages of the history, and what else waits for a page: joining with recent messages, attaching with a replay.

use std::sync::Arc;

use chinwag_schema::{
    error::ClientError,
    event::{Event, EventBody, LogEvent},
    ids::{ConversationId, Seq, Slot},
    limits::{conversation::PAGE_MAX, socket::OUTBOX_MAX_BYTES},
    wire::{Dialect, encoded_event::EncodedEvent},
};

use super::{
    C, Ready, last_seq,
    listen::Way,
    messages::{Answer, Caller, ConversationMessage, HistoryQuery, ListenOptions, Outcome},
    policy::Policy,
    store_failed, unknown_cursor,
};
use crate::{
    ports::{
        StoreError, StoreResult,
        message_store::{Direction, Filter, MessageStore, Page},
    },
    relay::ReplyTo,
};

/// What a page was read for.
pub enum AfterPage {
    History {
        from: Arc<Caller>,
        reply: ReplyTo,
    },
    Listen {
        from: Arc<Caller>,
        options: ListenOptions,
        reply: ReplyTo,
    },
    /// Attaches the socket with a replay of what came after `after`.
    Attach {
        from: Arc<Caller>,
        after: Seq,
        way: Way,
        reply: ReplyTo,
    },
}

/// Reads a page with the targets of its edits.
pub(super) async fn page_with_targets(
    store: &dyn MessageStore,
    conversation: ConversationId,
    direction: Direction,
    limit: usize,
    filter: Filter,
) -> StoreResult<Page> {
    let page = store.page(conversation, direction, limit, filter).await?;
    with_targets(store, conversation, page, |body| matches!(body, EventBody::Edited { .. })).await
}

/// Reads a page with the targets of its edits and deletions.
pub(super) async fn changed_page(
    store: &dyn MessageStore,
    conversation: ConversationId,
    direction: Direction,
    limit: usize,
) -> StoreResult<Page> {
    let page = store.page(conversation, direction, limit, Filter::All).await?;
    with_targets(store, conversation, page, |_| true).await
}

async fn with_targets(
    store: &dyn MessageStore,
    conversation: ConversationId,
    mut page: Page,
    wanted: impl Fn(&EventBody) -> bool,
) -> StoreResult<Page> {
    for index in 0..page.events.len() {
        let body = &page.events[index].body;
        let Some(target_seq) = body.target().filter(|_| wanted(body)) else { continue };
        let here = |event: &LogEvent| event.seq == target_seq;
        if page.events.iter().chain(&page.targets).any(here) {
            continue;
        }
        let before = Seq(target_seq.0.saturating_sub(1));
        let one = store.page(conversation, Direction::After(before), 1, Filter::All).await?;
        page.targets.extend(one.events.into_iter().filter(here));
    }
    Ok(page)
}

/// Says whether a replay is more than a socket's queue would hold: it is told as the gap that it would become there, instead of waiting
/// in memory until then. Only native clients know gaps.
fn too_heavy(from: &Caller, page: &Page) -> bool {
    let bytes = |event: &LogEvent| match &event.body {
        EventBody::Message(message) => message.content.len(),
        _ => 0,
    };
    let all = page.events.iter().chain(&page.targets);
    from.dialect == Dialect::Native && all.map(bytes).sum::<usize>() > OUTBOX_MAX_BYTES / 2
}

impl Ready {
    pub(super) fn history<P: Policy>(
        &mut self,
        from: Arc<Caller>,
        query: HistoryQuery,
        reply: ReplyTo,
        cx: &mut C<'_, P>,
    ) {
        if let Err(error) = P::may_read(&from, self.is_member(&from)) {
            return reply.fail(error);
        }
        if query.epoch.is_some_and(|epoch| epoch != self.origin.epoch) {
            return reply.fail(unknown_cursor("epoch"));
        }
        let head = self.head.seq;
        let direction = match query.direction {
            Some(Direction::Before(seq)) if seq > self.head_possible().next() => {
                return reply.fail(unknown_cursor("before"));
            }
            Some(Direction::After(seq)) if seq > self.head_possible() => return reply.fail(unknown_cursor("after")),
            Some(direction) => direction,
            None => Direction::Before(head.next()),
        };
        let (node, id) = (cx.keep.node.clone(), cx.keep.id);
        let limit = query.limit.clamp(1, PAGE_MAX);
        let next = Box::new(AfterPage::History { from, reply });
        self.pipe(
            async move {
                node.messages
                    .call("page", move |store| async move {
                        let direction = match query.before_id {
                            None => direction,
                            Some(message) => {
                                let found = store.find(id, message).await?.ok_or(StoreError::NotFound)?;
                                Direction::Before(found.seq)
                            }
                        };
                        page_with_targets(&*store, id, direction, limit, query.filter).await
                    })
                    .await
            },
            move |page| ConversationMessage::Paged { next, page },
            cx,
        );
    }

    pub(super) fn paged<P: Policy>(&mut self, next: AfterPage, page: StoreResult<Page>, cx: &mut C<'_, P>) {
        if let AfterPage::Listen { from, .. } | AfterPage::Attach { from, .. } = &next {
            // Gone from both: the socket closed, or left again, while the page was read.
            let slot = from.slot;
            let waits = cx.keep.listeners.take_attaching(slot).is_some() || cx.keep.listeners.get(slot).is_some();
            if !waits {
                let (AfterPage::Listen { reply, .. }
                | AfterPage::Attach { reply, .. }
                | AfterPage::History { reply, .. }) = next;
                return reply.fail(ClientError::unavailable("the socket"));
            }
        }
        match (next, page) {
            (AfterPage::Listen { from, options, reply }, Ok(page)) if too_heavy(&from, &page) => {
                self.listen_with(from, options, Page::default(), reply, cx);
            }
            (AfterPage::Attach { from, after, way, reply }, Ok(page)) if too_heavy(&from, &page) => {
                self.attach_with(&from, after, way, Page::default(), reply, cx);
            }
            (AfterPage::History { from, reply }, Ok(page)) => {
                // Rights may have ended while the page was read.
                match P::may_read(&from, self.is_member(&from)) {
                    Ok(()) => {
                        reply.send(Answer::History { info: self.info(&from, cx.keep), page: Arc::new(page) });
                    }
                    Err(error) => reply.fail(error),
                }
            }
            (AfterPage::History { reply, .. }, Err(StoreError::NotFound)) => reply.fail(unknown_cursor("before")),
            (AfterPage::Listen { from, options, reply }, Ok(page)) => {
                self.listen_with(from, options, page, reply, cx);
            }
            (AfterPage::Attach { from, after, way, reply }, Ok(page)) => {
                self.attach_with(&from, after, way, page, reply, cx);
            }
            (AfterPage::History { reply, .. }, Err(error)) => reply.fail(store_failed(&error)),
            (AfterPage::Listen { reply, .. }, Err(error)) => reply.fail(store_failed(&error)),
            (AfterPage::Attach { from, after, way, reply }, Err(error)) => {
                // The store can't say what was missed; the socket hears that it missed something, and pages later.
                tracing::warn!(conversation = %cx.keep.id, %error, "a replay could not be read");
                self.attach_with(&from, after, way, Page::default(), reply, cx);
            }
        }
    }

    /// Joins a page that began after `after` with the newest events into one contiguous replay; `None` if there is a hole between.
    pub(super) fn replay_of(&self, slot: Slot, after: Seq, page: Page, now_ms: i64) -> Option<Vec<Arc<EncodedEvent>>> {
        let mut expected = after;
        for event in &page.events {
            if event.seq != expected.next() {
                return None;
            }
            expected = event.seq;
        }
        let newer = self.recent.after(last_seq(&page.events, after))?;
        let Page { events, targets, .. } = page;
        let messages: Vec<_> = events.iter().filter(|event| event.body.is_message()).cloned().chain(targets).collect();
        let mut replay: Vec<_> = events
            .into_iter()
            .map(|event| {
                let target = match event.body {
                    EventBody::Edited { target_seq, .. } => messages.iter().find(|m| m.seq == target_seq).cloned(),
                    _ => None,
                };
                let sequenced = Event::Sequenced { origin: self.origin.clone(), event, target };
                Arc::new(EncodedEvent::new(sequenced, now_ms))
            })
            .collect();
        // A socket that wrote before it was attached has its answers, as it would attached.
        replay.extend(newer.into_iter().filter(|(_, except)| *except != Some(slot)).map(|(event, _)| event));
        Some(replay)
    }

    /// Says what a replay is, for the answer.
    pub(super) fn replayed(&self, after: Seq) -> Outcome {
        Outcome::Replayed { from: after.next(), to: self.head.seq }
    }
}
