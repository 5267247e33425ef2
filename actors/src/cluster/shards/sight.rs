//! What this node has seen of the directory, look by look: who lives, who owns what, and since when somebody is missing.
//!
//! An absence counts from the first look that showed it, through looks that all succeeded and followed each other closely. One that
//! failed, or came late (this node was stopped), ends all absences: whoever lives registers again before a new one is over.

use std::{collections::BTreeMap, time::Duration};

use chinwag_schema::{
    ids::{NodeId, Shard},
    limits::shards::{LEASE, LOOK_GAP_MAX, SETTLED_AFTER},
};

use super::all;
use crate::ports::directory::{NodeLease, Owner};

/// What is known of a shard's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seen {
    /// Nothing: no look has succeeded yet.
    #[default]
    Unknown,
    /// The directory names this owner; with term [`OFFERED`](super::OFFERED), whom it was offered to.
    Owned(Owner),
    /// No look since then showed an owner.
    Absent { since: Duration },
}

/// A node that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    pub lease: NodeLease,
    /// Seen in each look for a while: it may be handed something.
    pub settled: bool,
}

/// What a look changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    pub joined: Vec<NodeLease>,
    pub lost: Vec<NodeLease>,
}

/// What this node has seen.
pub struct Sight {
    me: NodeId,
    nodes: BTreeMap<NodeId, Node>,
    shards: [Seen; Shard::COUNT],
    /// The last look that succeeded, if none has failed since.
    looked_at: Option<Duration>,
}

struct Node {
    lease: NodeLease,
    /// Seen in every look since then.
    seen_since: Duration,
    absent_since: Option<Duration>,
}

impl Sight {
    /// Has seen nothing yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, nodes: BTreeMap::new(), shards: [Seen::Unknown; Shard::COUNT], looked_at: None }
    }

    /// Notes a look whose answer came at this time.
    pub fn look(&mut self, now: Duration, nodes: &[NodeLease], owners: &[(Shard, Owner)]) -> Changed {
        let follows = self.is_fresh(now);
        self.looked_at = Some(now);

        let owners: BTreeMap<Shard, Owner> = owners.iter().copied().collect();
        for shard in all() {
            let seen = &mut self.shards[usize::from(shard.0)];
            *seen = match (owners.get(&shard), *seen) {
                (Some(&owner), _) => Seen::Owned(owner),
                (None, Seen::Absent { since }) if follows => Seen::Absent { since },
                (None, _) => Seen::Absent { since: now },
            };
        }
        self.look_at_nodes(now, follows, nodes)
    }

    fn look_at_nodes(&mut self, now: Duration, follows: bool, nodes: &[NodeLease]) -> Changed {
        let mut changed = Changed::default();
        let others: BTreeMap<NodeId, NodeLease> =
            nodes.iter().filter(|lease| lease.node != self.me).map(|lease| (lease.node, *lease)).collect();
        self.nodes.retain(|id, node| match others.get(id) {
            Some(lease) if *lease == node.lease => {
                if node.absent_since.take().is_some() || !follows {
                    node.seen_since = now;
                }
                true
            }
            // It started anew.
            Some(_) => {
                changed.lost.push(node.lease);
                false
            }
            None => {
                let since = node.absent_since.filter(|_| follows).unwrap_or(now);
                node.absent_since = Some(since);
                let stays = now.saturating_sub(since) < LEASE;
                if !stays {
                    changed.lost.push(node.lease);
                }
                stays
            }
        });
        for (id, lease) in others {
            self.nodes.entry(id).or_insert_with(|| {
                changed.joined.push(lease);
                Node { lease, seen_since: now, absent_since: None }
            });
        }
        changed
    }

    /// Notes that a look failed.
    pub fn missed(&mut self) {
        self.looked_at = None;
    }

    /// Says whether the last look is recent enough to decide by.
    fn is_fresh(&self, now: Duration) -> bool {
        self.looked_at.is_some_and(|last| now.saturating_sub(last) <= LOOK_GAP_MAX)
    }

    /// Notes what an answer of the directory said of a shard, between two looks.
    pub fn note(&mut self, shard: Shard, owner: Owner) {
        self.shards[usize::from(shard.0)] = Seen::Owned(owner);
    }

    /// Notes that a shard was given up: the next look says what became of it.
    pub fn forget(&mut self, shard: Shard) {
        self.shards[usize::from(shard.0)] = Seen::Unknown;
    }

    /// Returns what is known of a shard; nothing, if the last look failed or was long ago.
    pub fn seen(&self, shard: Shard, now: Duration) -> Seen {
        if self.is_fresh(now) { self.shards[usize::from(shard.0)] } else { Seen::Unknown }
    }

    /// Returns the other nodes that the last look showed; none, if it failed or was long ago.
    pub fn live(&self, now: Duration) -> impl Iterator<Item = Live> + '_ {
        let fresh = self.is_fresh(now);
        self.nodes
            .values()
            .filter(move |node| fresh && node.absent_since.is_none())
            .map(move |node| Live { lease: node.lease, settled: now.saturating_sub(node.seen_since) >= SETTLED_AFTER })
    }

    /// Returns the other nodes that aren't lost, also those that are missing for less than a lease.
    pub fn known(&self) -> impl Iterator<Item = NodeLease> + '_ {
        self.nodes.values().map(|node| node.lease)
    }
}

