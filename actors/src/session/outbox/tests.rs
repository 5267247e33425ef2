use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use chinwag_schema::{
    event::{Event, EventBody, LogEvent, MessageBody, Origin},
    ids::{ConversationId, Epoch, EventId, Seq, UserId},
    model::ConversationKind,
    wire::Dialect,
};
use proptest::prelude::*;

use super::*;

const NATIVE: Encoding = Encoding { dialect: Dialect::Native, compressed: false };
const ROOMS: Encoding = Encoding { dialect: Dialect::Rooms, compressed: false };

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn message(conversation: i64, seq: u64, bytes: usize) -> Arc<EncodedEvent> {
    let origin = Arc::new(Origin {
        conversation: ConversationId(conversation),
        kind: ConversationKind::Room,
        name: Some("a room".into()),
        chat_id: None,
        epoch: Epoch(1),
    });
    let body = MessageBody { client_id: None, content: "x".repeat(bytes).into(), edited_at_ms: None, deleted: false };
    let event = LogEvent {
        seq: Seq(seq),
        id: EventId(seq as i64),
        at_ms: 0,
        sender: UserId(1),
        sender_name: "ann".into(),
        messages: seq,
        own: seq,
        body: EventBody::Message(body),
    };
    Arc::new(EncodedEvent::new(Event::Sequenced { origin, event, target: None }, 0))
}

fn outbox(encoding: Encoding, max_bytes: usize, max_frames: usize) -> (Outbox, Rc<OutboxStats>) {
    let stats = Rc::new(OutboxStats::default());
    (Outbox::with_bounds(encoding, stats.clone(), max_bytes, max_frames), stats)
}

/// What a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Event(i64, u64),
    Gap(i64, u64, u64),
    Frame(u8),
    /// The rest of what was half read before.
    Rest,
}

/// Reads one frame, or only its first `bytes`.
fn read(outbox: &Outbox, bytes: Option<usize>) -> Option<Seen> {
    if outbox.is_empty() {
        return None;
    }
    let len = outbox.with_front(1, |slices| slices[0].len());
    let seen = {
        let queue = outbox.queue.borrow();
        match &queue.entries[0] {
            _ if queue.head_written > 0 => Seen::Rest,
            Entry::Frame { frame, .. } => Seen::Frame(frame[0]),
            Entry::Event { event, .. } => match *event.class() {
                Class::Sequenced { conversation, seq } => Seen::Event(conversation.0, seq.0),
                _ => Seen::Frame(0),
            },
            Entry::Gap(conversation) => {
                let gap = queue.gap(*conversation);
                Seen::Gap(conversation.0, gap.from.0, gap.to.0)
            }
        }
    };
    outbox.advance(bytes.map_or(len, |bytes| bytes.min(len)));
    Some(seen)
}

fn read_all(outbox: &Outbox) -> Vec<Seen> {
    std::iter::from_fn(|| read(outbox, None)).collect()
}

fn frame_of(first: u8, len: usize) -> Bytes {
    let mut frame = vec![0; len];
    frame[0] = first;
    frame.into()
}

#[test]
fn an_outbox_is_small_and_owns_nothing_when_empty() {
    assert!(size_of::<Outbox>() <= 150, "{}", size_of::<Outbox>());
    let (outbox, _) = outbox(NATIVE, 1 << 20, 1000);
    for n in 0..1000 {
        outbox.push(frame_of(1, n + 1), &Class::Kept);
    }
    read_all(&outbox);
    assert_eq!(outbox.queue.borrow().entries.capacity(), 0);
}

#[test]
fn only_the_push_that_ends_the_emptiness_wakes_the_writer() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let (outbox, _) = outbox(NATIVE, 1000, 10);
    assert!(outbox.poll_ready(&cx).is_pending());
    outbox.push(frame_of(1, 10), &Class::Kept);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(outbox.poll_ready(&cx).is_ready());
    outbox.push(frame_of(1, 10), &Class::Kept);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    outbox.close(CloseCode::NORMAL, "");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
}

#[test]
fn ephemeral_frames_go_first_and_the_new_one_with_them() {
    let (outbox, stats) = outbox(ROOMS, 100, 10);
    outbox.push(frame_of(1, 40), &Class::Kept);
    outbox.push(frame_of(2, 40), &Class::Ephemeral);
    assert_eq!(outbox.push(frame_of(3, 40), &Class::Ephemeral), Pushed::Shed);
    assert_eq!(stats.sheds.get(), 2);
    assert_eq!(read_all(&outbox), [Seen::Frame(1)]);
}

