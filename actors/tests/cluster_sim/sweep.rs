//! Links under everything that a bus, a scheduler and a power cut can do, by seeds.

use std::time::Duration;

use chinwag_actors::cluster::{
    keyring::Keyring,
    link::{Class, Why},
};
use chinwag_schema::ids::NodeId;
use rand::{RngExt as _, seq::IndexedRandom as _};

use crate::{
    bus::Faults,
    seeds,
    world::{Plain, Sealed, Wire, World},
};

/// Until when things go wrong; how long nodes may need after it; and how long a quiet cluster is watched.
const TROUBLE: Duration = Duration::from_secs(80);
const RECOVERY: Duration = Duration::from_secs(15);
const QUIET: Duration = Duration::from_secs(10);

const NONE: Faults = Faults::NONE;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn two_nodes_keep_every_promise_on_any_bus() {
    let mut downs = Vec::new();
    seeds(1_000, |seed| downs.extend(trouble(World::new(seed, 2, Plain))));
    let ways = [Why::Overflow, Why::Silent, Why::Unanswered, Why::PeerReset, Why::PeerRestarted, Why::PeerGone];
    let rare = ways.map(|way| downs.iter().filter(|why| **why == way).count() * 100 / downs.len().max(1));
    assert!(downs.len() < 1_000 || rare.iter().all(|&percent| percent > 0), "{ways:?}: {rare:?} % of {}", downs.len());
}

#[test]
fn many_nodes_keep_every_promise_on_any_bus() {
    seeds(25, |seed| drop(trouble(World::new(seed, 6, Plain))));
}

#[test]
fn sealed_envelopes_keep_every_promise_on_any_bus() {
    let keys = Keyring::parse(b"a key for a cluster that is not there").unwrap();
    seeds(20, |seed| drop(trouble(World::new(seed, 3, Sealed(keys.clone())))));
}

/// A life of a cluster: trouble, then none, then rest. Returns why links went down.
fn trouble<W: Wire + 'static>(mut world: World<W>) -> Vec<Why> {
    for _ in 0..world.rng.random_range(2..9) {
        let at = ms(world.rng.random_range(0..TROUBLE.as_millis() as u64));
        let until = (at + ms(world.rng.random_range(50..25_000))).min(TROUBLE);
        world.at(at, move |world| episode(world, until));
    }
    chatter(&mut world, TROUBLE + RECOVERY);
    world.at(TROUBLE, heal);
    world.run_until(TROUBLE);
    let before = world.checker.downs();
    world.run_until(TROUBLE + RECOVERY);
    assert!(world.all_up(), "the bus works and everybody is there, but a link is not up");
    for (side, downs) in world.checker.downs() {
        let after = downs.get(before.get(&side).map_or(0, Vec::len)..).unwrap_or_default();
        let own = after.iter().filter(|why| matches!(why, Why::Silent | Why::Unanswered)).count();
        assert!(own <= 1 && after.len() <= 4, "{side:?} was reset again and again after the trouble: {after:?}");
        assert!(!downs.contains(&Why::Nonsense), "{side:?}: {downs:?}");
    }
    rest(&mut world);
    world.checker.downs().into_values().flatten().collect()
}

/// Nothing is sent any more: everything has arrived, nothing is reset, and links only say that they live.
fn rest<W: Wire + 'static>(world: &mut World<W>) {
    let start = world.now;
    world.run_until(start + ms(1_000));
    world.checker.complete();
    let downs = world.checker.downs();
    let sent = world.bus.counts.accepted;
    world.run_until(start + ms(1_000) + QUIET);
    assert_eq!(world.checker.downs(), downs, "a quiet link went down");
    world.checker.complete();
    for (side, link) in world.links() {
        assert_eq!((link.kept(), link.ahead_bytes()), ((0, 0), 0), "{side:?} keeps what has arrived");
    }
    let links = world.links().count() as u64;
    let beats = world.bus.counts.accepted - sent;
    assert!((9 * links..=11 * links).contains(&beats), "{beats} envelopes of {links} links in {QUIET:?}");
}

/// Nodes send each other something every now and then, and everybody something in the end.
fn chatter<W: Wire + 'static>(world: &mut World<W>, until: Duration) {
    let ids = world.ids();
    let mut at = Duration::ZERO;
    while at < until {
        let pair: Vec<NodeId> = ids.sample(&mut world.rng, 2).copied().collect();
        let frames = world.rng.random_range(1..10);
        let bytes = world.rng.random_range(0..700);
        let class = if world.rng.random_bool(0.2) { Class::Ephemeral } else { Class::Kept };
        world.at(at, move |world| {
            world.send(pair[0], pair[1], frames, bytes, class);
        });
        at += ms(world.rng.random_range(0..1_200 / ids.len() as u64));
    }
    for &from in &ids {
        for &to in ids.iter().filter(|to| **to != from) {
            world.at(until - ms(1), move |world| assert_eq!(world.send(from, to, 20, 100, Class::Kept), 20));
        }
    }
}

