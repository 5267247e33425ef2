//! Counters of actors, by kind and message type. The runtime keeps them; handlers never call anything here.
//!
//! Each worker thread counts in a place of its own, so that a count costs an uncontended add.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    hosted::Behaviour,
    mailbox::{Inspect, Shared},
    placement::Placement,
};

/// Name of a kind of actor, as metrics and the console show it.
pub type Kind = &'static str;

/// A message type with names for its variants.
pub trait MessageKind: Send + 'static {
    /// Names of the variants.
    const NAMES: &'static [&'static str];
    /// Returns the index of this message's name in [`Self::NAMES`].
    fn kind(&self) -> usize;
}

/// Upper bounds of the handler-time histogram, microseconds; the last bucket has none.
pub const BUCKETS_US: [u64; 11] = [2, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 25_000, 100_000];

const CELLS: usize = 16;

#[derive(Default)]
#[repr(align(64))]
struct Cell {
    counts: Vec<MessageCell>,
    refused: AtomicU64,
}

#[derive(Default)]
struct MessageCell {
    handled: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
}

/// Counters of one kind of actor.
pub struct KindMetrics {
    kind: Kind,
    messages: &'static [&'static str],
    capacity: usize,
    live: AtomicI64,
    restarts: AtomicU64,
    stopped_by_budget: AtomicU64,
    cells: [Cell; CELLS],
    actors: Mutex<Vec<Weak<dyn Inspect>>>,
}

/// Counters of one message type of a kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MessageSnapshot {
    pub message: &'static str,
    pub handled: u64,
    /// Time in handlers, seconds.
    pub handler_s: f64,
    /// Counts per bucket of [`BUCKETS_US`], not cumulative, the unbounded one last.
    pub buckets: Vec<u64>,
}

/// Counters of one kind, at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KindSnapshot {
    pub kind: Kind,
    pub live: i64,
    pub mailbox_bound: usize,
    pub mailbox_depth: usize,
    pub mailbox_depth_max: usize,
    pub refused: u64,
    pub restarts: u64,
    pub stopped_by_budget: u64,
    pub messages: Vec<MessageSnapshot>,
}

