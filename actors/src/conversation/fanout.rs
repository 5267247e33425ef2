//! From a conversation to the places that have listeners, workers and other nodes: each event once per place, in order, whatever their
//! mailboxes say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chinwag_schema::{
    event::{Class, Event},
    ids::{Seq, Slot},
    wire::encoded_event::EncodedEvent,
};

use super::{
    C, ConversationKeep, Place, Ready,
    messages::{Batch, ConversationMessage},
    policy::Policy,
};
use crate::relay::RelayMessage;

/// When to try again after a relay was full.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// How far the places were served. It outlives a panic of the conversation, so that nothing appended is left undelivered.
#[derive(Default)]
pub(super) struct Fanout {
    /// Everything up to here was handed to all places with listeners, but for those in `behind`.
    delivered: Option<Seq>,
    /// Places whose mailbox was full, with the last seq that they were handed.
    behind: BTreeMap<Place, Seq>,
    retrying: bool,
}

impl Fanout {
    /// Returns how many places are behind.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Returns how far a place was served.
    pub(super) fn served(&self, place: Place) -> Seq {
        self.behind.get(&place).copied().or(self.delivered).unwrap_or_default()
    }

    /// Says where serving starts, if it hasn't yet (a fresh actor: sockets attach at the head or later).
    pub(super) fn served_up_to(&mut self, head: Seq) {
        self.delivered.get_or_insert(head);
        self.retrying = false;
    }
}

impl Ready {
    /// Hands new events to every place that has listeners.
    pub(super) fn deliver<P: Policy>(&mut self, events: Batch, cx: &mut C<'_, P>) {
        let Some(last) = events.iter().rev().find_map(|(event, _)| seq_of(event)) else { return };
        let keep = &mut *cx.keep;
        let before = keep.fanout.delivered.replace(last).unwrap_or(last);
        for place in keep.listeners.places().collect::<Vec<_>>() {
            if keep.fanout.behind.contains_key(&place) {
                continue;
            }
            let message = RelayMessage::Deliver { conversation: keep.id, owner: keep.node.id, events: events.clone() };
            if !keep.to_place(place, message) {
                keep.fanout.behind.insert(place, before);
            }
        }
        self.retry_later(cx);
    }

    /// Sends an event that may be lost to every place that has listeners.
    pub(super) fn deliver_ephemeral(&self, event: Event, except: Option<Slot>, now_ms: i64, keep: &ConversationKeep) {
        debug_assert!(!matches!(event.class(), Class::Sequenced { .. }));
        let event = Arc::new(EncodedEvent::new(event, now_ms));
        for place in keep.listeners.places() {
            let events = vec![(event.clone(), except)];
            // Full: shed.
            keep.to_place(place, RelayMessage::Deliver { conversation: keep.id, owner: keep.node.id, events });
        }
    }

    /// Serves places that were behind, and after a restart everybody, from what is kept of the newest events; a place too far behind
    /// gets a gap.
    pub(super) fn redeliver<P: Policy>(&mut self, cx: &mut C<'_, P>) {
        let keep = &mut *cx.keep;
        keep.fanout.retrying = false;
        let head = self.head.seq;
        let delivered = keep.fanout.delivered.unwrap_or(head);
        if delivered < head {
            for place in keep.listeners.places() {
                keep.fanout.behind.entry(place).or_insert(delivered);
            }
            keep.fanout.delivered = Some(head);
        }
        for (place, last) in std::mem::take(&mut keep.fanout.behind) {
            let events: Batch = match self.recent.after(last) {
                Some(events) => events,
                None => {
                    let gap = Event::Gap { origin: self.origin.clone(), from: last.next(), to: head };
                    vec![(Arc::new(EncodedEvent::new(gap, self.head.last_at_ms)), None)]
                }
            };
            let message = RelayMessage::Deliver { conversation: keep.id, owner: keep.node.id, events };
            if !keep.to_place(place, message) {
                keep.fanout.behind.insert(place, last);
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
