//! How frames travel: gathered, numbered, acknowledged, sent again, and within bounds.

use std::time::Duration;

use bytes::Bytes;
use chinwag_actors::cluster::{
    envelope::{Envelope, FRAME_MAX_BYTES, FRAMES_MAX},
    link::{Class, Event, Heed, Refused, Ticket, Why},
};
use chinwag_schema::{
    ids::NodeId,
    limits::link::{
        ACK_AFTER, BEAT, GATHER_MAX_BYTES, GREETING_MAX_BYTES, GREETING_MAX_FRAMES, IN_FLIGHT_MAX, KEPT_MAX_BYTES,
        KEPT_MAX_FRAMES, PATIENCE, REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RESEND_MIN,
    },
};

use crate::{
    bus::Faults,
    pair::{Pair, events, frame, frame_numbers, frames, send, up},
    world::{Plain, World},
};

#[test]
fn little_waits_for_a_node_that_has_not_answered_and_not_for_long() {
    let mut pair = Pair::greeting();
    let (now, link) = (pair.now, &mut pair.ann);
    send(link, 0..GREETING_MAX_FRAMES as u64, now);
    assert_eq!(link.send(frame(1), Class::Kept, now), Err(Refused::Greeting));
    link.tick(now + PATIENCE - Duration::from_millis(1));
    assert_eq!(events(link), []);
    link.tick(now + PATIENCE);
    assert_eq!(events(link), [Event::Down(Why::Unanswered)]);
    let half = Bytes::from(vec![b'x'; GREETING_MAX_BYTES / 2]);
    assert_eq!(link.send(half.clone(), Class::Ephemeral, now + PATIENCE), Err(Refused::Greeting));
    assert_eq!(link.send(half.clone(), Class::Kept, now + PATIENCE), Ok(()));
    assert_eq!(link.send(half, Class::Kept, now + PATIENCE), Err(Refused::Greeting), "with its length, too many bytes");
}

#[test]
fn many_frames_travel_in_few_envelopes() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..FRAMES_MAX as u64 + 1, pair.now);
    assert_eq!(frame_numbers(&pair.ann.outgoing(pair.now)), [1, 2]);
    let third = Bytes::from(vec![b'x'; GATHER_MAX_BYTES / 3]);
    for _ in 0..3 {
        pair.ann.send(third.clone(), Class::Kept, pair.now).unwrap();
    }
    let out = pair.ann.outgoing(pair.now);
    assert_eq!(frame_numbers(&out), [3, 4], "three thirds and their lengths are more than one");
    assert_eq!(pair.ann.send(Bytes::from(vec![0; FRAME_MAX_BYTES + 1]), Class::Kept, pair.now), Err(Refused::TooLong));
    pair.ann.send(Bytes::from(vec![0; FRAME_MAX_BYTES]), Class::Kept, pair.now).unwrap();
    assert_eq!(frame_numbers(&pair.ann.outgoing(pair.now)), [5], "the longest goes alone");
}

#[test]
fn what_comes_while_enough_is_on_the_way_gathers() {
    let mut pair = Pair::up();
    let mut out = Vec::new();
    for n in 0..IN_FLIGHT_MAX as u64 + 50 {
        send(&mut pair.ann, n..n + 1, pair.now);
        out.extend(pair.ann.outgoing(pair.now));
    }
    assert_eq!(out.len(), IN_FLIGHT_MAX);
    out.iter().for_each(|envelope| assert_eq!(pair.bob.received(envelope, pair.now), Heed::Taken));
    assert_eq!(pair.exchange(), 2, "one acknowledgement, and all that gathered");
    assert_eq!(events(&mut pair.bob), frames(0..IN_FLIGHT_MAX as u64 + 50));
}

#[test]
fn one_lost_envelope_costs_one_more() {
    let mut pair = Pair::up();
    for n in 0..10 {
        send(&mut pair.ann, n..n + 1, pair.now);
        for envelope in pair.ann.outgoing(pair.now).iter().filter(|envelope| envelope.number != 4) {
            pair.bob.received(envelope, pair.now);
        }
    }
    assert_eq!(events(&mut pair.bob), frames(0..3));
    pair.exchange();
    assert_eq!(events(&mut pair.bob), frames(3..10), "without waiting for a timer");
    assert_eq!(pair.ann.counts().resent, 1);
    assert_eq!((pair.bob.counts().ahead, pair.bob.counts().repeats), (6, 0));
}

#[test]
fn a_lost_burst_takes_one_wait_and_not_one_for_each_envelope() {
    let mut pair = Pair::up();
    for n in 0..10 {
        send(&mut pair.ann, n..n + 1, pair.now);
        pair.ann.outgoing(pair.now);
    }
    pair.wait(RESEND_MIN);
    assert_eq!(frame_numbers(&pair.ann.outgoing(pair.now)), [1], "to see whether the way is open again");
    pair.wait(RESEND_MIN * 2);
    pair.exchange();
    assert_eq!(events(&mut pair.bob), frames(0..1));
    pair.wait(ACK_AFTER);
    pair.exchange();
    assert_eq!(events(&mut pair.bob), frames(1..10));
    assert_eq!(pair.ann.counts().resent, 11);
}

