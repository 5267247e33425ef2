//! When a link is up, when it is down, and whom it hears.

use std::time::Duration;

use chinwag_actors::{
    cluster::{
        envelope::{Envelope, Versions},
        link::{Class, Epochs, Event, Heed, Link, LinkState, Refused, Why},
    },
    ports::directory::NodeLease,
};
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::link::{BEAT, GREET_MAX, PATIENCE},
};

use crate::{
    pair::{ANN, BOB, Pair, events, frame, frames, send, up},
    world::{Plain, World},
};

#[test]
fn a_link_is_up_after_three_greetings() {
    let mut pair = Pair::greeting();
    send(&mut pair.ann, 0..3, pair.now);
    let hello = pair.ann.outgoing(pair.now).remove(0);
    pair.bob.received(&hello, pair.now);
    let carried = 1 + pair.exchange();
    assert!(carried <= 5, "three greetings, the frames, and at most one more: {carried}");
    assert_eq!(events(&mut pair.bob), [vec![up()], frames(0..3)].concat(), "what waited comes first");
    assert_eq!((events(&mut pair.ann), pair.ann.state()), (vec![up()], LinkState::Up));
}

#[test]
fn nothing_is_accepted_for_a_node_that_is_not_there() {
    let mut link = Link::new(ANN, BOB.node, Epochs::default(), Versions::HERE, Duration::ZERO);
    assert_eq!(link.send(frame(1), Class::Kept, Duration::ZERO), Err(Refused::Absent));
    assert_eq!((link.state(), link.next_deadline()), (LinkState::Absent, None));
    assert!(link.outgoing(Duration::from_secs(60)).is_empty());
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..2, pair.now);
    pair.ann.peer_gone(pair.now);
    pair.ann.peer_gone(pair.now);
    assert_eq!(events(&mut pair.ann), [Event::Down(Why::PeerGone)]);
    assert_eq!(pair.ann.send(frame(1), Class::Kept, pair.now), Err(Refused::Absent));
}

#[test]
fn a_node_that_says_nothing_for_too_long_is_given_up() {
    let mut pair = Pair::up();
    pair.wait(PATIENCE - Duration::from_millis(1));
    pair.ann.tick(pair.now);
    assert_eq!(events(&mut pair.ann), []);
    pair.wait(Duration::from_millis(1));
    pair.ann.tick(pair.now);
    assert_eq!(events(&mut pair.ann), [Event::Down(Why::Silent)]);
}

#[test]
fn a_frame_that_nobody_acknowledges_is_given_up_though_the_other_node_is_heard() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..1, pair.now);
    let start = pair.now;
    let mut downs = Vec::new();
    while pair.now < start + PATIENCE {
        pair.wait(Duration::from_millis(100));
        pair.ann.outgoing(pair.now);
        for envelope in pair.bob.outgoing(pair.now) {
            pair.ann.received(&envelope, pair.now);
        }
        downs.extend(events(&mut pair.ann));
    }
    assert_eq!(downs, [Event::Down(Why::Unanswered)]);
}

#[test]
fn a_stopped_process_notices_before_it_says_or_hears_anything() {
    type Call = fn(&mut Link, &Envelope, Duration);
    let calls: [Call; 4] = [
        |link, _, now| link.tick(now),
        |link, _, now| drop(link.outgoing(now)),
        |link, envelope, now| assert_eq!(link.received(envelope, now), Heed::Stale),
        |link, _, now| assert_eq!(link.send(frame(1), Class::Kept, now), Ok(())),
    ];
    for call in calls {
        let mut pair = Pair::up();
        send(&mut pair.bob, 0..1, pair.now);
        let before = pair.bob.outgoing(pair.now).remove(0);
        pair.wait(Duration::from_secs(30));
        call(&mut pair.ann, &before, pair.now);
        assert_eq!(events(&mut pair.ann), [Event::Down(Why::Silent)]);
        assert_eq!(pair.ann.received(&before, pair.now), Heed::Stale);
    }
}

#[test]
fn another_life_of_a_node_is_heard_only_when_the_directory_knows_it() {
    let mut pair = Pair::up();
    let reborn = NodeLease { incarnation: Incarnation(23), ..BOB };
    let mut bob = Link::new(reborn, ANN.node, Epochs::default(), Versions::HERE, pair.now);
    bob.peer_incarnation(ANN.incarnation, pair.now);
    let hello = bob.outgoing(pair.now).remove(0);
    assert_eq!(pair.ann.received(&hello, pair.now), Heed::Stranger);
    pair.ann.peer_incarnation(reborn.incarnation, pair.now);
    assert_eq!(events(&mut pair.ann), [Event::Down(Why::PeerRestarted)]);
    let late = pair.bob.outgoing(pair.now + BEAT).remove(0);
    assert_eq!(pair.ann.received(&late, pair.now), Heed::Stranger, "the dead one's last words");
    pair.bob = bob;
    assert_eq!(pair.ann.received(&hello, pair.now), Heed::Stale, "it knows nothing of Ann, but she of it");
    pair.wait(BEAT);
    pair.exchange();
    assert_eq!((events(&mut pair.ann), events(&mut pair.bob)), (vec![up()], vec![up()]));
}