impl KindMetrics {
    fn new(kind: Kind, messages: &'static [&'static str], capacity: usize) -> Self {
        let cell = || Cell {
            counts: (0..messages.len()).map(|_| MessageCell::default()).collect(),
            refused: AtomicU64::new(0),
        };
        Self {
            kind,
            messages,
            capacity,
            live: AtomicI64::new(0),
            restarts: AtomicU64::new(0),
            stopped_by_budget: AtomicU64::new(0),
            cells: std::array::from_fn(|_| cell()),
            actors: Mutex::default(),
        }
    }

    fn cell(&self) -> &Cell {
        &self.cells[usize::from(Placement::current_worker().unwrap_or(CELLS as u16 - 1)) % CELLS]
    }

    pub(super) fn handled(&self, message: usize, took: Duration) {
        let cell = &self.cell().counts[message];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|&bound| micros <= bound).unwrap_or(BUCKETS_US.len());
        cell.handled.fetch_add(1, Relaxed);
        cell.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        cell.buckets[bucket].fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.cell().refused.fetch_add(1, Relaxed);
    }

    pub(super) fn started(&self) {
        self.live.fetch_add(1, Relaxed);
    }

    pub(super) fn stopped(&self) {
        self.live.fetch_sub(1, Relaxed);
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(super) fn budget_spent(&self) {
        self.stopped_by_budget.fetch_add(1, Relaxed);
    }

    /// Returns the counters now; walks the live actors for their depths.
    pub fn snapshot(&self) -> KindSnapshot {
        let (mut depth, mut depth_max) = (0, 0);
        for actor in self.live_actors() {
            let waiting = actor.waiting();
            depth += waiting;
            depth_max = depth_max.max(waiting);
        }
        let messages = self.messages.iter().enumerate().map(|(index, &message)| {
            let mut sum = MessageSnapshot { message, buckets: vec![0; BUCKETS_US.len() + 1], ..Default::default() };
            for cell in &self.cells {
                let cell = &cell.counts[index];
                sum.handled += cell.handled.load(Relaxed);
                sum.handler_s += cell.nanos.load(Relaxed) as f64 / 1e9;
                for (total, bucket) in sum.buckets.iter_mut().zip(&cell.buckets) {
                    *total += bucket.load(Relaxed);
                }
            }
            sum
        });
        KindSnapshot {
            kind: self.kind,
            live: self.live.load(Relaxed),
            mailbox_bound: self.capacity,
            mailbox_depth: depth,
            mailbox_depth_max: depth_max,
            refused: self.refused_total(),
            restarts: self.restarts.load(Relaxed),
            stopped_by_budget: self.stopped_by_budget.load(Relaxed),
            messages: messages.collect(),
        }
    }

    /// Returns the live actors of this kind that have handled most messages, at most `limit`.
    pub fn busiest(&self, limit: usize) -> Vec<Arc<dyn Inspect>> {
        let mut actors = self.live_actors();
        actors.sort_by_key(|actor| std::cmp::Reverse((actor.waiting(), actor.handled())));
        actors.truncate(limit);
        actors
    }

    /// Returns how many messages were refused, without a look at any actor.
    pub fn refused_total(&self) -> u64 {
        self.cells.iter().map(|cell| cell.refused.load(Relaxed)).sum()
    }

    /// Returns the name of the kind.
    pub fn name(&self) -> Kind {
        self.kind
    }

    /// Returns all live actors of this kind.
    pub fn live_actors(&self) -> Vec<Arc<dyn Inspect>> {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.retain(|actor| actor.strong_count() > 0);
        actors.iter().filter_map(Weak::upgrade).collect()
    }

    fn register(&self, actor: Weak<dyn Inspect>) {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        // Sweep the dead before growing: the list stays within twice the number of live actors.
        if actors.len() == actors.capacity() {
            actors.retain(|actor| actor.strong_count() > 0);
        }
        actors.push(actor);
    }
}

/// Counters of all kinds of a node.
#[derive(Default)]
pub struct Metrics {
    kinds: Mutex<HashMap<TypeId, Arc<KindMetrics>>>,
}

impl Metrics {
    pub(super) fn kind<B: Behaviour>(&self) -> Arc<KindMetrics> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(KindMetrics::new(B::KIND, <B::Message as MessageKind>::NAMES, B::MAILBOX));
        kinds.entry(TypeId::of::<B>()).or_insert_with(make).clone()
    }

    pub(super) fn register<M: MessageKind>(&self, shared: &Arc<Shared<M>>) {
        let weak: Weak<Shared<M>> = Arc::downgrade(shared);
        shared.metrics.register(weak);
    }

    /// Returns all kinds, by name.
    pub fn kinds(&self) -> Vec<Arc<KindMetrics>> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = kinds.values().cloned().collect();
        all.sort_by_key(|kind| kind.kind);
        all
    }

    /// Returns the kind of this name.
    pub fn kind_named(&self, name: &str) -> Option<Arc<KindMetrics>> {
        self.kinds().into_iter().find(|kind| kind.kind == name)
    }
}

/// Implements [`MessageKind`] for an enum: `message_kinds!(Message { Post, Edit, Typing })` names every variant.
#[macro_export]
macro_rules! message_kinds {
    ($type:ty { $($variant:ident),+ $(,)? }) => {
        impl $crate::runtime::MessageKind for $type {
            const NAMES: &'static [&'static str] = &[$(stringify!($variant)),+];
            fn kind(&self) -> usize {
                #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
                #[repr(usize)]
                enum Index { $($variant),+ }
                match self { $(Self::$variant { .. } => Index::$variant as usize),+ }
            }
        }
    };
}
