//! Nodes that have nothing but a keeper, around one directory, on a clock that the test turns.
//!
//! Each node has a paused runtime of its own. So one can be stopped as SIGSTOP does it: nothing of it runs, time goes on, and when it
//! goes on all its timers are due at once.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use chinwag_actors::{
    backends::embedded::EmbeddedDirectory,
    cluster::shards::{
        HandedOver, LeaseClock, ShardEvent, ShardState, ShardTable, Shards, ShardsKeep, ShardsMessage, all,
    },
    ports::directory::NodeLease,
    runtime::{Mailbox, Placement, Runtime, clock::SystemClock},
};
use chinwag_schema::ids::{Incarnation, NodeId, Shard, Term};
use tokio::{runtime::Builder, sync::Notify, task::LocalSet};

use crate::ports::{FakeTerms, Line, Reach};

pub const STEP: Duration = Duration::from_millis(10);

/// The time of the world.
#[derive(Clone, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    pub fn ms(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

impl LeaseClock for Time {
    fn now(&self) -> Duration {
        Duration::from_millis(self.ms())
    }
}

/// What a node's listener noted.
#[derive(Default)]
pub struct Heard {
    pub joined: Vec<NodeLease>,
    pub lost_nodes: Vec<NodeLease>,
    pub gained: usize,
    pub lost: usize,
    pub anew: usize,
    pub displaced: bool,
    /// Hand-overs whose conversations are still stopping.
    pub stopping: Vec<(Duration, HandedOver)>,
}

pub struct Node {
    pub lease: NodeLease,
    pub table: Arc<ShardTable>,
    pub keeper: Mailbox<ShardsMessage>,
    pub heard: Arc<Mutex<Heard>>,
    pub terms: FakeTerms,
    /// How long the conversations of a shard take to stop.
    pub stopping: Arc<Mutex<Duration>>,
    /// Peers that a hint to look is for.
    hints: Arc<Mutex<Vec<NodeId>>>,
    reach: Arc<AtomicU8>,
    thawed: Arc<Notify>,
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    frozen_ms: Cell<Option<u64>>,
    _actors: Arc<Runtime>,
}

impl Node {
    pub fn serves(&self) -> Vec<Shard> {
        all().filter(|&shard| matches!(self.table.state(shard), ShardState::Ours(_))).collect()
    }

    pub fn reaches(&self, reach: Reach) {
        self.reach.store(reach as u8, SeqCst);
    }

    pub fn fails_to_get_terms(&self, fails: bool) {
        *self.terms.fails.lock().unwrap() = fails;
    }

    pub fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

/// What each node's table says.
type States = Vec<(NodeId, Vec<ShardState>)>;

/// Nodes around a directory.
pub struct World {
    pub time: Time,
    pub directory: Arc<Mutex<Arc<EmbeddedDirectory>>>,
    pub terms: FakeTerms,
    pub nodes: Vec<Rc<Node>>,
    incarnations: u64,
    /// Who served each shard last, and with which term: checked at each step.
    served: RefCell<BTreeMap<Shard, (NodeId, Term)>>,
    /// Changes of owners since the start.
    pub moves: Cell<usize>,
    /// Whether hints reach the peers that they are for.
    pub hints_arrive: bool,
    last: RefCell<States>,
    /// Since when each shard is served by nobody, and how long it was at most since this was last asked.
    unserved_since: RefCell<BTreeMap<Shard, u64>>,
    longest_pause_ms: Cell<u64>,
}

impl World {
    pub fn new() -> Self {
        let time = Time::default();
        time.0.store(1_000_000, SeqCst);
        Self {
            directory: Arc::new(Mutex::new(Arc::new(directory(&time)))),
            time,
            terms: FakeTerms::default(),
            nodes: Vec::new(),
            incarnations: 0,
            served: RefCell::default(),
            moves: Cell::new(0),
            hints_arrive: true,
            last: RefCell::default(),
            unserved_since: RefCell::default(),
            longest_pause_ms: Cell::new(0),
        }
    }

    /// A world with nodes 1 to `n`, each with its share.
    pub fn of(n: u16) -> Self {
        let mut world = Self::new();
        (1..=n).for_each(|node| world.start(node));
        world.run(Duration::from_secs(15));
        assert!(world.all_served());
        world.settle();
        world
    }

