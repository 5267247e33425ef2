//! The newest events of an active conversation, so that joining and resuming rarely touch the store.

use std::{collections::VecDeque, sync::Arc};

use chinwag_schema::{
    event::{Event, EventBody, LogEvent, Origin},
    ids::{Seq, Slot},
    limits::conversation::{RECENT_MAX_BYTES, RECENT_MAX_EVENTS},
    model::Name,
    wire::encoded_event::EncodedEvent,
};
use rustc_hash::FxHashMap;

use super::messages::Batch;

/// A contiguous run of events that ends at the head. Edits and deletions change what stands in it, so that a replay shows what a
/// page of the history would.
pub struct Recent {
    /// Each with the socket that doesn't get it (its sender's, which has an answer), as when it was new.
    events: VecDeque<(Arc<EncodedEvent>, Option<Slot>)>,
    bytes: usize,
    /// Seq of the newest event (the head), even when none is kept.
    last: Seq,
    /// Nothing older exists than what is kept here.
    complete: bool,
}

impl Recent {
    /// Makes the ring from a page that ends at `head`.
    pub fn new(origin: &Arc<Origin>, head: Seq, page: Vec<LogEvent>, complete: bool, now_ms: i64) -> Self {
        let mut recent = Self { events: VecDeque::new(), bytes: 0, last: head, complete };
        let first = head.0 + 1 - page.len() as u64;
        let targets: Vec<_> = page.iter().filter(|event| event.body.is_message()).cloned().collect();
        for (expected, event) in (first..).zip(page) {
            if event.seq.0 != expected {
                // A store that lost a row in the middle: keep nothing rather than show a hole as contiguous.
                return Self { events: VecDeque::new(), bytes: 0, last: head, complete: false };
            }
            let target = event.body.target().and_then(|seq| targets.iter().find(|target| target.seq == seq)).cloned();
            let sequenced = Event::Sequenced { origin: origin.clone(), event, target };
            recent.push_back(Arc::new(EncodedEvent::new(sequenced, now_ms)), None);
        }
        recent
    }

    /// Adds the new head, which all get but the socket `except`.
    pub fn push(&mut self, event: Arc<EncodedEvent>, except: Option<Slot>) {
        let (seq, change) = match event.event() {
            Event::Sequenced { event, target, .. } => (event.seq, target.clone()),
            _ => return,
        };
        self.last = seq;
        if let Some(target) = change {
            self.replace(&target);
        }
        self.push_back(event, except);
        while self.events.len() > RECENT_MAX_EVENTS || self.bytes > RECENT_MAX_BYTES {
            let Some((oldest, _)) = self.events.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.complete = false;
        }
    }

    fn push_back(&mut self, event: Arc<EncodedEvent>, except: Option<Slot>) {
        self.bytes += size(&event);
        self.events.push_back((event, except));
    }

    /// Puts the message as it stands now in place of what was kept of it, and into earlier edits of it.
    fn replace(&mut self, now: &LogEvent) {
        for (kept, _) in &mut self.events {
            let Event::Sequenced { origin, event, target } = kept.event() else { continue };
            let (event, target) = if event.seq == now.seq {
                (now.clone(), target.clone())
            } else if event.body.target() == Some(now.seq) {
                (event.clone(), Some(now.clone()))
            } else {
                continue;
            };
            let at_ms = event.at_ms;
            let changed = Event::Sequenced { origin: origin.clone(), event, target };
            let changed = Arc::new(EncodedEvent::new(changed, at_ms));
            self.bytes = self.bytes + size(&changed) - size(kept);
            *kept = changed;
        }
    }

    /// Returns the events after `seq`, each with the socket that doesn't get it, if all of them are kept.
    pub fn after(&self, seq: Seq) -> Option<Batch> {
        let missing = usize::try_from(self.last.0.checked_sub(seq.0)?).ok()?;
        (missing <= self.events.len()).then(|| self.events.range(self.events.len() - missing..).cloned().collect())
    }

    /// Returns the newest `count` messages, oldest first, if all of them are kept.
    pub fn messages(&self, count: usize) -> Option<Vec<LogEvent>> {
        let mut messages: Vec<_> = self
            .events
            .iter()
            .rev()
            .filter_map(|(kept, _)| match kept.event() {
                Event::Sequenced { event, .. } if event.body.is_message() => Some(event.clone()),
                _ => None,
            })
            .take(count)
            .collect();
        messages.reverse();
        (self.complete || messages.len() >= count).then_some(messages)
    }

    /// Returns the newest message, if it is kept.
    pub fn last_message(&self) -> Option<LogEvent> {
        self.messages(1).and_then(|mut messages| messages.pop())
    }

    /// Returns who sent most of what is kept, at most `limit` names, with their counts.
    pub fn senders(&self, limit: usize) -> Vec<(Name, usize)> {
        let mut counts: FxHashMap<_, (Name, usize)> = FxHashMap::default();
        for (kept, _) in &self.events {
            let Event::Sequenced { event, .. } = kept.event() else { continue };
            counts.entry(event.sender).or_insert_with(|| (event.sender_name.clone(), 0)).1 += 1;
        }
        let mut senders: Vec<_> = counts.into_values().collect();
        senders.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        senders.truncate(limit);
        senders
    }

    /// Returns how many events and bytes are kept.
    pub fn size(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }
}

/// What an event weighs: its text and, roughly, the frames made of it.
fn size(event: &EncodedEvent) -> usize {
    let content = |event: &LogEvent| match &event.body {
        EventBody::Message(message) => message.content.len(),
        _ => 0,
    };
    match event.event() {
        Event::Sequenced { event, target, .. } => 512 + 3 * (content(event) + target.as_ref().map_or(0, content)),
        _ => 512,
    }
}
