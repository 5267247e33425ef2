//! Keepers of several nodes around one directory: who serves what while nodes come, go, stop and lose the directory.
//!
//! At every step of every test no two nodes hold a shard, and each owner's term is the latest that was given (`World::check`).

mod ports;
mod world;

use std::time::Duration;

use chinwag_actors::{
    cluster::shards::{JoinError, ShardState, ShardsMessage, all, join},
    ports::directory::{Directory, NodeLease, Owner},
};
use chinwag_schema::{
    ids::{Incarnation, NodeId, Shard, Term},
    limits::shards::{LEASE, RENEW_EVERY},
};
use tokio::sync::oneshot;

use ports::Reach;
use world::World;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_node_alone_serves_everything_one_lease_after_its_start() {
    let mut world = World::new();
    world.start(1);
    world.run(LEASE - MS(50));
    assert_eq!(world.node(1).serves(), []);
    world.run_until(MS(150), World::all_served);
    assert_eq!(world.node(1).heard().gained, Shard::COUNT);
}

#[test]
fn three_nodes_that_start_share_everything() {
    let mut world = World::new();
    for node in 1..=3 {
        world.start(node);
        world.run(MS(700));
    }
    world.run_until(S(6), World::all_served);
    world.run_until(S(2), World::shared);
    assert_eq!(world.moves.get(), 0, "each had its share from the first");
    for node in &world.nodes {
        assert!((60..=110).contains(&node.serves().len()), "{} shards", node.serves().len());
        assert_eq!(node.heard().joined.len(), 2);
    }
}

#[test]
fn a_node_that_joins_is_handed_its_share_and_nobody_waits_for_a_second() {
    let mut world = World::of(2);
    world.start(3);
    let took = world.run_until(S(10), World::shared);
    let share = world.node(3).serves().len();
    assert_eq!(world.moves.get(), share, "nothing else moved");
    assert!(world.longest_pause() <= MS(100), "{:?}", world.longest_pause());
    assert!(took < S(8), "{took:?}");
    assert_eq!(world.nodes.iter().map(|node| node.heard().lost).sum::<usize>(), 0, "handed over in order");
}

#[test]
fn without_hints_a_hand_over_pauses_a_shard_for_less_than_a_second_all_the_same() {
    let mut world = World::of(2);
    world.hints_arrive = false;
    world.start(3);
    world.run_until(S(10), World::shared);
    assert!(world.longest_pause() <= MS(500), "{:?}", world.longest_pause());
}

#[test]
fn a_killed_nodes_shards_are_served_elsewhere_within_ten_seconds() {
    for phase in 0..4 {
        let mut world = World::of(3);
        world.run(MS(250 * phase));
        let (dead, its) = (world.node(2).lease, world.node(2).serves());
        world.settle();
        world.kill(2);
        // At most 4 s of lease, 1 s until somebody looks, and 4 s of absence.
        let took = world.run_until(S(9) + MS(100), World::all_served);
        assert!(took > S(6), "{took:?}: its lease may have run, and everything been wiped");
        assert_eq!(world.moves.get(), its.len());
        world.run_until(S(10) - took, |world| world.nodes.iter().all(|node| node.heard().lost_nodes == [dead]));
        world.run_until(S(1), World::shared);
    }
}

#[test]
fn a_node_that_drains_hands_everything_over_and_leaves() {
    let world = &mut World::of(3);
    let node = world.node(2);
    *node.stopping.lock().unwrap() = MS(200);
    let (done, mut drained) = oneshot::channel();
    node.keeper.tell(ShardsMessage::Drain { done }).unwrap();
    world.run_until(S(15), |_| drained.try_recv().is_ok());
    assert!(world.all_served() && node.serves().is_empty());
    assert!(world.longest_pause() <= MS(400), "200 ms of them for its conversations: {:?}", world.longest_pause());
    assert_eq!(node.heard().lost, 0);
    world.settle();
    world.run(S(20));
    assert_eq!(world.moves.get(), 0, "nobody hands anything back to a node that drains");

    let (done, mut left) = oneshot::channel();
    node.keeper.tell(ShardsMessage::Leave { done }).unwrap();
    world.run_until(S(1), |_| left.try_recv().is_ok());
    world.kill(2);
    world.run(S(6));
    assert!(world.shared() && world.longest_pause() < MS(10));
    world.start(2);
    world.run_until(S(12), World::shared);
}

#[test]
fn the_last_node_drains_too() {
    let world = World::of(1);
    let (done, mut drained) = oneshot::channel();
    world.node(1).keeper.tell(ShardsMessage::Drain { done }).unwrap();
    world.run_until(S(10), |_| drained.try_recv().is_ok());
    assert_eq!(world.node(1).table.counts(), [0, 0, 0, Shard::COUNT]);
}

