//! A bus on a fake clock that drops, delays, repeats, reorders, refuses and forgets, as its seed says.
//!
//! It keeps to the contract of `ports::bus` in what a real bus may do to an envelope, and is worse than any. `P` is what travels: bytes for
//! whole nodes, open envelopes where sealing them would only cost time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chinwag_actors::ports::{StoreError, StoreResult, directory::NodeLease};
use chinwag_schema::ids::{Incarnation, NodeId};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// What happens to an envelope on one way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// Probabilities: never arrives, arrives twice, arrives up to `late` later than those after it.
    pub loss: f64,
    pub repeat: f64,
    pub reorder: f64,
    pub late: Duration,
    pub delay_min: Duration,
    pub delay_max: Duration,
}

impl Faults {
    /// A bus as it should be.
    pub const NONE: Self = Self {
        loss: 0.0,
        repeat: 0.0,
        reorder: 0.0,
        late: Duration::ZERO,
        delay_min: Duration::from_micros(300),
        delay_max: Duration::from_millis(4),
    };
    /// Nothing passes.
    pub const CUT: Self = Self { loss: 1.0, ..Self::NONE };
}

/// What the bus did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusCounts {
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    pub repeated: u64,
    pub wiped: u64,
}

struct Mailbox<P> {
    life: Incarnation,
    bound: usize,
    /// Here, and on the way here.
    arrived: VecDeque<P>,
    coming: usize,
}

/// The bus.
pub struct SimBus<P> {
    rng: SmallRng,
    faults: Faults,
    ways: BTreeMap<(NodeId, NodeId), Faults>,
    /// When the latest envelope of each way that keeps its order arrives.
    tails: BTreeMap<(NodeId, NodeId), Duration>,
    mailboxes: BTreeMap<NodeId, Mailbox<P>>,
    coming: BTreeMap<(Duration, u64), (NodeLease, P)>,
    bound: Option<usize>,
    down: bool,
    sent: u64,
    pub counts: BusCounts,
}

impl<P: Clone> SimBus<P> {
    /// Makes a bus without faults.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            faults: Faults::NONE,
            ways: BTreeMap::new(),
            tails: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            coming: BTreeMap::new(),
            bound: None,
            down: false,
            sent: 0,
            counts: BusCounts::default(),
        }
    }

    /// Sets what happens on all ways.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.ways.clear();
    }

    /// Sets what happens on one way.
    pub fn set_way(&mut self, from: NodeId, to: NodeId, faults: Faults) {
        self.ways.insert((from, to), faults);
    }

    /// Refuses everything, or no more.
    pub fn set_down(&mut self, down: bool) {
        self.down = down;
    }

    /// Lowers the bound of all mailboxes, or no more.
    pub fn set_bound(&mut self, bound: Option<usize>) {
        self.bound = bound;
    }

    /// Loses everything that is in a mailbox or on the way.
    pub fn wipe(&mut self) {
        self.counts.wiped += self.coming.len() as u64;
        self.coming.clear();
        for mailbox in self.mailboxes.values_mut() {
            self.counts.wiped += mailbox.arrived.len() as u64;
            mailbox.arrived.clear();
            mailbox.coming = 0;
        }
    }

    /// Opens a mailbox; that of an earlier life is gone.
    pub fn subscribe(&mut self, node: NodeLease, bound: usize) {
        let mailbox = Mailbox { life: node.incarnation, bound, arrived: VecDeque::new(), coming: 0 };
        self.mailboxes.insert(node.node, mailbox);
        self.coming.retain(|_, (to, _)| to.node != node.node);
    }

    /// Returns who has a mailbox.
    pub fn leases(&self) -> Vec<NodeLease> {
        self.mailboxes.iter().map(|(&node, mailbox)| NodeLease { node, incarnation: mailbox.life }).collect()
    }

    /// Sends at `now`.
    pub fn send(&mut self, from: NodeId, to: NodeLease, payload: P, now: Duration) -> StoreResult<()> {
        let sent = self.try_send(from, to, payload, now);
        match sent {
            Ok(()) => self.counts.accepted += 1,
            Err(_) => self.counts.refused += 1,
        }
        sent
    }

    fn try_send(&mut self, from: NodeId, to: NodeLease, payload: P, now: Duration) -> StoreResult<()> {
        if self.down {
            return Err(StoreError::Unavailable("the bus is down".to_owned()));
        }
        let faults = self.ways.get(&(from, to.node)).copied().unwrap_or(self.faults);
        let mailbox = self.mailboxes.get_mut(&to.node).filter(|mailbox| mailbox.life == to.incarnation);
        let mailbox = mailbox.ok_or(StoreError::NotFound)?;
        let bound = self.bound.map_or(mailbox.bound, |bound| bound.min(mailbox.bound));
        if mailbox.arrived.len() + mailbox.coming >= bound {
            return Err(StoreError::LimitReached(bound as u64));
        }
        if self.rng.random_bool(faults.loss) {
            self.counts.lost += 1;
            return Ok(());
        }
        let copies = if self.rng.random_bool(faults.repeat) { 2 } else { 1 };
        self.counts.repeated += copies - 1;
        for _ in 0..copies {
            let mut at = now + self.rng.random_range(faults.delay_min..=faults.delay_max);
            if self.rng.random_bool(faults.reorder) {
                at += self.rng.random_range(Duration::ZERO..=faults.late);
            } else {
                let tail = self.tails.entry((from, to.node)).or_default();
                at = at.max(*tail);
                *tail = at;
            }
            self.sent += 1;
            mailbox.coming += 1;
            self.coming.insert((at, self.sent), (to, payload.clone()));
        }
        Ok(())
    }

    /// Returns when the next envelope arrives somewhere.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.coming.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Lets everything arrive that does until `now`.
    pub fn advance(&mut self, now: Duration) {
        while let Some(entry) = self.coming.first_entry()
            && entry.key().0 <= now
        {
            let (to, payload) = entry.remove();
            let mailbox = self.mailboxes.get_mut(&to.node).filter(|mailbox| mailbox.life == to.incarnation);
            if let Some(mailbox) = mailbox {
                mailbox.coming -= 1;
                mailbox.arrived.push_back(payload);
            }
        }
    }

    /// Takes what arrived for a node.
    pub fn take(&mut self, node: NodeId) -> VecDeque<P> {
        self.mailboxes.get_mut(&node).map(|mailbox| std::mem::take(&mut mailbox.arrived)).unwrap_or_default()
    }
}