#[test]
fn slow_reader_gets_a_gap_before_being_closed() {
    let (outbox, stats) = outbox(NATIVE, 4000, 100);
    let mut gapped = false;
    for seq in 1..=100 {
        gapped |= outbox.push_event(&message(7, seq, 100)) == Pushed::Gapped;
        assert!(outbox.bytes() <= 4000);
    }
    assert!(gapped);
    assert_eq!(stats.gaps.get(), 1);
    assert_eq!(read_all(&outbox), [Seen::Gap(7, 1, 100)]);
    outbox.push_event(&message(7, 101, 100));
    assert_eq!(read_all(&outbox), [Seen::Event(7, 101)]);
    assert_eq!((stats.queued_bytes.get(), stats.queued_frames.get()), (0, 0));
}

#[test]
fn the_heaviest_conversation_is_replaced_and_the_others_stay() {
    let (outbox, _) = outbox(NATIVE, 8000, 100);
    outbox.push_event(&message(1, 5, 50));
    let mut seq = 0;
    while outbox.push_event(&message(2, seq + 1, 500)) == Pushed::Queued {
        seq += 1;
    }
    outbox.push_event(&message(1, 6, 50));
    assert_eq!(read_all(&outbox), [Seen::Event(1, 5), Seen::Gap(2, 1, seq + 1), Seen::Event(1, 6)]);
}

#[test]
fn a_frozen_dialect_has_no_gap_and_is_closed() {
    let (outbox, stats) = outbox(ROOMS, 4000, 1000);
    let last = (1..).map(|seq| outbox.push_event(&message(7, seq, 100))).find(|pushed| *pushed != Pushed::Queued);
    assert_eq!(last, Some(Pushed::Overflow));
    assert_eq!(outbox.close_code(), Some(CloseCode::SLOW_READER));
    assert_eq!(outbox.push_event(&message(7, 999, 1)), Pushed::Closed);
    assert_eq!(read_all(&outbox), [Seen::Frame(0x88)]);
    assert_eq!(stats.slow_closes.get(), 1);
}

#[test]
fn a_half_written_frame_is_finished_whatever_happens() {
    let (outbox, _) = outbox(NATIVE, 2000, 100);
    outbox.push_event(&message(7, 1, 100));
    assert_eq!(read(&outbox, Some(3)), Some(Seen::Event(7, 1)));
    for seq in 2..50 {
        outbox.push_event(&message(7, seq, 100));
    }
    assert_eq!(read(&outbox, None), Some(Seen::Rest));
    assert_eq!(read(&outbox, Some(1)), Some(Seen::Gap(7, 2, 49)));
    outbox.push_event(&message(7, 50, 1));
    outbox.close_now(CloseCode::INTERNAL, "");
    assert_eq!(read_all(&outbox), [Seen::Rest, Seen::Frame(0x88)]);
}

#[test]
fn closing_writes_what_waits_first() {
    let (outbox, _) = outbox(NATIVE, 2000, 100);
    outbox.push(frame_of(1, 10), &Class::Kept);
    outbox.close(CloseCode::GOING_AWAY, "bye");
    outbox.close(CloseCode::INTERNAL, "ignored");
    assert_eq!(outbox.push(frame_of(2, 10), &Class::Kept), Pushed::Closed);
    let mut out = Vec::new();
    outbox.take(&mut out, 10, 1000);
    assert_eq!(out, [frame_of(1, 10), frame::close(CloseCode::GOING_AWAY, "bye")]);
}

#[test]
fn one_gathered_write_stops_at_its_byte_limit() {
    let (outbox, stats) = outbox(NATIVE, 1 << 20, 10_000);
    for _ in 0..1000 {
        outbox.push(frame_of(1, 100), &Class::Kept);
    }
    assert_eq!(outbox.with_front(1000, |slices| slices.len()), 10);
    assert_eq!(outbox.with_front(1 << 20, |slices| slices.len()), WRITE_MAX_FRAMES);
    outbox.advance(1050);
    assert_eq!(outbox.with_front(1000, |slices| (slices[0].len(), slices.len())), (50, 10));
    assert_eq!(stats.written_frames.get(), 10);
    assert_eq!(outbox.len(), 990);
}

