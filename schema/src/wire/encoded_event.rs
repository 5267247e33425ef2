//! An event with its frames, each made at most once and shared by all recipients.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{Dialect, Encoding, encode_event, frame};
use crate::event::{Class, Event};

/// An event and, made on first use, its complete WebSocket frame (header and payload) per dialect and compression.
///
/// Server frames aren't masked and compression takes over no context, so the same bytes serve every socket.
#[derive(Debug)]
pub struct EncodedEvent {
    event: Event,
    class: Class,
    now_ms: i64,
    frames: [OnceLock<Option<Bytes>>; Dialect::COUNT * 2],
}

impl EncodedEvent {
    /// Wraps an event; nothing is encoded yet. `now_ms` is the time of sending.
    pub fn new(event: Event, now_ms: i64) -> Self {
        let class = event.class();
        Self { event, class, now_ms, frames: Default::default() }
    }

    /// Returns the event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Returns the time of sending, Unix ms.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Returns how a slow reader's outbox may treat it.
    pub fn class(&self) -> &Class {
        &self.class
    }

    /// Returns the frame for sockets of this encoding; `None` when the dialect doesn't tell such events.
    pub fn frame(&self, encoding: Encoding) -> Option<Bytes> {
        self.frame_ref(encoding).cloned()
    }

    /// Borrows the frame for sockets of this encoding, so that an outbox that holds the event needs no clone to write it.
    pub fn frame_ref(&self, encoding: Encoding) -> Option<&Bytes> {
        let plain = encoding.dialect as usize * 2;
        let index = plain + usize::from(encoding.compressed);
        let made = self.frames[index].get_or_init(|| {
            let text = encode_event(encoding.dialect, &self.event, self.now_ms)?;
            Some(frame::text(&text, encoding.compressed))
        });
        made.as_ref()
    }
}
