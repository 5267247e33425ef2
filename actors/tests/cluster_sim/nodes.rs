//! Whole nodes on a fake clock: members on all of them write to groups while a seed cuts nodes off, kills and restarts them, wipes the
//! bus, makes it lose and reorder, and takes the directory away. Only the store keeps its word.
//!
//! In the end everything is well again, and then: what was said was acknowledged, stands in the log once and where the acknowledgement
//! said, and every member has the whole log without a hole, as the store has it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chinwag_actors::{
    backends::embedded::EmbeddedMessages,
    ports::message_store::{Direction, Filter, MessageStore},
    runtime::clock::SimulatedClock,
};
use chinwag_schema::{
    event::EventBody,
    ids::{ConversationId, NodeId, Seq},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{
    bus::Faults,
    member::Member,
    net::{Cut, Net, NodeBus, NodeDirectory},
};
use crate::common::{Engine, Surroundings, World, settings};

/// The simulation's year zero: 2026-01-01.
const BEGUN_MS: i64 = 1_767_225_600_000;
/// How long everybody may take to have everything when all is well again.
const SETTLE: Duration = Duration::from_secs(120);
const PAGE: usize = 200;
/// How long anything takes while nothing goes wrong, at most.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// One life of a node.
pub struct Life {
    pub engine: Engine,
    pub number: u16,
    cut: Cut,
    /// Its clients' sockets are gone, too.
    pub gone: Cell<bool>,
}

/// What is simulated.
pub struct Cluster {
    world: World,
    net: Arc<Net>,
    clock: Arc<SimulatedClock>,
    directory_down: Cut,
    nodes: RefCell<Vec<Rc<Life>>>,
    lives: Cell<u64>,
    pub ended: Cell<bool>,
    /// How likely a member says something when it looks whether it should, ten times a second.
    pub eagerness: f64,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        Self {
            world: World::simulated(),
            net: Net::start(seed),
            clock: Arc::new(SimulatedClock::starting_at(BEGUN_MS)),
            directory_down: Cut::default(),
            nodes: RefCell::default(),
            lives: Cell::new(0),
            ended: Cell::new(false),
            eagerness: 0.3,
        }
    }

    /// Starts a life of a node; it joins as soon as the lease of an earlier one has ended.
    async fn start(&self, number: u16) {
        self.lives.set(self.lives.get() + 1);
        let cut = Cut::default();
        let directory =
            NodeDirectory { inner: self.world.directory.clone(), cut: cut.clone(), down: self.directory_down.clone() };
        let bus = NodeBus { me: NodeId(number), net: self.net.clone(), cut: cut.clone() };
        let surroundings =
            Surroundings { clock: self.clock.clone(), directory: Arc::new(directory), bus: Arc::new(bus) };
        let settings =
            chinwag_actors::engine::EngineSettings { idle_before_sleep: Duration::from_secs(5), ..settings() };
        match self.world.node_in(number, self.lives.get(), surroundings, settings).await {
            Ok(engine) => self.nodes.borrow_mut().push(Rc::new(Life { engine, number, cut, gone: Cell::new(false) })),
            // The directory was away when it came.
            Err(error) => eprintln!("node {number} could not start: {error}"),
        }
    }

    /// Returns a node that a load balancer would choose: any that lives, whether or not it reaches the others.
    pub fn any_node(&self, rng: &mut SmallRng) -> Rc<Life> {
        let nodes = self.nodes.borrow();
        nodes[rng.random_range(0..nodes.len())].clone()
    }

    /// Returns a message id of now.
    pub fn message_id(&self, rng: &mut SmallRng) -> Uuid {
        let ms = u64::try_from(chinwag_actors::runtime::clock::Clock::unix_ms(&*self.clock)).unwrap();
        uuid::Builder::from_unix_timestamp_millis(ms, &rng.random()).into_uuid()
    }

    /// Ends a life as a kill does, as far as anybody else can see: nothing reaches it or comes from it any more, and its sockets are
    /// gone. Itself it goes on, like a process that was stopped and is continued later: what it still does must change nothing.
    fn kill(&self, at: usize) -> u16 {
        let life = self.nodes.borrow_mut().remove(at);
        life.cut.store(true, Relaxed);
        life.gone.set(true);
        // Kept to the end: actors that lose their node would end with it.
        std::mem::forget(life.clone());
        life.number
    }

    /// Does one bad thing, and mends it after a while.
    async fn misfortune(&self, rng: &mut SmallRng) {
        let nodes = self.nodes.borrow().len();
        let which = rng.random_range(0..6);
        let a_while = Duration::from_millis(rng.random_range(200..12_000));
        match which {
            0 => {
                let faults = Faults {
                    loss: rng.random_range(0.0..0.3),
                    repeat: rng.random_range(0.0..0.3),
                    reorder: rng.random_range(0.0..0.3),
                    late: Duration::from_millis(400),
                    delay_max: Duration::from_millis(rng.random_range(1..150)),
                    ..Faults::NONE
                };
                self.net.with(|bus| bus.set_faults(faults));
                sleep(a_while).await;
                self.net.with(|bus| bus.set_faults(Faults::NONE));
            }
            1 => self.net.with(|bus| bus.wipe()),
            2 => {
                let life = self.nodes.borrow()[rng.random_range(0..nodes)].clone();
                life.cut.store(true, Relaxed);
                sleep(a_while).await;
                life.cut.store(false, Relaxed);
            }
            3 if nodes > 1 => {
                let number = self.kill(rng.random_range(0..nodes));
                sleep(a_while).await;
                self.start(number).await;
            }
            4 => {
                self.directory_down.store(true, Relaxed);
                sleep(a_while).await;
                self.directory_down.store(false, Relaxed);
            }
            _ => {
                let (from, to) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
                let (from, to) = (self.nodes.borrow()[from].number, self.nodes.borrow()[to].number);
                let (from, to) = (NodeId(from), NodeId(to));
                self.net.with(|bus| bus.set_way(from, to, Faults::CUT));
                sleep(a_while).await;
                self.net.with(|bus| bus.set_faults(Faults::NONE));
            }
        }
    }

    /// Waits until all shards are shared among the nodes there are.
    async fn settled(&self) {
        let shared = async || {
            let nodes = self.nodes.borrow();
            let counts: Vec<_> = nodes.iter().map(|life| life.engine.node.shards.counts()).collect();
            let owned: usize = counts.iter().map(|[owned, ..]| owned).sum();
            owned == 256 && counts.iter().all(|[owned, _, others, _]| owned + others == 256)
        };
        let until = Instant::now() + SETTLE;
        while !shared().await {
            assert!(Instant::now() < until, "shards without an owner");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Makes accounts and groups, with everybody in each group; returns the groups.
    async fn populate(&self, members: &[Rc<Member>], groups: usize) -> Vec<String> {
        let engine = &self.nodes.borrow()[0].clone().engine;
        for member in members {
            engine.account(&member.name).await;
        }
        let mut made: Vec<Value> = Vec::new();
        for (n, member) in members.iter().enumerate() {
            let client = engine.open(chinwag_schema::wire::Dialect::Native, None);
            let token = format!("token-{}", member.name);
            client.send(&json!({"id": "hello", "type": "hello", "protocol": 1, "token": token}));
            reply(self, &client, "hello").await;
            if n == 0 {
                for group in 0..groups {
                    let id = format!("make {group}");
                    client.send(&json!({"id": id, "type": "group.create", "name": id}));
                    made.push(reply(self, &client, &id).await["conversation"]["id"].take());
                }
            }
            for group in &made {
                client.send(&json!({"id": "join", "type": "group.join", "conversation": group}));
                reply(self, &client, "join").await;
            }
            client.vanish();
        }
        made.iter().map(|group| group.as_str().unwrap().to_owned()).collect()
    }

    /// Shows what the nodes know of each other, for whoever looks for the reason of a failure.
    pub async fn explain(&self) {
        let nodes = self.nodes.borrow().clone();
        for life in &nodes {
            eprintln!("node {}, shards {:?}", life.number, life.engine.node.shards.counts());
            for other in &nodes {
                if let Some(peer) = life.engine.node.cluster.peer(NodeId(other.number)) {
                    let observed = timeout(ANSWER_PATIENCE, peer.observe()).await;
                    eprintln!("  of {}: {observed:?}", other.number);
                }
            }
        }
    }

    /// Holds what everybody has against the store.
    async fn check(&self, members: &[Rc<Member>], groups: &[String], each: u32) {
        let store = EmbeddedMessages::new(self.world.database.clone());
        let mut said = 0;
        for group in groups {
            let id: ConversationId = group.parse().unwrap();
            let mut log: Vec<Option<String>> = Vec::new();
            loop {
                let after = Seq(log.len() as u64);
                let page = store.page(id, Direction::After(after), PAGE, Filter::All).await.unwrap();
                if page.events.is_empty() {
                    break;
                }
                for event in page.events {
                    assert_eq!(event.seq.0, log.len() as u64 + 1, "a hole in the store");
                    log.push(match event.body {
                        EventBody::Message(message) => Some(message.content.to_string()),
                        _ => None,
                    });
                }
            }
            let mut texts: Vec<_> = log.iter().flatten().collect();
            said += texts.len();
            texts.sort();
            assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "a message stands in the log twice");
            for member in members {
                let logs = member.logs.borrow();
                let theirs = &logs[group];
                assert_eq!(theirs.position, log.len() as u64, "{} lacks the end of {group}", member.name);
                for (seq, text) in &theirs.texts {
                    assert_eq!(*text, log[*seq as usize - 1], "{} heard something else at {seq}", member.name);
                }
                for (_, text, seq) in member.acknowledged.borrow().iter().filter(|(of, ..)| of == group) {
                    assert_eq!(log[*seq as usize - 1].as_ref(), Some(text), "acknowledged, and not there");
                }
            }
        }
        assert_eq!(said, members.len() * each as usize, "more or less was stored than was said");
    }
}

async fn reply(cluster: &Cluster, client: &crate::common::Client, id: &str) -> Value {
    loop {
        let Ok(mut frame) = timeout(ANSWER_PATIENCE, client.next()).await else {
            cluster.explain().await;
            panic!("no answer to {id}");
        };
        if frame["id"] == *id {
            assert!(frame["error"].is_null(), "{frame}");
            return frame["result"].take();
        }
    }
}

/// Runs on a paused clock, and on a thread of its own: tables of sockets belong to threads, and stay with them.
fn simulate<F: Future<Output = ()>>(run: impl FnOnce() -> F + Send + 'static) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let simulation = std::thread::spawn(move || actix_rt::System::with_tokio_rt(runtime).block_on(run()));
    if let Err(panic) = simulation.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Lets `members` on `nodes` nodes say `each` texts in `groups` groups, while misfortune strikes `strikes` times.
async fn live(seed: u64, nodes: u16, members: usize, groups: usize, each: u32, strikes: u32) -> Rc<Cluster> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let cluster = Rc::new(Cluster::new(seed));
    for number in 1..=nodes {
        cluster.start(number).await;
    }
    cluster.settled().await;
    let members: Vec<_> =
        (0..members).map(|n| Rc::new(Member::new(&format!("member{n}"), seed << 8 | n as u64, each))).collect();
    let groups = cluster.populate(&members, groups).await;
    let lives: Vec<_> = members
        .iter()
        .map(|member| {
            let (member, cluster) = (member.clone(), cluster.clone());
            actix_rt::spawn(async move { member.live(&cluster).await })
        })
        .collect();
    // Everybody is here before anything happens, so that each has heard all.
    sleep(Duration::from_secs(3)).await;
    for _ in 0..strikes {
        let pause = rng.random_range(0..4000);
        sleep(Duration::from_millis(pause)).await;
        cluster.misfortune(&mut rng).await;
    }
    let until = Instant::now() + SETTLE;
    let everything = || {
        let heads: Vec<u64> = groups
            .iter()
            .map(|group| members.iter().map(|member| member.logs.borrow()[group].position).max().unwrap_or(0))
            .collect();
        let all = |member: &Rc<Member>| {
            groups.iter().zip(&heads).all(|(group, head)| member.logs.borrow()[group].position == *head)
        };
        members.iter().all(|member| member.is_done() && all(member))
    };
    while !everything() {
        for life in &lives {
            assert!(!life.is_finished(), "a member panicked");
        }
        if Instant::now() > until {
            for member in &members {
                member.explain().await;
            }
            cluster.explain().await;
            panic!("somebody lacks something {SETTLE:?} after all was well again");
        }
        sleep(Duration::from_millis(500)).await;
    }
    // What comes late must change nothing.
    sleep(Duration::from_secs(20)).await;
    cluster.ended.set(true);
    for life in lives {
        timeout(SETTLE, life).await.unwrap().unwrap();
    }
    cluster.check(&members, &groups, each).await;
    let sockets: u32 = members.iter().map(|member| member.sockets.get()).sum();
    let again: u32 = members.iter().map(|member| member.sent_again.get()).sum();
    eprintln!(
        "seed {seed}: {:.0} s, {} lives of nodes, {sockets} sockets, {again} events sent again, {:?}",
        cluster.net.age().as_secs_f64(),
        cluster.lives.get(),
        cluster.net.with(|bus| bus.counts)
    );
    cluster
}

#[test]
fn members_of_a_quiet_cluster_hear_everything_once() {
    simulate(async || {
        live(1, 3, 6, 3, 10, 0).await;
    });
}

/// Each knows 99 others; what a message costs must not depend on that.
#[test]
#[ignore = "takes a minute"]
fn a_hundred_nodes_share_their_shards_and_a_message_goes_only_where_its_readers_are() {
    simulate(async || {
        live(1, 100, 10, 2, 5, 3).await;
    });
}

#[test]
fn nothing_is_lost_repeated_or_reordered_whatever_happens_between_nodes() {
    super::seeds(6, |seed| {
        simulate(async move || {
            live(seed, 4, 8, 4, 30, 10).await;
        });
    });
}
