//! Two links, for the cases of `sessions.rs` and `flow.rs`.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use chinwag_actors::{
    cluster::{
        envelope::{Envelope, Kind, Versions},
        link::{Class, Epochs, Event, Link},
    },
    ports::directory::NodeLease,
};
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::link::GREET_PAUSE,
};

pub const ANN: NodeLease = NodeLease { node: NodeId(1), incarnation: Incarnation(11) };
pub const BOB: NodeLease = NodeLease { node: NodeId(2), incarnation: Incarnation(22) };

/// Two links, and a bus that takes no time.
pub struct Pair {
    pub now: Duration,
    pub ann: Link,
    pub bob: Link,
}

impl Pair {
    pub fn greeting() -> Self {
        Self::of(Versions::HERE, Versions::HERE)
    }

    pub fn of(anns: Versions, bobs: Versions) -> Self {
        let now = Duration::from_secs(100);
        let mut ann = Link::new(ANN, BOB.node, Epochs::default(), anns, now);
        let mut bob = Link::new(BOB, ANN.node, Epochs::default(), bobs, now);
        ann.peer_incarnation(BOB.incarnation, now);
        bob.peer_incarnation(ANN.incarnation, now);
        Self { now, ann, bob }
    }

    pub fn up() -> Self {
        let mut pair = Self::greeting();
        pair.meet();
        assert_eq!((events(&mut pair.ann), events(&mut pair.bob)), (vec![up()], vec![up()]));
        pair
    }

    /// Carries envelopes until nobody has anything to say; returns how many.
    pub fn exchange(&mut self) -> usize {
        let mut carried = 0;
        loop {
            let (from_ann, from_bob) = (self.ann.outgoing(self.now), self.bob.outgoing(self.now));
            if from_ann.is_empty() && from_bob.is_empty() {
                return carried;
            }
            carried += from_ann.len() + from_bob.len();
            for envelope in &from_ann {
                self.bob.received(envelope, self.now);
            }
            for envelope in &from_bob {
                self.ann.received(envelope, self.now);
            }
            assert!(carried < 10_000, "the two never stop");
        }
    }

    /// Two that greet each other at the same moment answer after a pause.
    pub fn meet(&mut self) {
        self.exchange();
        self.wait(GREET_PAUSE);
        self.exchange();
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

pub fn up() -> Event {
    Event::Up { version: 1 }
}

pub fn events(link: &mut Link) -> Vec<Event> {
    std::iter::from_fn(|| link.next_event()).collect()
}

pub fn frame(n: u64) -> Bytes {
    n.to_string().into()
}

pub fn frames(numbers: Range<u64>) -> Vec<Event> {
    numbers.map(|n| Event::Frame(frame(n))).collect()
}

pub fn send(link: &mut Link, numbers: Range<u64>, now: Duration) {
    numbers.for_each(|n| link.send(frame(n), Class::Kept, now).expect("accepted"));
}

pub fn frame_numbers(envelopes: &[Envelope]) -> Vec<u64> {
    envelopes.iter().filter(|envelope| envelope.kind == Kind::Frames).map(|envelope| envelope.number).collect()
}