#[test]
fn the_last_envelope_lost_is_sent_again_after_a_while_with_growing_waits() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..1, pair.now);
    let start = pair.now;
    let mut at = Vec::new();
    while pair.now < start + Duration::from_secs(6) {
        if !frame_numbers(&pair.ann.outgoing(pair.now)).is_empty() {
            at.push((pair.now - start).as_millis());
        }
        pair.now = pair.ann.next_deadline().unwrap();
    }
    assert_eq!(at, [0, 250, 750, 1_750, 3_750, 5_750]);
    assert!(pair.now < start + Duration::from_millis(7_750));
    pair.exchange();
    assert_eq!(events(&mut pair.bob), frames(0..1), "at once when the other side is heard");
}

#[test]
fn acknowledgements_wait_for_company_and_beats_for_silence() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..1, pair.now);
    let start = pair.now;
    assert_eq!(pair.exchange(), 1);
    assert_eq!(pair.bob.next_deadline(), Some(start + ACK_AFTER));
    send(&mut pair.bob, 0..1, pair.now);
    assert_eq!(pair.exchange(), 1, "a frame takes the acknowledgement along");
    assert_eq!(pair.ann.kept(), (0, 0));
    pair.wait(ACK_AFTER);
    assert_eq!(pair.exchange(), 1);
    assert_eq!(pair.bob.kept(), (0, 0));
    pair.now = start + BEAT;
    assert_eq!(pair.exchange(), 1, "the other one said something later");
}

#[test]
fn a_bus_that_refuses_is_left_alone_for_a_moment() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..1, pair.now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let out = pair.ann.outgoing(pair.now);
        assert_eq!(frame_numbers(&out), [1]);
        pair.ann.not_sent(Ticket::of(&out[0]), pair.now);
        pair.ann.not_sent(Ticket::of(&out[0]), pair.now);
        assert!(pair.ann.outgoing(pair.now).is_empty());
        let next = pair.ann.next_deadline().unwrap();
        waits.push(next - pair.now);
        pair.now = next;
    }
    assert_eq!((waits[0], waits[1], waits[7]), (REFUSED_PAUSE_MIN, REFUSED_PAUSE_MIN * 2, REFUSED_PAUSE_MAX));
    pair.exchange();
    assert_eq!(events(&mut pair.bob), frames(0..1));
}

#[test]
fn more_than_a_link_keeps_brings_it_down_once_on_each_side() {
    for (size, fit) in [(1, KEPT_MAX_FRAMES), (200 * 1024, KEPT_MAX_BYTES / (200 * 1024 + 4))] {
        let mut pair = Pair::up();
        let frame = Bytes::from(vec![b'x'; size]);
        for _ in 0..fit {
            pair.ann.send(frame.clone(), Class::Kept, pair.now).expect("there is room");
        }
        assert_eq!(pair.ann.send(frame.clone(), Class::Kept, pair.now), Err(Refused::Overflow));
        assert_eq!(events(&mut pair.ann), [Event::Down(Why::Overflow)]);
        send(&mut pair.ann, 7..9, pair.now);
        pair.meet();
        assert_eq!(events(&mut pair.ann), [up()]);
        assert_eq!(events(&mut pair.bob), [vec![Event::Down(Why::PeerReset), up()], frames(7..9)].concat());
    }
}

#[test]
fn what_may_be_dropped_is_refused_when_half_is_full() {
    let mut pair = Pair::up();
    assert_eq!(pair.ann.send(frame(0), Class::Ephemeral, pair.now), Ok(()));
    send(&mut pair.ann, 0..KEPT_MAX_FRAMES as u64 / 2, pair.now);
    assert_eq!(pair.ann.send(frame(0), Class::Ephemeral, pair.now), Err(Refused::Crowded));
    assert_eq!(pair.ann.send(frame(0), Class::Kept, pair.now), Ok(()));
    assert_eq!(events(&mut pair.ann), []);
}

#[test]
fn acknowledging_what_was_never_sent_ends_the_session() {
    for (ack, held) in [(5, 0), (0, 1 << 63), (u64::MAX, 1)] {
        let mut pair = Pair::up();
        send(&mut pair.ann, 0..3, pair.now);
        pair.ann.outgoing(pair.now);
        pair.wait(BEAT);
        let beat = pair.bob.outgoing(pair.now).remove(0);
        pair.ann.received(&Envelope { ack, held, ..beat }, pair.now);
        assert_eq!(events(&mut pair.ann), [Event::Down(Why::Nonsense)]);
    }
}

#[test]
fn a_wiped_bus_and_a_full_one_lose_nothing() {
    let mut world = World::new(8, 2, Plain);
    let (one, other) = (NodeId(1), NodeId(2));
    world.run_until(Duration::from_secs(3));
    world.bus.set_faults(Faults { delay_max: Duration::from_millis(100), ..Faults::NONE });
    world.bus.set_bound(Some(3));
    for n in 0..200 {
        world.send(one, other, 10, 100, Class::Kept);
        world.run_until(world.now + Duration::from_millis(2));
        if n % 50 == 49 {
            world.bus.wipe();
        }
    }
    world.bus.set_bound(None);
    world.run_until(world.now + Duration::from_secs(3));
    assert!(world.bus.counts.refused > 0 && world.bus.counts.wiped > 0, "{:?}", world.bus.counts);
    assert!(world.checker.downs().values().all(Vec::is_empty));
    assert_eq!(world.checker.frames, 2_000);
    world.checker.complete();
}
