//! Prepared frames: what a real server would write for a message, so that real and bare servers move the same bytes.

use std::sync::Arc;

use anyhow::Context as _;
use chinwag_schema::{
    event::{Event, EventBody, LogEvent, MessageBody, Origin},
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::ConversationKind,
    wire::{Dialect, encode_event, frame},
};
use uuid::Uuid;

use crate::{
    content::{MARK_MAX, Mark},
    peer::Protocol,
};

/// Unix ms in the frames; only its number of digits matters.
const AT_MS: i64 = 1_795_327_200_000;
/// Ids as long as real ones.
const ID: i64 = 7_351_029_384_756_301_824;

/// Makes frames of one length: the event of one message as a protocol tells it, with the mark in its text.
#[derive(Debug, Clone)]
pub struct Frames {
    dialect: Dialect,
    origin: Arc<Origin>,
    /// Bytes of text, at least the longest mark: so that all frames are of one length.
    content_bytes: usize,
}

impl Frames {
    /// Frames of one-to-one messages.
    pub fn direct(protocol: Protocol, content_bytes: usize) -> Self {
        // The rooms dialect has no one-to-one chats.
        let kind = if protocol == Protocol::Rooms { ConversationKind::Room } else { ConversationKind::Direct };
        Self::of(protocol, kind, content_bytes)
    }

    /// Frames of messages to many.
    pub fn fan(protocol: Protocol, content_bytes: usize) -> Self {
        let kind = if protocol == Protocol::Messenger { ConversationKind::Group } else { ConversationKind::Room };
        Self::of(protocol, kind, content_bytes)
    }

    fn of(protocol: Protocol, kind: ConversationKind, content_bytes: usize) -> Self {
        let dialect = match protocol {
            Protocol::Native => Dialect::Native,
            Protocol::Rooms => Dialect::Rooms,
            Protocol::Messenger => Dialect::Messenger,
        };
        let (name, chat_id) = match kind {
            ConversationKind::Direct => (None, Some(Arc::from("sender-100-receiver-100"))),
            _ => (Some("Load test".into()), None),
        };
        let origin =
            Origin { conversation: ConversationId(ID), kind, name, chat_id, epoch: Epoch(0x1234_5678_9abc_def0) };
        Self { dialect, origin: Arc::new(origin), content_bytes: content_bytes.max(MARK_MAX) }
    }

    /// Makes the frame of a message, header included.
    pub fn frame(&self, mark: &Mark) -> anyhow::Result<Vec<u8>> {
        let message = MessageBody {
            client_id: (self.dialect == Dialect::Native).then_some(Uuid::nil()),
            content: mark.text(self.content_bytes).into(),
            edited_at_ms: None,
            deleted: false,
        };
        let event = LogEvent {
            seq: Seq(1000),
            id: EventId(ID),
            at_ms: AT_MS,
            sender: UserId(ID),
            sender_name: "sender-100".into(),
            messages: 1000,
            own: 1000,
            body: EventBody::Message(message),
        };
        let event = Event::Sequenced { origin: self.origin.clone(), event, target: None };
        let payload = encode_event(self.dialect, &event, AT_MS).context("this protocol doesn't tell such a message")?;
        Ok(frame::text(&payload, false).to_vec())
    }

    /// Returns the length of every frame, header included.
    pub fn bytes(&self) -> anyhow::Result<usize> {
        Ok(self.frame(&Mark { run: 0, sender: 0, n: 0, due_us: 0 })?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_frames_of_a_kind_have_one_length_and_carry_their_mark() {
        let marks = [
            Mark { run: 0, sender: 0, n: 1, due_us: 1 },
            Mark { run: u32::MAX, sender: 19_000, n: 100_000, due_us: 3_600_000_000 },
        ];
        for protocol in [Protocol::Native, Protocol::Rooms, Protocol::Messenger] {
            for frames in [Frames::fan(protocol, 100), Frames::direct(protocol, 100)] {
                for mark in &marks {
                    let frame = frames.frame(mark).unwrap();
                    assert_eq!(frame.len(), frames.bytes().unwrap(), "{protocol:?}");
                    assert!(frame.len() > 150, "{protocol:?}: {} bytes are no event of 100 bytes", frame.len());
                    assert_eq!(Mark::find(&frame), Some(*mark), "{protocol:?}");
                }
            }
        }
    }
}