#[test]
fn a_link_that_is_built_anew_in_the_same_life_meets_the_other_again() {
    let mut pair = Pair::greeting();
    let epochs = Epochs::default();
    pair.ann = Link::new(ANN, BOB.node, epochs.clone(), Versions::HERE, pair.now);
    pair.ann.peer_incarnation(BOB.incarnation, pair.now);
    pair.meet();
    events(&mut pair.bob);
    send(&mut pair.bob, 0..5, pair.now);
    let late = pair.bob.outgoing(pair.now).remove(0);
    pair.ann = Link::new(ANN, BOB.node, epochs, Versions::HERE, pair.now);
    pair.ann.peer_incarnation(BOB.incarnation, pair.now);
    assert_eq!(pair.ann.received(&late, pair.now), Heed::Stale);
    pair.exchange();
    assert_eq!(events(&mut pair.bob), [Event::Down(Why::PeerReset), up()]);
    assert_eq!(events(&mut pair.ann), [up()], "and nothing of what went to the one before");
}

/// Both sides of a session leave words on the bus that arrive when the next one is up.
#[test]
fn late_words_of_an_ended_session_are_not_heard() {
    let mut pair = Pair::up();
    send(&mut pair.ann, 0..1, pair.now);
    send(&mut pair.bob, 0..1, pair.now);
    let from_ann = pair.ann.outgoing(pair.now).remove(0);
    let from_bob = pair.bob.outgoing(pair.now).remove(0);
    // Ann gives up: her epoch is another, Bob's stays.
    pair.ann.peer_gone(pair.now);
    pair.ann.peer_incarnation(BOB.incarnation, pair.now);
    pair.meet();
    assert_eq!(events(&mut pair.ann), [Event::Down(Why::PeerGone), up()]);
    assert_eq!(events(&mut pair.bob), [Event::Down(Why::PeerReset), up()]);
    assert_eq!(pair.bob.received(&from_ann, pair.now), Heed::Stale);
    assert_eq!(pair.ann.received(&from_bob, pair.now), Heed::Stale);
    assert_eq!((events(&mut pair.ann), events(&mut pair.bob)), (vec![], vec![]));
}

#[test]
fn whoever_shows_that_it_does_not_know_this_side_is_answered_at_once() {
    let mut pair = Pair::greeting();
    let hello = pair.bob.outgoing(pair.now).remove(0);
    pair.ann.received(&hello, pair.now);
    for _ in 0..6 {
        // Ann's greetings are lost.
        assert_eq!(pair.ann.outgoing(pair.now).len(), 1);
        pair.wait(GREET_MAX);
    }
    pair.ann.outgoing(pair.now);
    pair.wait(GREET_MAX / 2);
    assert!(pair.ann.outgoing(pair.now).is_empty(), "she waits");
    pair.exchange();
    assert_eq!((events(&mut pair.ann), events(&mut pair.bob)), (vec![up()], vec![up()]));
}

#[test]
fn nodes_of_two_releases_speak_the_highest_version_of_both_or_say_that_there_is_none() {
    let versions = |min, max| Versions { min, max };
    let mut pair = Pair::of(versions(1, 2), versions(2, 4));
    send(&mut pair.ann, 0..1, pair.now);
    pair.meet();
    assert_eq!(events(&mut pair.ann), [Event::Up { version: 2 }]);
    assert_eq!(events(&mut pair.bob), [vec![Event::Up { version: 2 }], frames(0..1)].concat());
    send(&mut pair.bob, 0..1, pair.now);
    assert_eq!(pair.bob.outgoing(pair.now)[0].version, 2);

    let mut pair = Pair::of(versions(1, 2), versions(3, 4));
    send(&mut pair.ann, 0..1, pair.now);
    for _ in 0..20 {
        assert!(pair.exchange() <= 4, "they greet each other no more often than usual");
        pair.wait(Duration::from_millis(100));
    }
    assert_eq!((events(&mut pair.ann), events(&mut pair.bob)), (vec![], vec![]));
    assert_eq!(pair.ann.state(), LinkState::Incompatible(versions(3, 4)));
    assert_eq!(pair.bob.state(), LinkState::Incompatible(versions(1, 2)));
}

#[test]
fn a_rolling_upgrade_and_its_return_stop_no_link() {
    let mut world = World::new(9, 3, Plain);
    let versions = |max| Versions { min: 1, max };
    for (max, spoken) in [(2, 2), (1, 1)] {
        for node in world.ids() {
            world.set_versions(node, versions(max));
            world.crash(node, world.now + Duration::from_secs(1));
            world.run_until(world.now + Duration::from_secs(8));
            assert!(world.all_up(), "with {node:?} at version {max}");
        }
        assert!(world.links().all(|(_, link)| link.version() == Some(spoken)));
    }
}

/// Within a lease, a pause costs time only; beyond it the session ends, once on each side.
#[test]
fn a_short_pause_loses_nothing_and_a_long_one_is_one_down() {
    for (pause_ms, downs) in [(2_000, 0), (30_000, 1)] {
        let mut world = World::new(7, 2, Plain);
        let (one, other) = (NodeId(1), NodeId(2));
        world.run_until(Duration::from_secs(3));
        world.pause(other, world.now + Duration::from_millis(pause_ms));
        for _ in 0..10 {
            world.send(one, other, 5, 100, Class::Kept);
            world.run_until(world.now + Duration::from_millis(50));
        }
        world.run_until(Duration::from_secs(40));
        assert!(world.all_up());
        for (side, why) in world.checker.downs() {
            assert_eq!(why.len(), downs, "{side:?}: {why:?}");
        }
        world.checker.complete();
    }
}
