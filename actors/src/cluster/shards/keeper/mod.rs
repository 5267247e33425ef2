//! The actor that keeps this node's lease and its shards.

mod act;
pub(super) mod call;
mod ending;
pub(super) mod join;
mod renew;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chinwag_schema::{
    ids::{NodeId, Shard, Term},
    limits::shards::{HAND_OVER_MAX, HURRY, LOOK_DEADLINE},
};
use futures_util::future::try_join;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use super::{
    HandedOver, ShardEvent, Terms,
    lease::{LeaseClock, ShardCounts, ShardState, ShardTable},
    sight::Sight,
};
use crate::{
    message_kinds,
    ports::{
        StoreError, StoreResult,
        directory::{Directory as DirectoryPort, NodeLease, Owner},
    },
    runtime::{Behaviour, Cx, Kind},
};
use call::Called;

/// What the keeper is told.
pub enum ShardsMessage {
    /// Looks at the directory at once: a peer offers or claimed something. A hint; nothing depends on it.
    Look,
    /// The store refused a write or a claim under this term, and may have said which larger one it found: the account store was
    /// restored from an older state, say. The shard is claimed anew, with a larger term.
    Fenced {
        shard: Shard,
        term: Term,
        found: Option<Term>,
    },
    /// Hands all shards over and claims none any more. Answered when the others have taken them, or let an offer pass.
    Drain {
        done: oneshot::Sender<()>,
    },
    /// Ends this node's lease, with all that it registered; the last thing that a node does. Answered also when the directory doesn't
    /// answer: the lease then runs out.
    Leave {
        done: oneshot::Sender<()>,
    },
    // ---- own
    /// Time to renew, unless a later tick was set.
    Tick(u32),
    Called(Called),
    /// Time to look, unless a later look was set.
    LookDue(u32),
    Looked(Looked),
    Termed(Termed),
    HandedOver {
        shard: Shard,
        term: Term,
    },
    HandOverLate {
        shard: Shard,
        term: Term,
    },
    Raised {
        shard: Shard,
        term: Term,
        result: StoreResult<()>,
    },
    Left(StoreResult<()>),
}

message_kinds!(ShardsMessage {
    Look,
    Fenced,
    Drain,
    Leave,
    Tick,
    Called,
    LookDue,
    Looked,
    Termed,
    HandedOver,
    HandOverLate,
    Raised,
    Left,
});

/// What a look showed.
pub struct Looked {
    sent: Duration,
    result: StoreResult<Shown>,
}

/// The nodes whose leases run, and the owners of shards.
type Shown = (Vec<NodeLease>, Vec<(Shard, Owner)>);

/// Terms that came from the account store.
pub struct Termed {
    asked_at: Duration,
    shards: Vec<Shard>,
    result: StoreResult<Vec<Term>>,
}

/// What the keeper works with, and what outlives a panic. Which shards are ours is in the table.
pub struct ShardsKeep {
    me: NodeLease,
    port: Arc<dyn DirectoryPort>,
    terms: Arc<dyn Terms>,
    clock: Arc<dyn LeaseClock>,
    table: Arc<ShardTable>,
    tell: Box<dyn Fn(ShardEvent) + Send>,
    life: Life,
    sight: Sight,
    /// Who ranked before us when we got a shard, and until when it isn't handed to that one.
    instead_of: FxHashMap<Shard, (Vec<NodeLease>, Duration)>,
    leaving: BTreeMap<Shard, Leaving>,
    drained: Vec<oneshot::Sender<()>>,
    left: Vec<oneshot::Sender<()>>,
}

impl ShardsKeep {
    /// Makes the keeper's state for a node that has [joined](join::join). `table` is read by everybody else; `tell` is called on
    /// the keeper's thread and must not wait.
    pub fn new(
        me: NodeLease,
        port: Arc<dyn DirectoryPort>,
        terms: Arc<dyn Terms>,
        clock: Arc<dyn LeaseClock>,
        table: Arc<ShardTable>,
        tell: impl Fn(ShardEvent) + Send + 'static,
    ) -> Self {
        Self {
            me,
            port,
            terms,
            clock,
            table,
            tell: Box::new(tell),
            life: Life::Serving,
            sight: Sight::new(me.node),
            instead_of: FxHashMap::default(),
            leaving: BTreeMap::new(),
            drained: Vec::new(),
            left: Vec::new(),
        }
    }

