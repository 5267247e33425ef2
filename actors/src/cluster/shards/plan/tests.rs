use std::collections::{BTreeMap, BTreeSet};

use chinwag_schema::ids::{Incarnation, Term};
use proptest::{collection::btree_set, prelude::*, sample::Index};

use super::*;

const ME: NodeId = NodeId(500);
const NOW: Duration = Duration::from_secs(1000);

const HELD: Hand<'static> = Hand::Held { instead_of: &[] };
static ONE: [[NodeLease; 1]; 4] = [[lease(499)], [lease(500)], [lease(501)], [lease(502)]];

const fn lease(node: u16) -> NodeLease {
    NodeLease { node: NodeId(node), incarnation: Incarnation(node as u64 + 1) }
}

fn live(node: u16, settled: bool) -> Live {
    Live { lease: lease(node), settled }
}

fn view<'a>(me: NodeId, live: &'a [Live], shards: &'a [Known<'static>; Shard::COUNT]) -> View<'a> {
    View { me, draining: false, now: NOW, live, shunned: &[], room: Shard::COUNT, shards }
}

/// The same for all shards.
fn known(seen: Seen, hand: Hand<'static>) -> [Known<'static>; Shard::COUNT] {
    [Known { seen, hand }; Shard::COUNT]
}

fn nodes() -> impl Strategy<Value = BTreeSet<u16>> {
    btree_set(0..NodeId::COUNT, 1..40)
}

fn firsts(nodes: &BTreeSet<u16>) -> Vec<NodeId> {
    all().map(|shard| first(shard, nodes.iter().map(|&node| NodeId(node))).unwrap()).collect()
}

/// Everything that may be known of a shard.
fn anything() -> impl Strategy<Value = Known<'static>> {
    let owner = (0u16..4, 0u64..3).prop_map(|(node, term)| Owner { node: NodeId(499 + node), term: Term(term) });
    let seen = prop_oneof![
        Just(Seen::Unknown),
        owner.prop_map(Seen::Owned),
        (0u64..20_000).prop_map(|ms| Seen::Absent { since: NOW - Duration::from_millis(ms) }),
    ];
    let hand = prop_oneof![
        3 => Just(Hand::Empty),
        1 => Just(Hand::Busy),
        2 => Just(HELD),
        1 => (499u16..503).prop_map(|node| Hand::Held { instead_of: &ONE[usize::from(node - 499)] }),
    ];
    (seen, hand).prop_map(|(seen, hand)| Known { seen, hand })
}

fn anything_of_all() -> impl Strategy<Value = [Known<'static>; Shard::COUNT]> {
    proptest::collection::vec(anything(), Shard::COUNT).prop_map(|all| all.try_into().unwrap())
}

proptest! {
    #[test]
    fn a_node_that_joins_takes_its_share_and_nothing_else_moves(mut nodes in nodes(), joins in 0..NodeId::COUNT) {
        prop_assume!(!nodes.contains(&joins));
        let before = firsts(&nodes);
        nodes.insert(joins);
        for (before, after) in before.into_iter().zip(firsts(&nodes)) {
            prop_assert!(after == before || after == NodeId(joins));
        }
    }

    #[test]
    fn a_node_that_goes_leaves_its_share_and_nothing_else_moves(mut nodes in nodes(), goes in any::<Index>()) {
        prop_assume!(nodes.len() > 1);
        let goes = *goes.get(&nodes.iter().copied().collect::<Vec<_>>());
        let before = firsts(&nodes);
        nodes.remove(&goes);
        for (before, after) in before.into_iter().zip(firsts(&nodes)) {
            prop_assert!(after == before || before == NodeId(goes));
        }
    }

    /// As even as throwing dice: within six standard deviations of an equal share.
    #[test]
    fn shares_are_even(nodes in nodes()) {
        let firsts = firsts(&nodes);
        let equal = Shard::COUNT as f64 / nodes.len() as f64;
        for &node in &nodes {
            let share = firsts.iter().filter(|first| first.0 == node).count() as f64;
            prop_assert!((share - equal).abs() <= 6.0 * equal.sqrt() + 2.0, "{share} of {equal}");
        }
    }

    #[test]
    fn once_absent_for_a_lease_each_shard_is_claimed_by_exactly_one(nodes in nodes()) {
        let shards = known(Seen::Absent { since: NOW - LEASE }, Hand::Empty);
        let early = known(Seen::Absent { since: NOW - LEASE + Duration::from_nanos(1) }, Hand::Empty);
        let mut claimed = BTreeSet::new();
        for &me in &nodes {
            let others: Vec<_> = nodes.iter().filter(|&&node| node != me).map(|&node| live(node, false)).collect();
            for shard in decide(&view(NodeId(me), &others, &shards)).claim {
                prop_assert!(claimed.insert(shard), "claimed twice");
            }
            let plan = decide(&view(NodeId(me), &others, &early));
            prop_assert!(plan.claim.is_empty() && plan.due > Some(NOW));
        }
        prop_assert_eq!(claimed.len(), Shard::COUNT);
    }

    #[test]
    fn a_plan_keeps_the_rules(
        shards in anything_of_all(),
        others in btree_set(499u16..503, 0..4),
        unsettled in any::<[bool; 4]>(),
        shunned in btree_set(499u16..503, 0..2),
        draining in any::<bool>(),
        room in 0usize..20,
    ) {
        let live: Vec<_> = others.iter().filter(|&&node| node != ME.0)
            .map(|&node| live(node, !unsettled[usize::from(node - 499)])).collect();
        let shunned: Vec<_> = shunned.into_iter().map(NodeId).collect();
        let plan = decide(&View { me: ME, draining, now: NOW, live: &live, shunned: &shunned, room, shards: &shards });
        let of = |shard: &Shard| shards[usize::from(shard.0)];
        let is_live = |node: NodeId| live.iter().find(|live| live.lease.node == node);

        for shard in &plan.claim {
            prop_assert!(!draining && of(shard).hand == Hand::Empty);
            match of(shard).seen {
                Seen::Absent { since } => prop_assert!(NOW - since >= LEASE),
                Seen::Owned(owner) => prop_assert_eq!(owner, Owner { node: ME, term: OFFERED }),
                Seen::Unknown => prop_assert!(false, "claimed without a look"),
            }
        }
        prop_assert!(plan.hand_over.len() <= room);
        for (shard, to) in &plan.hand_over {
            let Hand::Held { instead_of } = of(shard).hand else { panic!("not ours") };
            match to {
                Some(to) => {
                    let heir = is_live(*to);
                    prop_assert!(heir.is_some() && *to != ME && !shunned.contains(to));
                    if !draining {
                        let heir = heir.unwrap();
                        prop_assert!(heir.settled && !instead_of.contains(&heir.lease));
                    }
                }
                None => prop_assert!(draining && live.iter().all(|live| shunned.contains(&live.lease.node))),
            }
        }
        for (shard, to) in &plan.pass_on {
            prop_assert!(draining && to.is_none_or(|to| is_live(to).is_some() && !shunned.contains(&to)));
            prop_assert_eq!(of(shard).seen, Seen::Owned(Owner { node: ME, term: OFFERED }));
        }
        if draining {
            let held = shards.iter().filter(|known| matches!(known.hand, Hand::Held { .. })).count();
            prop_assert_eq!(plan.hand_over.len(), held.min(room), "a node that drains keeps nothing");
            prop_assert!(plan.claim.is_empty() && plan.due.is_none());
        }
    }

    /// Whoever hands over does so to a node that keeps it: nothing goes round.
    #[test]
    fn what_is_handed_over_stays_where_it_goes(nodes in nodes(), owner in any::<Index>()) {
        let all_nodes: Vec<_> = nodes.iter().copied().collect();
        let others = |me: u16| -> Vec<_> { nodes.iter().filter(|&&node| node != me).map(|&node| live(node, true)).collect() };
        let owner = *owner.get(&all_nodes);
        let shards = known(Seen::Unknown, HELD);
        let handed = |me: u16| decide(&view(NodeId(me), &others(me), &shards)).hand_over;
        let again: BTreeMap<_, BTreeSet<_>> =
            nodes.iter().map(|&node| (NodeId(node), handed(node).into_iter().map(|(shard, _)| shard).collect())).collect();
        for (shard, to) in handed(owner) {
            prop_assert!(!again[&to.unwrap()].contains(&shard));
        }
    }
}

