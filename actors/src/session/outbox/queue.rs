//! What waits in an outbox, and what it counts for.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use chinwag_schema::{
    event::{Class, Event, Origin},
    ids::{ConversationId, Seq},
    limits::socket::WRITE_MAX_FRAMES,
    wire::{Dialect, Encoding, encode_event, encoded_event::EncodedEvent, frame},
};

use super::GAP_BYTES;

/// One thing that waits.
#[derive(Debug)]
pub(super) enum Entry {
    Frame {
        frame: Bytes,
        ephemeral: bool,
    },
    Event {
        event: Arc<EncodedEvent>,
        timed: Timed,
    },
    /// Stands for the gap of this conversation in `Queue::gaps`.
    Gap(ConversationId),
}

/// Whether the time to the recipient is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timed {
    Yes,
    No,
}

/// Events of one conversation that this socket won't get.
#[derive(Debug)]
pub(super) struct Gap {
    pub origin: Arc<Origin>,
    pub from: Seq,
    pub to: Seq,
    /// Made when the writer comes to it; void when `to` moves.
    pub frame: Option<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub entries: VecDeque<Entry>,
    /// Invariant: one per `Entry::Gap`; no sequenced event of its conversation waits behind it.
    pub gaps: Vec<Gap>,
    pub bytes: usize,
    /// Ephemeral entries among them.
    pub ephemerals: u32,
    /// Bytes of the first entry that are written already: it can't be dropped any more.
    pub head_written: u32,
}

impl Entry {
    pub fn is_ephemeral(&self) -> bool {
        match self {
            Self::Frame { ephemeral, .. } => *ephemeral,
            Self::Event { event, .. } => *event.class() == Class::Ephemeral,
            Self::Gap(_) => false,
        }
    }

    /// Returns when the event was accepted, Unix ms, if its delivery is timed.
    pub fn timed_since_ms(&self) -> Option<i64> {
        match self {
            Self::Event { event, timed: Timed::Yes } => match event.event() {
                Event::Sequenced { event, .. } => Some(event.at_ms),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Queue {
    pub fn gap(&self, conversation: ConversationId) -> &Gap {
        let gap = self.gaps.iter().find(|gap| gap.origin.conversation == conversation);
        gap.expect("each Entry::Gap has its gap")
    }

    /// Returns the bytes of an entry on the wire. Gaps must be encoded.
    pub fn frame<'a>(&'a self, entry: &'a Entry, encoding: Encoding) -> &'a Bytes {
        match entry {
            Entry::Frame { frame, .. } => frame,
            Entry::Event { event, .. } => event.frame_ref(encoding).expect("only events with a frame are queued"),
            Entry::Gap(conversation) => {
                self.gap(*conversation).frame.as_ref().expect("gaps are encoded before they are lent")
            }
        }
    }

    /// Returns what an entry counts for in `bytes`.
    pub fn counted_bytes(&self, entry: &Entry, encoding: Encoding) -> usize {
        match entry {
            Entry::Gap(_) => GAP_BYTES,
            entry => self.frame(entry, encoding).len(),
        }
    }

    /// Encodes the gaps that the next write may reach.
    pub fn encode_gaps(&mut self, encoding: Encoding) {
        if self.gaps.is_empty() {
            return;
        }
        for entry in self.entries.iter().take(WRITE_MAX_FRAMES) {
            let Entry::Gap(conversation) = entry else { continue };
            let gap = self.gaps.iter_mut().find(|gap| gap.origin.conversation == *conversation && gap.frame.is_none());
            let Some(gap) = gap else { continue };
            let event = Event::Gap { origin: gap.origin.clone(), from: gap.from, to: gap.to };
            let text = encode_event(Dialect::Native, &event, 0).expect("the native dialect tells gaps");
            gap.frame = Some(frame::text(&text, encoding.compressed));
        }
    }
}