/// Something goes wrong.
fn episode<W: Wire + 'static>(world: &mut World<W>, until: Duration) {
    let ids = world.ids();
    let pair: Vec<NodeId> = ids.sample(&mut world.rng, 2).copied().collect();
    let (one, other) = (pair[0], pair[1]);
    let loss = *[0.02, 0.2, 0.5].choose(&mut world.rng).expect("not empty");
    match world.rng.random_range(0..12) {
        0 => faults(world, until, Faults { loss, ..NONE }),
        1 => faults(world, until, Faults { repeat: 0.4, reorder: 0.3, late: ms(200), ..NONE }),
        2 => faults(world, until, Faults { loss, repeat: loss, reorder: loss, late: ms(6_000), ..NONE }),
        3 => faults(world, until, Faults { delay_max: ms(3_000), ..NONE }),
        4 => {
            world.bus.set_way(one, other, Faults::CUT);
            world.at(until, move |world| world.bus.set_way(one, other, NONE));
        }
        5 => {
            world.bus.set_way(one, other, Faults { loss: 0.8, delay_max: ms(400), ..NONE });
            world.at(until, move |world| world.bus.set_way(one, other, NONE));
        }
        6 => {
            world.bus.set_down(true);
            world.at(until, |world| world.bus.set_down(false));
        }
        7 => world.bus.wipe(),
        8 => {
            let bound = world.rng.random_range(0..6);
            world.bus.set_bound(Some(bound));
            world.at(until, |world| world.bus.set_bound(None));
        }
        9 => world.pause(one, until),
        10 => world.crash(one, until),
        // More than a link keeps: 10 MiB, and what comes after it.
        _ => {
            world.pause(other, until);
            world.send(one, other, 44, 240 * 1024, Class::Kept);
            world.send(one, other, 3, 10, Class::Kept);
        }
    }
}

fn faults<W: Wire + 'static>(world: &mut World<W>, until: Duration, faults: Faults) {
    world.bus.set_faults(faults);
    world.at(until, |world| world.bus.set_faults(NONE));
}

fn heal<W: Wire>(world: &mut World<W>) {
    world.bus.set_faults(NONE);
    world.bus.set_down(false);
    world.bus.set_bound(None);
}

/// Leases run out again and again while envelopes come up to half a minute late: each session meets the words of those before it.
#[test]
fn sessions_that_end_often_do_not_hear_each_other() {
    seeds(300, |seed| {
        let mut world = World::new(seed, 2, Plain);
        world.bus.set_faults(Faults { repeat: 0.5, reorder: 0.5, late: ms(30_000), ..NONE });
        for n in 0..8 {
            world.at(ms(3_000 + n * 7_000), |world| {
                let node = *world.ids().choose(&mut world.rng).expect("not empty");
                let until = world.now + ms(world.rng.random_range(4_500..6_000));
                world.pause(node, until);
            });
        }
        chatter(&mut world, TROUBLE);
        world.run_until(TROUBLE);
        assert!(world.checker.downs().values().map(Vec::len).sum::<usize>() >= 8);
    });
}

/// Two sides that give up at the same moment, whatever the handshake then meets, reset each other no more.
#[test]
fn sides_that_reset_at_once_meet_again_without_further_resets() {
    seeds(2_000, |seed| {
        let mut world = World::new(seed, 2, Plain);
        let (one, other) = (NodeId(1), NodeId(2));
        world.run_until(ms(3_000));
        assert!(world.all_up());
        // Both lose each other for longer than their patience, and have something to say.
        world.bus.set_faults(Faults::CUT);
        world.send(one, other, 3, 100, Class::Kept);
        world.send(other, one, 3, 100, Class::Kept);
        let noise = world.rng.random_range(0.0..0.7);
        let healed = ms(world.rng.random_range(12_900..13_100));
        world.at(healed, move |world| {
            let faults = Faults { loss: noise, repeat: noise, reorder: noise, late: ms(300), ..NONE };
            world.bus.set_faults(faults);
        });
        world.at(healed + ms(3_000), heal);
        world.run_until(healed + ms(8_000));
        assert!(world.all_up());
        for (side, downs) in world.checker.downs() {
            let own = downs.iter().filter(|why| !matches!(why, Why::PeerReset)).count();
            assert!(own <= 1 && (1..=2).contains(&downs.len()), "{side:?}: {downs:?}");
        }
        for (side, link) in world.links() {
            assert!(link.counts().resets <= 1, "{side:?}: {:?}", link.counts());
        }
        world.send(one, other, 3, 100, Class::Kept);
        rest(&mut world);
    });
}

/// Not a promise of links, but of this bus: without faults it delivers.
#[test]
fn the_bus_without_faults_keeps_order_and_loses_nothing() {
    let mut world = World::new(1, 2, Plain);
    world.run_until(ms(3_000));
    for _ in 0..500 {
        world.send(NodeId(1), NodeId(2), 1, 10, Class::Kept);
        world.run_until(world.now + ms(1));
    }
    world.run_until(world.now + ms(100));
    let counts = world.links().find(|(side, _)| side.0 == NodeId(2)).expect("a link").1.counts();
    assert_eq!((counts.frames_received, counts.ahead, counts.repeats, counts.resent), (500, 0, 0, 0));
}