    /// Starts a node.
    pub fn start(&mut self, node: u16) {
        self.incarnations += 1;
        let lease = NodeLease { node: NodeId(node), incarnation: Incarnation(self.incarnations) };
        let (reach, thawed) = (Arc::new(AtomicU8::new(0)), Arc::new(Notify::new()));
        let line = Line { inner: self.directory.clone(), reach: reach.clone(), thawed: thawed.clone() };
        let table = Arc::new(ShardTable::leased(Arc::new(self.time.clone())));
        let heard = Arc::<Mutex<Heard>>::default();
        let stopping = Arc::<Mutex<Duration>>::default();
        let hints = Arc::<Mutex<Vec<NodeId>>>::default();
        let terms = FakeTerms { given: self.terms.given.clone(), fails: Arc::default() };

        let tell = listener(heard.clone(), stopping.clone(), hints.clone(), self.time.clone());
        let keep = ShardsKeep::new(
            lease,
            Arc::new(line),
            Arc::new(terms.clone()),
            Arc::new(self.time.clone()),
            table.clone(),
            tell,
        );
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let local = LocalSet::new();
        let (actors, keeper) = local.block_on(&runtime, async move {
            let actors = Runtime::start(Arc::new(SystemClock), Placement::Here { workers: 1 });
            let keeper = actors.spawn::<Shards>(0, move || keep);
            (actors, keeper)
        });
        self.nodes.push(Rc::new(Node {
            lease,
            table,
            keeper,
            heard,
            terms,
            stopping,
            hints,
            reach,
            thawed,
            runtime,
            local,
            frozen_ms: Cell::new(None),
            _actors: actors,
        }));
    }

    pub fn node(&self, node: u16) -> Rc<Node> {
        self.nodes.iter().find(|other| other.lease.node == NodeId(node)).unwrap().clone()
    }

    /// Ends a node without a word.
    pub fn kill(&mut self, node: u16) {
        self.nodes.retain(|other| other.lease.node != NodeId(node));
    }

    /// Stops a node: nothing of it runs until it is thawed.
    pub fn freeze(&self, node: u16) {
        self.node(node).frozen_ms.set(Some(0));
    }

    pub fn thaw(&self, node: u16) {
        let node = self.node(node);
        let slept = Duration::from_millis(node.frozen_ms.take().expect("frozen"));
        node.thawed.notify_one();
        node.runtime.block_on(async { tokio::time::advance(slept).await });
    }

    /// Forgets everything that the directory knows.
    pub fn wipe(&self) {
        *self.directory.lock().unwrap() = Arc::new(directory(&self.time));
    }

    pub fn all_reach(&self, reach: Reach) {
        self.nodes.iter().for_each(|node| node.reaches(reach));
    }

    /// Lets time pass.
    pub fn run(&self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.step();
        }
    }

    /// Lets time pass until this is so, at most as long; returns how long it took.
    pub fn run_until(&self, at_most: Duration, mut so: impl FnMut(&Self) -> bool) -> Duration {
        let began = self.time.ms();
        let passed = || Duration::from_millis(self.time.ms() - began);
        while !so(self) {
            assert!(passed() < at_most, "not within {at_most:?}");
            self.step();
        }
        passed()
    }

    fn step(&self) {
        self.time.0.fetch_add(STEP.as_millis() as u64, SeqCst);
        for node in &self.nodes {
            if let Some(slept) = node.frozen_ms.get() {
                node.frozen_ms.set(Some(slept + STEP.as_millis() as u64));
                continue;
            }
            let now = self.time.now();
            // Outside the lock: dropping tells the keeper.
            let stopped: Vec<_> = node.heard().stopping.extract_if(.., |(due, _)| *due <= now).collect();
            drop(stopped);
            node.local.block_on(&node.runtime, async { tokio::time::sleep(STEP).await });
            for hinted in node.hints.lock().unwrap().drain(..) {
                if self.hints_arrive
                    && let Some(peer) = self.nodes.iter().find(|peer| peer.lease.node == hinted)
                {
                    let _ = peer.keeper.tell(ShardsMessage::Look);
                }
            }
            self.check();
        }
    }