#[test]
fn two_nodes_drain_at_once_and_the_third_has_everything() {
    let world = World::of(3);
    let mut drained = Vec::new();
    for node in [1, 2] {
        let (done, heard) = oneshot::channel();
        world.node(node).keeper.tell(ShardsMessage::Drain { done }).unwrap();
        drained.push(heard);
    }
    world.run_until(S(30), |_| {
        drained.retain_mut(|heard| heard.try_recv().is_err());
        drained.is_empty()
    });
    world.run_until(S(1), |world| world.node(3).serves().len() == Shard::COUNT);
    assert!(world.longest_pause() < S(1), "{:?}", world.longest_pause());
}

#[test]
fn a_whole_cluster_that_drains_comes_to_an_end() {
    let world = World::of(3);
    let mut drained = Vec::new();
    for node in &world.nodes {
        let (done, heard) = oneshot::channel();
        node.keeper.tell(ShardsMessage::Drain { done }).unwrap();
        drained.push(heard);
    }
    world.run_until(S(60), |_| {
        drained.retain_mut(|heard| heard.try_recv().is_err());
        drained.is_empty()
    });
}

#[test]
fn a_stopped_node_serves_nothing_from_the_end_of_its_lease_on() {
    let world = World::of(3);
    let frozen = world.node(2);
    let its = frozen.serves();
    world.freeze(2);
    world.run(LEASE - RENEW_EVERY - MS(10));
    assert_eq!(frozen.serves(), its, "it still may");
    world.run(RENEW_EVERY + MS(20));
    assert_eq!(frozen.serves(), [], "though nothing told it");
    assert!(its.iter().all(|&shard| frozen.table.term(shard).is_none()));
    world.run_until(S(6), |world| {
        its.iter().all(|&shard| world.nodes.iter().any(|node| node.table.term(shard).is_some()))
    });
    world.run(S(20));
    world.thaw(2);
    assert_eq!(frozen.serves(), [], "before its first turn");
    world.run(MS(10));
    assert_eq!(frozen.heard().lost, its.len());
    world.run_until(S(15), World::shared);
    assert!(!frozen.heard().displaced);
}

#[test]
fn an_answer_that_came_while_a_node_was_stopped_proves_nothing() {
    let world = World::of(3);
    let frozen = world.node(2);
    frozen.reaches(Reach::AnswerHeld);
    // A renewal is sent and done, and its answer lies in the socket when the node goes on.
    world.run(RENEW_EVERY);
    world.freeze(2);
    frozen.reaches(Reach::Silent);
    world.run(S(30));
    world.thaw(2);
    world.run(S(1));
    assert_eq!(frozen.serves(), []);
    frozen.reaches(Reach::Fine);
    world.run_until(S(15), World::shared);
}

#[test]
fn a_wiped_directory_takes_no_shard_from_an_owner_that_lives() {
    let world = World::of(3);
    for _ in 0..5 {
        world.run(MS(1370));
        world.wipe();
    }
    world.run(S(15));
    assert_eq!(world.moves.get(), 0);
    assert!(world.longest_pause() < MS(10), "{:?}", world.longest_pause());
    for node in &world.nodes {
        let heard = node.heard();
        assert_eq!((heard.anew, heard.lost, heard.lost_nodes.len()), (5, 0, 0), "each registers all again, each time");
    }
}

#[test]
fn three_seconds_without_the_directory_cost_nothing() {
    for reach in [Reach::Refused, Reach::Silent] {
        let world = World::of(3);
        for phase in 0..5 {
            world.run(MS(100 * phase));
            world.settle();
            world.all_reach(reach);
            world.run(S(3));
            world.all_reach(Reach::Fine);
            world.run(LEASE + S(1));
            assert_eq!((world.moves.get(), world.longest_pause()), (0, Duration::ZERO));
        }
    }
}

#[test]
fn after_thirty_seconds_without_the_directory_everybody_has_its_share_again() {
    for reach in [Reach::Refused, Reach::Silent] {
        let world = World::of(3);
        world.all_reach(reach);
        world.run(S(6));
        assert!(world.nodes.iter().all(|node| node.serves().is_empty()), "nobody can prove anything");
        world.run(S(24));
        world.all_reach(Reach::Fine);
        world.run_until(S(6), World::all_served);
        world.run_until(S(1), World::shared);
        assert_eq!(world.moves.get(), 0, "each has what it had, with a new term");
        assert!(world.nodes.iter().all(|node| node.heard().lost_nodes.is_empty()));
    }
}

#[test]
fn a_node_that_alone_loses_the_directory_stops_before_others_begin() {
    let world = World::of(3);
    world.node(2).reaches(Reach::Silent);
    let stopped = world.run_until(LEASE, |world| world.node(2).serves().is_empty());
    world.run_until(S(10) - stopped, World::all_served);
    world.node(2).reaches(Reach::Fine);
    world.run_until(S(15), World::shared);
}

