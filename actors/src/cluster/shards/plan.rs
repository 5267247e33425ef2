//! What to claim, what to hand over and what to leave: a pure function of what was seen, what this node has, and the time.
//!
//! A shard belongs to the live node that ranks first for it by rendezvous hashing (Thaler and Ravishankar, 'Using name-based mappings
//! to increase hit rates', 1998): a node that comes takes its share from all, one that goes leaves its share to all, and nothing
//! else moves.

use std::time::Duration;

use chinwag_schema::{
    ids::{NodeId, Shard},
    limits::shards::{LEASE, STAND_IN_AFTER},
};

use super::{
    OFFERED, all,
    sight::{Live, Seen},
};
use crate::ports::directory::{NodeLease, Owner};

/// What a decision is made of.
pub struct View<'a> {
    pub me: NodeId,
    /// This node is about to leave: it wants nothing.
    pub draining: bool,
    pub now: Duration,
    /// The other nodes that the last look showed.
    pub live: &'a [Live],
    /// Nodes that lately didn't keep what they were offered: they drain too, or can't claim.
    pub shunned: &'a [NodeId],
    /// How many hand-overs may begin now.
    pub room: usize,
    /// By shard.
    pub shards: &'a [Known<'a>; Shard::COUNT],
}

/// What is known of a shard, and what this node has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known<'a> {
    pub seen: Seen,
    pub hand: Hand<'a>,
}

/// What this node has of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hand<'a> {
    #[default]
    Empty,
    /// It is being claimed or given up.
    Busy,
    /// It is ours. These outranked us when we got it, and wouldn't or couldn't take it.
    Held { instead_of: &'a [NodeLease] },
}

/// What to do. Each list is in ascending order of shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub claim: Vec<Shard>,
    /// Ours, and whom to offer them to; nobody, when nobody else is there that takes anything.
    pub hand_over: Vec<(Shard, Option<NodeId>)>,
    /// Offered to this node, which leaves: whom to offer them to instead.
    pub pass_on: Vec<(Shard, Option<NodeId>)>,
    /// When the next absence will be over, if nothing changes.
    pub due: Option<Duration>,
}

/// Decides.
pub fn decide(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    for shard in all() {
        let Known { seen, hand } = view.shards[usize::from(shard.0)];
        match (hand, seen) {
            (Hand::Held { instead_of }, _) => {
                if plan.hand_over.len() < view.room
                    && let Some(heir) = heir(view, shard, instead_of)
                {
                    plan.hand_over.push((shard, heir));
                }
            }
            (Hand::Empty, Seen::Owned(Owner { node, term: OFFERED })) if node == view.me => {
                if !view.draining {
                    plan.claim.push(shard);
                } else {
                    plan.pass_on.push((shard, other_heir(view, shard)));
                }
            }
            (Hand::Empty, Seen::Absent { since }) if !view.draining => {
                let due = since + LEASE + STAND_IN_AFTER * rank(shard, view.me, nodes(view));
                if due <= view.now {
                    plan.claim.push(shard);
                } else {
                    plan.due = Some(plan.due.map_or(due, |earliest| earliest.min(due)));
                }
            }
            (Hand::Empty | Hand::Busy, _) => {}
        }
    }
    plan
}

/// Returns whom to hand a shard of ours to (`Some(None)`: nobody is there, but it has to go); `None` to keep it.
fn heir(view: &View<'_>, shard: Shard, instead_of: &[NodeLease]) -> Option<Option<NodeId>> {
    if view.draining {
        return Some(other_heir(view, shard));
    }
    let settled = view.live.iter().filter(|live| live.settled && !instead_of.contains(&live.lease));
    let first = first(shard, settled.map(|live| live.lease.node).chain([view.me]))?;
    // It stays here until the first one can have it: no detour by the second.
    (first != view.me && !view.shunned.contains(&first)).then_some(Some(first))
}

/// Returns who gets a shard when this node leaves: those that haven't settled only when there is nobody else.
fn other_heir(view: &View<'_>, shard: Shard) -> Option<NodeId> {
    let settled = eligible(view).filter(|live| live.settled).map(|live| live.lease.node);
    first(shard, settled).or_else(|| first(shard, eligible(view).map(|live| live.lease.node)))
}

fn eligible<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Live> {
    let shunned = view.shunned;
    view.live.iter().filter(move |live| !shunned.contains(&live.lease.node))
}

fn nodes<'a>(view: &View<'a>) -> impl Iterator<Item = NodeId> {
    view.live.iter().map(|live| live.lease.node)
}

/// Returns the node that ranks first for a shard; all nodes agree.
pub fn first(shard: Shard, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    nodes.max_by_key(|&node| weight(shard, node))
}

/// Says whether a node ranks before another.
pub fn ranks_before(shard: Shard, node: NodeId, other: NodeId) -> bool {
    weight(shard, node) > weight(shard, other)
}

/// Returns how many of these nodes rank before this one.
fn rank(shard: Shard, me: NodeId, others: impl Iterator<Item = NodeId>) -> u32 {
    others.map(|other| u32::from(ranks_before(shard, other, me))).sum()
}

/// How much a node wants a shard. Stable for ever: nodes of all versions must agree. The finalizer of SplitMix64 (Steele, Lea and
/// Flood, 2014); it is a bijection, so no two nodes weigh the same.
fn weight(shard: Shard, node: NodeId) -> u64 {
    let mut mixed = (u64::from(node.0) << 8 | u64::from(shard.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests;
