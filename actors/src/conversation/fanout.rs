//! From a conversation to the relays of its workers: each event once per worker, in order, whatever the relay's mailbox says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chinwag_schema::{
    event::{Class, Event},
    ids::{Seq, Slot},
    wire::encoded_event::EncodedEvent,
};

use super::{
    C, ConversationKeep, Ready,
    messages::{Batch, ConversationMessage},
    policy::Policy,
};
use crate::{relay::RelayMessage, runtime::Refused};

/// When to try again after a relay was full.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// How far the workers were served. It outlives a panic of the conversation, so that nothing appended is left undelivered.
#[derive(Default)]
pub(super) struct Fanout {
    /// Everything up to here was handed to all relays with listeners, but for those in `behind`.
    delivered: Option<Seq>,
    /// Workers whose relay was full, with the last seq that they were handed.
    behind: BTreeMap<u16, Seq>,
    retrying: bool,
}

impl Fanout {
    /// Returns how many workers are behind.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Returns how far a worker was served.
    pub(super) fn served(&self, worker: u16) -> Seq {
        self.behind.get(&worker).copied().or(self.delivered).unwrap_or_default()
    }

    /// Says where serving starts, if it hasn't yet (a fresh actor: sockets attach at the head or later).
    pub(super) fn served_up_to(&mut self, head: Seq) {
        self.delivered.get_or_insert(head);
        self.retrying = false;
    }
}

impl Ready {
    /// Hands new events to every worker that has listeners.
    pub(super) fn deliver<P: Policy>(&mut self, events: Batch, cx: &mut C<'_, P>) {
        let Some(last) = events.iter().rev().find_map(|(event, _)| seq_of(event)) else { return };
        let keep = &mut *cx.keep;
        let before = keep.fanout.delivered.replace(last).unwrap_or(last);
        for worker in keep.listeners.workers().collect::<Vec<_>>() {
            if keep.fanout.behind.contains_key(&worker) {
                continue;
            }
            let message = RelayMessage::Deliver { conversation: keep.id, events: events.clone() };
            if let Err(Refused::Full(_)) = keep.relay(worker).tell(message) {
                keep.fanout.behind.insert(worker, before);
            }
        }
        self.retry_later(cx);
    }

    /// Sends an event that may be lost to every worker that has listeners.
    pub(super) fn deliver_ephemeral(&self, event: Event, except: Option<Slot>, now_ms: i64, keep: &ConversationKeep) {
        debug_assert!(!matches!(event.class(), Class::Sequenced { .. }));
        let event = Arc::new(EncodedEvent::new(event, now_ms));
        for worker in keep.listeners.workers() {
            let events = vec![(event.clone(), except)];
            // Full: shed.
            let _ = keep.relay(worker).tell(RelayMessage::Deliver { conversation: keep.id, events });
        }
    }

    /// Serves workers that were behind, and after a restart everybody, from what is kept of the newest events; a worker too far behind
    /// gets a gap.
    pub(super) fn redeliver<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        let keep = &mut *cx.keep;
        keep.fanout.retrying = false;
        let head = self.head.seq;
        let delivered = keep.fanout.delivered.unwrap_or(head);
        if delivered < head {
            for worker in keep.listeners.workers() {
                keep.fanout.behind.entry(worker).or_insert(delivered);
            }
            keep.fanout.delivered = Some(head);
        }
        for (worker, last) in std::mem::take(&mut keep.fanout.behind) {
            let events: Batch = match self.recent.after(last) {
                Some(events) => events,
                None => {
                    let gap = Event::Gap { origin: self.origin.clone(), from: last.next(), to: head };
                    vec![(Arc::new(EncodedEvent::new(gap, self.head.last_at_ms)), None)]
                }
            };
            let message = RelayMessage::Deliver { conversation: keep.id, events };
            if let Err(Refused::Full(_)) = keep.relay(worker).tell(message) {
                keep.fanout.behind.insert(worker, last);
            }
        }
        self.retry_later(cx);
    }

    fn retry_later<P: Policy>(&self, cx: &mut C<'_, P>) {
        if !cx.keep.fanout.behind.is_empty() && !std::mem::replace(&mut cx.keep.fanout.retrying, true) {
            cx.after(RETRY_AFTER, ConversationMessage::Redeliver);
        }
    }
}

fn seq_of(event: &EncodedEvent) -> Option<Seq> {
    match event.class() {
        Class::Sequenced { seq, .. } => Some(*seq),
        _ => None,
    }
}
