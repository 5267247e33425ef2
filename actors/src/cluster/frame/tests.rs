use chinwag_schema::{
    event::{MessageBody, Origin},
    ids::{Epoch, NodeId},
    model::ConversationKind,
};

use super::*;
use crate::cluster::envelope::FRAME_MAX_BYTES;

fn event(seq: u64, content: &str) -> Arc<EncodedEvent> {
    let origin = Origin {
        conversation: ConversationId(1),
        kind: ConversationKind::Group,
        name: None,
        chat_id: None,
        epoch: Epoch(1),
    };
    let body = EventBody::Message(MessageBody {
        client_id: None,
        content: content.into(),
        edited_at_ms: None,
        deleted: false,
    });
    let event = LogEvent {
        seq: Seq(seq),
        id: EventId(1),
        at_ms: 1,
        sender: UserId(1),
        sender_name: "ann".into(),
        messages: seq,
        own: seq,
        body,
    };
    Arc::new(EncodedEvent::new(Event::Sequenced { origin: Arc::new(origin), event, target: None }, 1))
}

#[test]
fn whatever_a_conversation_delivers_fits_frames_and_keeps_its_order() {
    // What JSON makes longest: six bytes for one.
    let worst = "\u{1}".repeat(16 * 1024);
    let slot = Slot { node: NodeId(1), worker: 0, generation: 1, index: 1 };
    for content in [worst.as_str(), "short"] {
        let replay: Vec<_> = (1..=1000).map(|seq| event(seq, content)).collect();
        let attach =
            RelayMessage::Attach { conversation: ConversationId(1), owner: NodeId(1), slot, replay, upto: Seq(1000) };
        let mut seqs = Vec::new();
        let frames = Frame::of_relay(attach);
        for (nth, frame) in frames.iter().enumerate() {
            let bytes = frame.encode();
            assert!(bytes.len() <= FRAME_MAX_BYTES, "{} bytes", bytes.len());
            let events = match Frame::decode(&bytes).unwrap() {
                Frame::Replay { events, .. } => events,
                Frame::Attach { replay, upto, .. } => {
                    assert_eq!((nth, upto), (frames.len() - 1, Seq(1000)), "the last");
                    replay
                }
                _ => panic!("neither"),
            };
            seqs.extend(events.iter().map(|event| match event.0.event() {
                Event::Sequenced { event, .. } => event.seq.0,
                _ => 0,
            }));
        }
        assert_eq!(seqs, (1..=1000).collect::<Vec<_>>());
    }
}