    fn mine(&self, term: Term) -> Owner {
        Owner { node: self.me.node, term }
    }
}

/// Where the node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Serving,
    Draining,
    /// It left, or another process took its name.
    Ended,
}

/// A shard whose conversations are stopping.
struct Leaving {
    term: Term,
    to: Option<NodeId>,
}

/// A term fetched for a claim.
struct Fresh {
    term: Term,
    asked_at: Duration,
}

/// An offer that the directory knows.
struct Offered {
    to: NodeId,
    since: Duration,
}

/// The keeper of this node's shards. Mailbox bound 1,024; when full, a hint to look is lost, and an end of a hand-over never is. A
/// panic keeps the shards, whom they are being handed to, and what was seen; claims under way are begun again.
pub struct Shards {
    /// A call is in flight.
    calling: bool,
    /// Something waits for the next call, which should be made at the end of this turn.
    call_due: bool,
    ticks: u32,
    looking: bool,
    look_again: bool,
    looks: u32,
    /// When the next look is due.
    look_at: Option<Duration>,
    /// Looks follow each other quickly until then.
    hurry_until: Duration,
    /// Terms are being fetched for these.
    fetching: BTreeSet<Shard>,
    /// And have come for these, which are claimed with the next call.
    ready: BTreeMap<Shard, Fresh>,
    /// The store's terms are being raised for these.
    raising: BTreeSet<Shard>,
    /// Given up with the next call, and offered to these nodes with the same.
    releases: BTreeMap<Shard, Owner>,
    offers: BTreeMap<Shard, NodeId>,
    /// Not taken yet.
    offered: BTreeMap<Shard, Offered>,
    /// Nodes that didn't keep what they were offered, and until when they aren't offered more.
    shunned: BTreeMap<NodeId, Duration>,
    /// Calls have failed since then.
    failing: bool,
    /// Looks likewise.
    blind: bool,
}

type S<'a> = Cx<'a, Shards>;

impl Behaviour for Shards {
    type Message = ShardsMessage;
    type Keep = ShardsKeep;
    const KIND: Kind = "shards";
    const MAILBOX: usize = 1024;
    const ESSENTIAL: bool = true;

    fn new(cx: &mut S<'_>) -> Self {
        let mut shards = Self {
            calling: false,
            call_due: false,
            ticks: 0,
            looking: false,
            look_again: false,
            looks: 0,
            look_at: None,
            hurry_until: cx.keep.clock.now() + HURRY,
            fetching: BTreeSet::new(),
            ready: BTreeMap::new(),
            raising: BTreeSet::new(),
            releases: BTreeMap::new(),
            offers: BTreeMap::new(),
            offered: BTreeMap::new(),
            shunned: BTreeMap::new(),
            failing: false,
            blind: false,
        };
        // Rebuilt: whoever stops the conversations is asked again, for the timers are void.
        let leaving: Vec<_> =
            cx.keep.leaving.iter().map(|(&shard, leaving)| (shard, leaving.term, leaving.to)).collect();
        for (shard, term, to) in leaving {
            shards.ask_to_hand_over(shard, term, to, cx);
        }
        if cx.keep.life == Life::Ended {
            shards.leave(cx);
        } else {
            shards.call(cx);
            shards.look(cx);
        }
        shards
    }

