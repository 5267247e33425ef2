//! What an outbox gives up when its reader is too slow, in order (`protocol-native`, promise 5).

use std::sync::Arc;

use chinwag_schema::{
    event::{Class, Event},
    ids::{ConversationId, Seq},
    wire::{Dialect, encoded_event::EncodedEvent},
};
use rustc_hash::FxHashMap;

use super::{
    GAP_BYTES, Outbox, Pushed, Waits, add,
    queue::{Entry, Gap, Queue},
};

/// What the queued events of one conversation would free.
#[derive(Debug, Default)]
struct Weight {
    bytes: usize,
    events: usize,
}

impl Outbox {
    /// Says whether the queue is within its bounds. A single frame always is.
    pub(super) fn fits(&self, queue: &Queue) -> bool {
        (queue.bytes <= self.max_bytes as usize && queue.entries.len() <= self.max_frames as usize)
            || queue.entries.len() == 1
    }

    /// Lets a queued gap of the event's conversation grow over it; says whether there is one.
    pub(super) fn extends_gap(&self, event: &EncodedEvent) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.gaps.is_empty() {
            return false;
        }
        let Class::Sequenced { conversation, seq } = *event.class() else { return false };
        let Some(gap) = queue.gaps.iter_mut().find(|gap| gap.origin.conversation == conversation) else { return false };
        gap.cover(seq);
        add(&self.stats.gapped_events, 1);
        true
    }

    /// Gives up as little as possible, least valuable first.
    pub(super) fn climb_down(&self, queue: &mut Queue) -> Pushed {
        self.drop_ephemerals(queue);
        if self.fits(queue) {
            return Pushed::Shed;
        }
        if self.encoding.dialect == Dialect::Native {
            self.make_gaps(queue);
            if self.fits(queue) {
                return Pushed::Gapped;
            }
        }
        Pushed::Overflow
    }

    fn drop_ephemerals(&self, queue: &mut Queue) {
        if queue.ephemerals == 0 {
            return;
        }
        let mut pinned = queue.head_written > 0;
        for entry in std::mem::take(&mut queue.entries) {
            if entry.is_ephemeral() && !pinned {
                self.forget(queue, entry);
                add(&self.stats.sheds, 1);
            } else {
                queue.entries.push_back(entry);
            }
            pinned = false;
        }
    }

    /// Replaces the queued events of the heaviest conversations by gaps, down to three quarters of the bounds: stopping at the
    /// bound would repeat this walk over the whole queue at nearly every push.
    fn make_gaps(&self, queue: &mut Queue) {
        let pinned = usize::from(queue.head_written > 0);
        let mut weights: FxHashMap<ConversationId, Weight> = FxHashMap::default();
        for entry in queue.entries.iter().skip(pinned) {
            if let Some((conversation, _)) = sequenced(entry) {
                let weight = weights.entry(conversation).or_default();
                weight.bytes += queue.counted_bytes(entry, self.encoding);
                weight.events += 1;
            }
        }
        let mut heaviest: Vec<_> = weights.into_iter().filter(|(_, weight)| weight.bytes > GAP_BYTES).collect();
        heaviest.sort_unstable_by_key(|(conversation, weight)| (std::cmp::Reverse(weight.bytes), *conversation));

        let (mut bytes, mut frames) = (queue.bytes, queue.entries.len());
        let (bytes_goal, frames_goal) = (self.max_bytes as usize / 4 * 3, self.max_frames as usize / 4 * 3);
        let mut chosen: FxHashMap<ConversationId, ()> = FxHashMap::default();
        for (conversation, weight) in heaviest {
            if bytes <= bytes_goal && frames <= frames_goal {
                break;
            }
            bytes -= weight.bytes - GAP_BYTES;
            frames -= weight.events - 1;
            chosen.insert(conversation, ());
        }
        self.replace_by_gaps(queue, pinned, |conversation| chosen.contains_key(&conversation));
    }

    fn replace_by_gaps(&self, queue: &mut Queue, pinned: usize, chosen: impl Fn(ConversationId) -> bool) {
        for (index, entry) in std::mem::take(&mut queue.entries).into_iter().enumerate() {
            let event = match sequenced(&entry) {
                Some((conversation, seq)) if index >= pinned && chosen(conversation) => (conversation, seq),
                _ => {
                    queue.entries.push_back(entry);
                    continue;
                }
            };
            let (conversation, seq) = event;
            add(&self.stats.gapped_events, 1);
            match queue.gaps.iter_mut().find(|gap| gap.origin.conversation == conversation) {
                Some(gap) => gap.cover(seq),
                None => self.put_gap(queue, &entry, conversation, seq),
            }
            self.forget(queue, entry);
        }
        queue.entries.shrink_to_fit();
    }

    /// Says what of an event of a conversation waits here: for operators, at the cost of a look at all that waits.
    pub fn waits_for(&self, conversation: ConversationId, seq: Seq) -> Waits {
        let queue = self.queue.borrow();
        let gap = queue.gaps.iter().find(|gap| gap.origin.conversation == conversation);
        if gap.is_some_and(|gap| gap.from <= seq && seq <= gap.to) {
            return Waits::InGap;
        }
        match queue.entries.iter().position(|entry| sequenced(entry) == Some((conversation, seq))) {
            Some(before) => Waits::Behind(before),
            None => Waits::No,
        }
    }

    /// Puts a gap of one event where the conversation's first queued event stood.
    fn put_gap(&self, queue: &mut Queue, entry: &Entry, conversation: ConversationId, seq: Seq) {
        let Entry::Event { event, .. } = entry else { return };
        let Event::Sequenced { origin, .. } = event.event() else { return };
        queue.gaps.push(Gap { origin: Arc::clone(origin), from: seq, to: seq, frame: None });
        queue.entries.push_back(Entry::Gap(conversation));
        queue.bytes += GAP_BYTES;
        add(&self.stats.queued_bytes, GAP_BYTES);
        add(&self.stats.queued_frames, 1);
        add(&self.stats.gaps, 1);
    }
}

impl Gap {
    fn cover(&mut self, seq: Seq) {
        self.from = self.from.min(seq);
        self.to = self.to.max(seq);
        self.frame = None;
    }
}

fn sequenced(entry: &Entry) -> Option<(ConversationId, Seq)> {
    match entry {
        Entry::Event { event, .. } => match *event.class() {
            Class::Sequenced { conversation, seq } => Some((conversation, seq)),
            _ => None,
        },
        _ => None,
    }
}