#[test]
fn a_shard_whose_term_the_store_refuses_is_claimed_again_with_a_larger_one() {
    let world = World::of(3);
    let shard = world.node(1).serves()[0];
    let term = world.node(1).table.term(shard).unwrap();
    let fenced = ShardsMessage::Fenced { shard, term, found: Some(Term(term.0 + 100)) };
    world.node(1).keeper.tell(fenced).unwrap();
    world.run_until(S(1), |world| world.node(1).table.term(shard).is_some_and(|now| now > Term(term.0 + 100)));
    assert_eq!((world.moves.get(), world.node(1).heard().lost), (0, 1));
    let late = ShardsMessage::Fenced { shard, term, found: None };
    world.node(1).keeper.tell(late).unwrap();
    world.run(S(1));
    assert_eq!(world.node(1).heard().lost, 1, "it has another term since");
}

#[test]
fn conversations_that_do_not_stop_hold_up_a_hand_over_for_a_few_seconds_only() {
    let world = &mut World::of(2);
    *world.node(1).stopping.lock().unwrap() = S(3600);
    world.start(3);
    world.run_until(S(60), World::shared);
    assert!(world.node(1).heard().lost > 0, "their conversations are told to stop at once");
    assert_eq!(world.node(2).heard().lost, 0);
}

#[test]
fn a_node_that_takes_nothing_is_soon_offered_nothing() {
    let mut world = World::of(2);
    world.start(3);
    world.node(3).fails_to_get_terms(true);
    world.run(S(25));
    // Two owners offered eight each, once; those are back.
    assert!(world.moves.get() <= 32, "{} moves", world.moves.get());
    assert!(world.all_served(), "{:?}", world.nodes.iter().map(|node| node.serves().len()).collect::<Vec<_>>());
    world.node(3).fails_to_get_terms(false);
    world.run(S(60));
    assert!(world.node(3).serves().len() > 50, "it is offered the rest now");
}

#[test]
fn a_term_that_was_fetched_long_ago_is_not_claimed_with() {
    let mut world = World::new();
    world.start(2);
    // It sees that everything is free, fetches terms, and can't claim with them.
    world.node(2).reaches(Reach::ReadOnly);
    world.run(MS(500));
    world.start(1);
    world.run_until(S(6), World::all_served);
    let fetched_by_both: Vec<_> = all().filter(|&shard| world.terms.given(shard) == Term(2)).collect();
    assert!(fetched_by_both.len() > 50, "{}", fetched_by_both.len());
    world.kill(1);
    world.run(LEASE + S(1));
    world.node(2).reaches(Reach::Fine);
    world.run_until(S(6), World::all_served);
    assert!(fetched_by_both.iter().all(|&shard| world.node(2).table.term(shard) > Some(Term(2))));
}

#[test]
fn a_second_process_of_one_name_is_refused_after_one_lease() {
    let world = World::of(1);
    let directory = world.directory.lock().unwrap().clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let other = NodeLease { node: NodeId(1), incarnation: Incarnation(77) };
    // The first one renews all along: its world's time stands still.
    let began = runtime.block_on(async { tokio::time::Instant::now() });
    let error = runtime.block_on(join(&*directory, other)).unwrap_err();
    let waited = runtime.block_on(async { began.elapsed() });
    assert!(matches!(error, JoinError::NameInUse(NodeId(1))), "{error}");
    assert!((LEASE..LEASE + S(2)).contains(&waited), "{waited:?}");
    assert!(error.to_string().contains("--node"), "{error}");
}

#[test]
fn a_node_whose_name_was_taken_while_it_slept_ends() {
    let world = World::of(2);
    world.freeze(2);
    world.run(LEASE + S(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let other = NodeLease { node: NodeId(2), incarnation: Incarnation(77) };
    let directory = world.directory.lock().unwrap().clone();
    runtime.block_on(join(&*directory, other)).unwrap();
    world.thaw(2);
    world.run(MS(20));
    assert!(world.node(2).heard().displaced && world.node(2).serves().is_empty());
    world.run(S(30));
    assert_eq!(world.node(1).serves().len(), Shard::COUNT, "it claims nothing any more");
}

#[test]
fn what_an_earlier_life_left_in_the_directory_is_not_taken_for_ours() {
    let mut world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let directory = world.directory.lock().unwrap().clone();
    let left: Vec<_> = all().map(|shard| (shard, Owner { node: NodeId(1), term: Term(9) })).collect();
    runtime.block_on(directory.claim_shards(&left, LEASE)).unwrap();
    world.start(1);
    world.run(LEASE - MS(100));
    assert_eq!(world.node(1).serves(), []);
    assert_eq!(world.node(1).table.state(Shard(0)), ShardState::Nobodys, "nor for another's");
    world.run_until(LEASE + S(1), World::all_served);
}