#[test]
fn weights_never_change() {
    // Nodes of all versions must agree, or they hand shards to and fro.
    let owners: Vec<u16> = (0..10).map(|shard| first(Shard(shard * 25), (0..7).map(NodeId)).unwrap().0).collect();
    assert_eq!(owners, GOLDEN);
}

const GOLDEN: [u16; 10] = [3, 4, 6, 0, 5, 4, 1, 3, 1, 6];

#[test]
fn a_node_alone_claims_everything_after_one_lease() {
    let absent = |for_ms| known(Seen::Absent { since: NOW - Duration::from_millis(for_ms) }, Hand::Empty);
    let plan = decide(&view(ME, &[], &absent(3999)));
    assert_eq!((plan.claim.len(), plan.due), (0, Some(NOW + Duration::from_millis(1))));
    assert_eq!(decide(&view(ME, &[], &absent(4000))).claim.len(), Shard::COUNT);
    assert_eq!(decide(&view(ME, &[], &known(Seen::Unknown, Hand::Empty))), Plan::default(), "nothing was seen yet");
}

#[test]
fn the_next_in_rank_stands_in_for_a_node_that_claims_nothing() {
    let others = [live(1, true), live(2, true)];
    let claimed = |lasted| {
        let shards = known(Seen::Absent { since: NOW - lasted }, Hand::Empty);
        decide(&view(ME, &others, &shards)).claim.len()
    };
    let (first, second, third) = (claimed(LEASE), claimed(LEASE + STAND_IN_AFTER), claimed(LEASE + 2 * STAND_IN_AFTER));
    assert!(0 < first && first < second && second < third && third == Shard::COUNT, "{first} {second} {third}");
}

#[test]
fn an_offer_is_taken_at_once_whoever_ranks_first() {
    let shards = known(Seen::Owned(Owner { node: ME, term: OFFERED }), Hand::Empty);
    assert_eq!(decide(&view(ME, &[live(1, true)], &shards)).claim.len(), Shard::COUNT);
    let taken = known(Seen::Owned(Owner { node: ME, term: Term(7) }), Hand::Empty);
    assert_eq!(decide(&view(ME, &[], &taken)), Plan::default(), "an earlier life's: it runs out");
    let others = known(Seen::Owned(Owner { node: NodeId(1), term: OFFERED }), Hand::Empty);
    assert_eq!(decide(&view(ME, &[live(1, true)], &others)), Plan::default());
}

#[test]
fn a_node_that_drains_hands_to_one_that_has_just_come_rather_than_to_nobody() {
    let shards = known(Seen::Unknown, HELD);
    let new = [live(1, false)];
    let view = View { draining: true, ..view(ME, &new, &shards) };
    assert!(decide(&view).hand_over.iter().all(|(_, to)| *to == Some(NodeId(1))));
    assert_eq!(decide(&view).hand_over.len(), Shard::COUNT);
    assert!(decide(&View { draining: false, ..view }).hand_over.is_empty());
}
