//! Nodes that have nothing but links, on one clock that only the next thing to happen moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use chinwag_actors::{
    cluster::{
        envelope::{Envelope, Versions},
        keyring::Keyring,
        link::{Class, Epochs, Link, LinkState, Ticket},
    },
    ports::directory::NodeLease,
};
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::link::{AHEAD_MAX_BYTES, ENVELOPE_VALID, KEPT_MAX_BYTES, KEPT_MAX_FRAMES},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::{bus::SimBus, checker::Checker};

/// How often a node renews its lease and reads the directory, and how long a lease runs.
const TICK: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(4);
const MAILBOX: usize = 8192;
const START_UNIX_MS: i64 = 1_790_000_000_000;

/// What goes over the bus.
pub trait Wire {
    type Parcel: Clone;
    fn seal(&self, envelope: Envelope, unix_ms: i64) -> Self::Parcel;
    fn open(&self, parcel: Self::Parcel, me: NodeLease, unix_ms: i64) -> Option<Envelope>;
}

/// Envelopes as they are: quick, and of any version.
pub struct Plain;

impl Wire for Plain {
    type Parcel = Envelope;

    fn seal(&self, envelope: Envelope, _: i64) -> Envelope {
        envelope
    }

    fn open(&self, envelope: Envelope, _: NodeLease, _: i64) -> Option<Envelope> {
        Some(envelope)
    }
}

/// Envelopes sealed and opened, as in life.
pub struct Sealed(pub Keyring);

impl Wire for Sealed {
    type Parcel = Bytes;

    fn seal(&self, envelope: Envelope, unix_ms: i64) -> Bytes {
        envelope.seal(&self.0, unix_ms + ENVELOPE_VALID.as_millis() as i64)
    }

    fn open(&self, sealed: Bytes, me: NodeLease, unix_ms: i64) -> Option<Envelope> {
        Envelope::open(&sealed, &self.0, me, unix_ms).ok()
    }
}

/// Something that happens at a certain time.
pub type Act<W> = Box<dyn FnOnce(&mut World<W>)>;

struct SimNode {
    id: NodeId,
    /// `None` between a crash and the restart.
    running: Option<Running>,
    lives: u64,
    versions: Versions,
    /// Does nothing until then.
    paused_until: Duration,
}

struct Running {
    lease: NodeLease,
    links: BTreeMap<NodeId, Link>,
    /// Links that something was done with. What they have to say goes out at the end of the turn, as in an actor; those that
    /// weren't touched are asked when they said that they want to be.
    touched: BTreeSet<NodeId>,
    /// When each other link wants to be asked, on this node's clock.
    deadlines: BTreeMap<NodeId, Duration>,
    /// What this node's clock shows beyond the world's.
    clock_ahead: Duration,
    tick_at: Duration,
}

/// The world.
pub struct World<W: Wire> {
    pub now: Duration,
    pub bus: SimBus<W::Parcel>,
    pub checker: Checker,
    pub rng: SmallRng,
    wire: W,
    nodes: BTreeMap<NodeId, SimNode>,
    leases: BTreeMap<NodeId, (Incarnation, Duration)>,
    script: BTreeMap<(Duration, u64), Act<W>>,
    scripted: u64,
}