    /// At no moment do two nodes hold a shard, and each change of owner has a larger term.
    fn check(&self) {
        let states: Vec<_> =
            self.nodes.iter().map(|node| (node.lease.node, all().map(|s| node.table.state(s)).collect())).collect();
        let mut last = self.last.borrow_mut();
        if *last != states {
            all().for_each(|shard| self.check_shard(shard, &states));
            *last = states;
        }
        if let Some(since) = self.unserved_since.borrow().values().min() {
            self.longest_pause_ms.set(self.longest_pause_ms.get().max(self.time.ms() - since));
        }
    }

    fn check_shard(&self, shard: Shard, states: &States) {
        let mut holders = states.iter().filter_map(|(node, shards)| match shards[usize::from(shard.0)] {
            ShardState::Ours(term) => Some((*node, term, true)),
            ShardState::HandingOver(term) => Some((*node, term, false)),
            _ => None,
        });
        let holder = holders.next();
        assert_eq!(holders.next(), None, "{shard:?} is also held by {holder:?}");
        if holder.is_some_and(|(_, _, serves)| serves) {
            self.unserved_since.borrow_mut().remove(&shard);
        } else {
            self.unserved_since.borrow_mut().entry(shard).or_insert(self.time.ms());
        }
        let Some((node, term, _)) = holder else { return };
        let before = self.served.borrow_mut().insert(shard, (node, term));
        if before != Some((node, term)) {
            assert!(before.is_none_or(|(_, last)| term > last), "{shard:?}: {before:?}, then {node:?} {term:?}");
            assert_eq!(term, self.terms.given(shard), "a term that was overtaken");
        }
        if before.is_some_and(|(last, _)| last != node) {
            self.moves.set(self.moves.get() + 1);
        }
    }

    pub fn all_served(&self) -> bool {
        self.nodes.iter().map(|node| node.serves().len()).sum::<usize>() == Shard::COUNT
    }

    /// Whether each shard is where it ranks first, and all nodes know.
    pub fn shared(&self) -> bool {
        let live = || self.nodes.iter().map(|node| node.lease.node);
        all().all(|shard| {
            let first = chinwag_actors::cluster::shards::plan::first(shard, live());
            self.nodes.iter().all(|node| match node.table.state(shard) {
                ShardState::Ours(_) => Some(node.lease.node) == first,
                ShardState::Anothers(owner) => Some(owner) == first,
                _ => false,
            })
        })
    }

    /// Forgets what was counted so far.
    pub fn settle(&self) {
        self.moves.set(0);
        self.longest_pause_ms.set(0);
        for since in self.unserved_since.borrow_mut().values_mut() {
            *since = self.time.ms();
        }
        for node in &self.nodes {
            let mut heard = node.heard();
            (heard.gained, heard.lost, heard.anew) = (0, 0, 0);
            heard.joined.clear();
            heard.lost_nodes.clear();
        }
    }

    pub fn longest_pause(&self) -> Duration {
        Duration::from_millis(self.longest_pause_ms.get())
    }
}

fn directory(time: &Time) -> EmbeddedDirectory {
    let time = time.clone();
    EmbeddedDirectory::with_clock(move || time.now())
}

fn listener(
    heard: Arc<Mutex<Heard>>,
    stopping: Arc<Mutex<Duration>>,
    hints: Arc<Mutex<Vec<NodeId>>>,
    time: Time,
) -> impl Fn(ShardEvent) + Send + 'static {
    move |event| {
        let mut heard = heard.lock().unwrap();
        match event {
            ShardEvent::NodesChanged { joined, lost } => {
                heard.joined.extend(joined);
                heard.lost_nodes.extend(lost);
            }
            ShardEvent::Gained(shards) => heard.gained += shards.len(),
            ShardEvent::Lost(shards) => heard.lost += shards.len(),
            ShardEvent::HandOver { done, .. } => heard.stopping.push((time.now() + *stopping.lock().unwrap(), done)),
            ShardEvent::Offered { to, .. } => hints.lock().unwrap().push(to),
            ShardEvent::OwnersChanged(_) => {}
            ShardEvent::DirectoryAnew => heard.anew += 1,
            ShardEvent::Displaced => heard.displaced = true,
        }
    }
}