#[derive(Debug, Clone)]
enum Step {
    Event { conversation: i64, bytes: usize },
    Ephemeral(usize),
    Kept(usize),
    Read(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4i64, 0..600usize).prop_map(|(conversation, bytes)| Step::Event { conversation, bytes }),
        1 => (1..200usize).prop_map(Step::Ephemeral),
        1 => (1..100usize).prop_map(Step::Kept),
        3 => Just(Step::Read(None)),
        1 => (1..100usize).prop_map(|bytes| Step::Read(Some(bytes))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_reader_sees_every_event_once_in_order_or_a_gap_over_it(
        steps in proptest::collection::vec(step(), 1..300),
        max_bytes in 1500..6000usize,
        max_frames in 4..40usize,
    ) {
        let (outbox, stats) = outbox(NATIVE, max_bytes, max_frames);
        let mut pushed: BTreeMap<i64, u64> = BTreeMap::new();
        let mut seen: BTreeMap<i64, u64> = BTreeMap::new();
        let mut largest = GAP_BYTES;
        let mut note = |what: Option<Seen>| -> Result<(), TestCaseError> {
            match what {
                Some(Seen::Event(conversation, seq)) => {
                    let last = seen.entry(conversation).or_default();
                    prop_assert_eq!(seq, *last + 1);
                    *last = seq;
                }
                Some(Seen::Gap(conversation, from, to)) => {
                    let last = seen.entry(conversation).or_default();
                    prop_assert_eq!(from, *last + 1);
                    prop_assert!(to >= from);
                    *last = to;
                }
                Some(Seen::Frame(_) | Seen::Rest) | None => {}
            }
            Ok(())
        };
        for step in steps {
            match step {
                Step::Event { conversation, bytes } => {
                    let seq = pushed.entry(conversation).or_default();
                    let event = message(conversation, *seq + 1, bytes);
                    largest = largest.max(event.frame(NATIVE).unwrap().len());
                    match outbox.push_event(&event) {
                        Pushed::Overflow | Pushed::Closed => break,
                        _ => *seq += 1,
                    }
                }
                Step::Ephemeral(bytes) => {
                    outbox.push(frame_of(1, bytes), &Class::Ephemeral);
                }
                Step::Kept(bytes) => {
                    if outbox.push(frame_of(2, bytes), &Class::Kept) == Pushed::Overflow {
                        break;
                    }
                }
                Step::Read(bytes) => note(read(&outbox, bytes))?,
            }
            prop_assert!(outbox.bytes() <= max_bytes + largest);
            prop_assert!(outbox.len() <= max_frames + 1);
        }
        if !outbox.is_closing() {
            while let Some(what) = read(&outbox, None) {
                note(Some(what))?;
            }
            pushed.retain(|_, seq| *seq > 0);
            prop_assert_eq!(pushed, seen);
        }
        drop(outbox);
        prop_assert_eq!((stats.queued_bytes.get(), stats.queued_frames.get()), (0, 0));
    }
}

#[test]
fn one_close_frame_is_sent_however_often_the_socket_is_closed() {
    let outbox = Outbox::new(Encoding { dialect: Dialect::Native, compressed: false }, Rc::new(OutboxStats::default()));
    outbox.close(CloseCode::UNAUTHORIZED, "refused");
    let mut written = Vec::new();
    outbox.take(&mut written, usize::MAX, usize::MAX);
    assert_eq!(written, [frame::close(CloseCode::UNAUTHORIZED, "refused")]);
    outbox.close_now(CloseCode::INTERNAL, "internal error");
    outbox.close(CloseCode::INTERNAL, "internal error");
    assert!(outbox.is_empty(), "the peer has our close frame already");
}

#[test]
fn deliveries_are_timed_when_they_are_written_and_replays_are_not() {
    let (outbox, stats) = outbox(NATIVE, 1 << 20, 100);
    let timed = || stats.delivery.buckets().sum::<u64>();
    outbox.push_event(&message(1, 1, 10));
    outbox.push_live(&message(1, 2, 10));
    assert_eq!(timed(), 0, "it still waits");
    read_all(&outbox);
    assert_eq!(timed(), 1);
    // Accepted in 1970.
    assert_eq!(stats.delivery.buckets().last(), Some(1));
}