    fn handle(&mut self, message: ShardsMessage, cx: &mut S<'_>) {
        match message {
            ShardsMessage::Look => {
                self.hurry(cx);
                self.look(cx);
            }
            ShardsMessage::Fenced { shard, term, found } => self.fenced(shard, term, found, cx),
            ShardsMessage::Drain { done } => self.drain(done, cx),
            ShardsMessage::Leave { done } => self.leave_when_done(done, cx),
            ShardsMessage::Tick(n) => {
                if n == self.ticks {
                    self.call_due = true;
                }
            }
            ShardsMessage::Called(called) => self.called(called, cx),
            ShardsMessage::LookDue(n) => {
                if n == self.looks {
                    self.look(cx);
                }
            }
            ShardsMessage::Looked(looked) => self.looked(looked, cx),
            ShardsMessage::Termed(termed) => self.termed(termed, cx),
            ShardsMessage::HandedOver { shard, term } => self.handed_over(shard, term, cx),
            ShardsMessage::HandOverLate { shard, term } => {
                if cx.keep.leaving.get(&shard).is_some_and(|leaving| leaving.term == term) {
                    tracing::warn!(shard = shard.0, "conversations didn't stop in time: their shard is given up");
                    self.handed_over(shard, term, cx);
                    (cx.keep.tell)(ShardEvent::Lost(vec![shard]));
                }
            }
            ShardsMessage::Raised { shard, term, result } => self.raised(shard, term, result, cx),
            ShardsMessage::Left(result) => Self::left(result, cx),
        }
    }

    fn turn_ended(&mut self, cx: &mut S<'_>) {
        if self.call_due {
            self.call(cx);
        }
        self.answer_drain(cx);
    }

    fn observe(&self, keep: &ShardsKeep) -> Value {
        let [ours, handing_over, others, nobodys] = keep.table.counts();
        let left_ms = keep.table.lease_left().map(|left| left.as_millis());
        let nodes: Vec<_> = keep.sight.known().map(|lease| (lease.node.0, lease.incarnation)).collect();
        let ShardCounts { renewals, failures, lapses, gained, lost, handed_over } = &keep.table.counts;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        json!({
            "node": keep.me.node.0,
            "incarnation": keep.me.incarnation,
            "life": format!("{:?}", keep.life),
            "lease_left_ms": left_ms,
            "nodes": nodes,
            "ours": ours,
            "handing_over": handing_over,
            "offered": self.offered.len(),
            "others": others,
            "nobodys": nobodys,
            "renewals": count(renewals),
            "failures": count(failures),
            "lapses": count(lapses),
            "gained": count(gained),
            "lost": count(lost),
            "handed_over": count(handed_over),
        })
    }
}

impl Shards {
    fn hurry(&mut self, cx: &S<'_>) {
        self.hurry_until = cx.keep.clock.now() + HURRY;
    }

    /// Looks at the directory, or once more after the look in flight.
    fn look(&mut self, cx: &S<'_>) {
        if cx.keep.life == Life::Ended {
            return;
        }
        if self.looking {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.looks = self.looks.wrapping_add(1);
        self.look_at = None;
        let (port, sent) = (cx.keep.port.clone(), cx.keep.clock.now());
        let look = async move {
            let result = match timeout(LOOK_DEADLINE, try_join(port.nodes(), port.owners())).await {
                Ok(result) => result,
                Err(_) => {
                    Err(StoreError::Unavailable(format!("the directory did not answer within {LOOK_DEADLINE:?}")))
                }
            };
            Looked { sent, result }
        };
        cx.pipe(look, ShardsMessage::Looked);
    }

    /// Asks the node to stop the conversations of a shard.
    fn ask_to_hand_over(&mut self, shard: Shard, term: Term, to: Option<NodeId>, cx: &S<'_>) {
        cx.keep.table.begin_hand_over(shard, term);
        cx.after(HAND_OVER_MAX, ShardsMessage::HandOverLate { shard, term });
        let done = HandedOver { keeper: cx.mailbox(), shard, term };
        (cx.keep.tell)(ShardEvent::HandOver { shard, to, done });
    }

    fn is_ours(cx: &S<'_>, shard: Shard, term: Term) -> bool {
        matches!(cx.keep.table.noted(shard),
            ShardState::Ours(held) | ShardState::HandingOver(held) if held == term)
    }
}