impl<W: Wire + 'static> World<W> {
    /// Makes a world of `count` nodes that don't know each other yet.
    pub fn new(seed: u64, count: u16, wire: W) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            bus: SimBus::new(seed),
            checker: Checker::default(),
            rng: SmallRng::seed_from_u64(!seed),
            wire,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            script: BTreeMap::new(),
            scripted: 0,
        };
        for id in (1..=count).map(NodeId) {
            let versions = Versions::HERE;
            world.nodes.insert(id, SimNode { id, running: None, lives: 0, versions, paused_until: Duration::ZERO });
        }
        for id in world.ids() {
            world.start(id);
        }
        world
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Does something later.
    pub fn at(&mut self, at: Duration, act: impl FnOnce(&mut World<W>) + 'static) {
        self.scripted += 1;
        self.script.insert((at.max(self.now), self.scripted), Box::new(act));
    }

    /// The node's next life speaks these versions.
    pub fn set_versions(&mut self, node: NodeId, versions: Versions) {
        self.nodes.get_mut(&node).expect("a node").versions = versions;
    }

    /// Stops the node for a while, as SIGSTOP does.
    pub fn pause(&mut self, node: NodeId, until: Duration) {
        let node = self.nodes.get_mut(&node).expect("a node");
        node.paused_until = node.paused_until.max(until);
    }

    /// Ends the node, which begins its next life at `until`. Nothing happens while it is down already.
    pub fn crash(&mut self, node: NodeId, until: Duration) {
        if self.nodes.get_mut(&node).expect("a node").running.take().is_some() {
            self.at(until, move |world| world.start(node));
        }
    }

    fn start(&mut self, id: NodeId) {
        let others: Vec<NodeId> = self.ids().into_iter().filter(|other| *other != id).collect();
        let clock_ahead = self.rng.random_range(Duration::ZERO..Duration::from_secs(100_000));
        let tick_at = self.now + self.rng.random_range(Duration::ZERO..TICK);
        let node = self.nodes.get_mut(&id).expect("a node");
        node.lives += 1;
        let incarnation = Incarnation(u64::from(id.0) << 32 | node.lives);
        let lease = NodeLease { node: id, incarnation };
        let epochs = Epochs::default();
        let link = |other| Link::new(lease, other, epochs.clone(), node.versions, self.now + clock_ahead);
        let links = others.iter().map(|&other| (other, link(other))).collect();
        let reborn = node.lives > 1;
        node.running =
            Some(Running { lease, links, touched: BTreeSet::new(), deadlines: BTreeMap::new(), clock_ahead, tick_at });
        for &other in others.iter().filter(|_| reborn) {
            self.checker.restarted((id, other));
        }
        self.bus.subscribe(lease, MAILBOX);
    }

    /// A node sends frames of `bytes`; returns how many were accepted. A node that is stopped or dead sends none.
    pub fn send(&mut self, from: NodeId, to: NodeId, frames: usize, bytes: usize, class: Class) -> usize {
        let now = self.now;
        let node = self.nodes.get_mut(&from).expect("a node");
        let Some(running) = node.running.as_mut().filter(|_| node.paused_until <= now) else { return 0 };
        let now = now + running.clock_ahead;
        let link = running.links.get_mut(&to).expect("a link");
        running.touched.insert(to);
        let mut accepted = 0;
        for _ in 0..frames {
            // What has taken too long ends before the frame is made, which says what it belongs to.
            link.tick(now);
            drain(&mut self.checker, (from, to), link);
            let frame = self.checker.next_frame((from, to), bytes);
            if link.send(frame, class, now).is_ok() {
                self.checker.accepted((from, to));
                accepted += 1;
            }
            drain(&mut self.checker, (from, to), link);
        }
        accepted
    }

    /// Returns the links that exist, by side.
    pub fn links(&self) -> impl Iterator<Item = ((NodeId, NodeId), &Link)> {
        let running = self.nodes.values().filter_map(|node| Some((node.id, node.running.as_ref()?)));
        running.flat_map(|(id, running)| running.links.iter().map(move |(&other, link)| ((id, other), link)))
    }

    pub fn all_up(&self) -> bool {
        self.links().all(|(_, link)| link.state() == LinkState::Up)
    }

    /// Lets everything happen until then.
    pub fn run_until(&mut self, end: Duration) {
        while self.now < end {
            let next = self.next_time().map_or(end, |next| next.min(end));
            assert!(next >= self.now, "time goes on");
            self.now = next;
            self.bus.advance(next);
            while let Some(entry) = self.script.first_entry()
                && entry.key().0 <= next
            {
                let act = entry.remove();
                act(self);
            }
            for id in self.ids() {
                self.serve(id);
            }
        }
    }

    fn next_time(&self) -> Option<Duration> {
        let nodes = self.nodes.values().filter_map(|node| {
            let running = node.running.as_ref()?;
            if node.paused_until > self.now {
                return Some(node.paused_until);
            }
            if !running.touched.is_empty() {
                return Some(self.now);
            }
            let deadline = running.deadlines.values().min();
            let deadline = deadline.map(|at| at.saturating_sub(running.clock_ahead).max(self.now));
            deadline.into_iter().chain([running.tick_at]).min()
        });
        let script = self.script.first_key_value().map(|(&(at, _), _)| at);
        nodes.chain(script).chain(self.bus.next_arrival()).min()
    }

    /// A node does all that it can do now.
    fn serve(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(running) = node.running.as_mut().filter(|_| node.paused_until <= now) else { return };
        let local = now + running.clock_ahead;
        let unix_ms = START_UNIX_MS + now.as_millis() as i64;
        for parcel in self.bus.take(id) {
            let Some(envelope) = self.wire.open(parcel, running.lease, unix_ms) else { continue };
            if let Some(link) = running.links.get_mut(&envelope.from.node) {
                link.received(&envelope, local);
                running.touched.insert(envelope.from.node);
                drain(&mut self.checker, (id, envelope.from.node), link);
            }
        }
        if running.tick_at <= now {
            running.tick_at = now + TICK;
            self.leases.insert(id, (running.lease.incarnation, now + LEASE));
            for (&other, link) in &mut running.links {
                match self.leases.get(&other).filter(|(_, until)| *until > now) {
                    Some(&(incarnation, _)) => link.peer_incarnation(incarnation, local),
                    None => link.peer_gone(local),
                }
                running.touched.insert(other);
                drain(&mut self.checker, (id, other), link);
            }
        }
        let mut refused = Vec::new();
        for (&other, link) in &mut running.links {
            let due = running.deadlines.get(&other).is_some_and(|at| *at <= local);
            if !running.touched.remove(&other) && !due {
                continue;
            }
            for envelope in link.outgoing(local) {
                let (ticket, to) = (Ticket::of(&envelope), envelope.to);
                if self.bus.send(id, to, self.wire.seal(envelope, unix_ms), now).is_err() {
                    refused.push((other, ticket));
                }
            }
            drain(&mut self.checker, (id, other), link);
            let (frames, bytes) = link.kept();
            assert!(frames <= KEPT_MAX_FRAMES && bytes <= KEPT_MAX_BYTES && link.ahead_bytes() <= AHEAD_MAX_BYTES);
            let deadline = link.next_deadline();
            assert!(deadline.is_none_or(|at| at > local), "nothing is left to do at {local:?}, but {deadline:?}");
            match deadline {
                Some(at) => running.deadlines.insert(other, at),
                None => running.deadlines.remove(&other),
            };
        }
        let lives = node.lives;
        for (other, ticket) in refused {
            let answer = now + self.rng.random_range(Duration::ZERO..Duration::from_millis(3));
            self.at(answer, move |world| world.not_sent(id, lives, other, ticket));
        }
    }

    fn not_sent(&mut self, id: NodeId, lives: u64, other: NodeId, ticket: Ticket) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.lives != lives {
            return;
        }
        if node.paused_until > now {
            let later = node.paused_until;
            return self.at(later, move |world| world.not_sent(id, lives, other, ticket));
        }
        let Some(running) = &mut node.running else { return };
        running.links.get_mut(&other).expect("a link").not_sent(ticket, now + running.clock_ahead);
        running.touched.insert(other);
    }
}

fn drain(checker: &mut Checker, side: (NodeId, NodeId), link: &mut Link) {
    while let Some(event) = link.next_event() {
        checker.event(side, event, link.session());
    }
}