#[cfg(test)]
mod tests {
    use chinwag_schema::ids::{Incarnation, Term};

    use super::*;

    const SHARD: Shard = Shard(3);
    const OWNER: Owner = Owner { node: NodeId(2), term: Term(5) };

    fn lease(node: u16, incarnation: u64) -> NodeLease {
        NodeLease { node: NodeId(node), incarnation: Incarnation(incarnation) }
    }

    fn s(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    #[test]
    fn absence_counts_from_the_first_look_that_showed_it() {
        let mut sight = Sight::new(NodeId(1));
        assert_eq!(sight.seen(SHARD, s(0)), Seen::Unknown);
        sight.look(s(10), &[], &[(SHARD, OWNER)]);
        assert_eq!(sight.seen(SHARD, s(10)), Seen::Owned(OWNER));
        sight.look(s(20), &[], &[]);
        sight.look(s(30), &[], &[]);
        assert_eq!(sight.seen(SHARD, s(30)), Seen::Absent { since: s(20) });
        sight.look(s(40), &[], &[(SHARD, OWNER)]);
        sight.look(s(50), &[], &[]);
        assert_eq!(sight.seen(SHARD, s(50)), Seen::Absent { since: s(50) }, "it was there in between");
    }

    #[test]
    fn a_look_that_failed_or_came_late_ends_all_absences() {
        let mut sight = Sight::new(NodeId(1));
        sight.look(s(10), &[lease(2, 7)], &[]);
        sight.look(s(20), &[], &[]);
        sight.missed();
        assert_eq!(sight.seen(SHARD, s(20)), Seen::Unknown);
        sight.look(s(30), &[], &[]);
        assert_eq!(sight.seen(SHARD, s(30)), Seen::Absent { since: s(30) });
        let late = s(30) + LOOK_GAP_MAX + s(1);
        assert_eq!(
            sight.seen(SHARD, late),
            Seen::Unknown,
            "nothing is decided by what was seen before this node slept"
        );
        sight.look(late, &[], &[]);
        assert_eq!(sight.seen(SHARD, late), Seen::Absent { since: late }, "this node slept");
        assert_eq!(sight.look(late + s(20), &[], &[]), Changed::default());
        assert_eq!(sight.look(late + LEASE, &[], &[]).lost, [lease(2, 7)], "nodes likewise");
    }

    #[test]
    fn a_node_is_lost_after_a_lease_of_absence_and_at_once_when_it_starts_anew() {
        let mut sight = Sight::new(NodeId(1));
        let changed = sight.look(s(0), &[lease(1, 1), lease(2, 7), lease(3, 8)], &[]);
        assert_eq!(changed, Changed { joined: vec![lease(2, 7), lease(3, 8)], lost: vec![] }, "not this node itself");
        assert_eq!(sight.look(s(10), &[lease(3, 8)], &[]), Changed::default());
        assert_eq!(sight.live(s(10)).map(|live| live.lease).collect::<Vec<_>>(), [lease(3, 8)]);
        assert_eq!(sight.known().count(), 2);
        assert_eq!(sight.look(s(20), &[lease(2, 7), lease(3, 8)], &[]), Changed::default(), "wiped, and back again");
        let changed = sight.look(s(30), &[lease(2, 9), lease(3, 8)], &[]);
        assert_eq!(changed, Changed { joined: vec![lease(2, 9)], lost: vec![lease(2, 7)] });
        for tenths in [40, 50, 60, 70] {
            assert_eq!(sight.look(s(tenths), &[lease(3, 8)], &[]), Changed::default());
        }
        assert_eq!(sight.look(s(80), &[lease(3, 8)], &[]).lost, [lease(2, 9)]);
    }

    #[test]
    fn a_node_settles_while_every_look_shows_it() {
        let settled = |sight: &Sight, now| sight.live(now).next().unwrap().settled;
        let mut sight = Sight::new(NodeId(1));
        for tenths in [0, 10, 19] {
            sight.look(s(tenths), &[lease(2, 7)], &[]);
            assert!(!settled(&sight, s(tenths)));
        }
        sight.look(s(20), &[lease(2, 7)], &[]);
        assert!(settled(&sight, s(20)));
        sight.look(s(30), &[], &[]);
        sight.look(s(40), &[lease(2, 7)], &[]);
        assert!(!settled(&sight, s(40)), "everything was wiped: others may not be back yet");
    }
}
