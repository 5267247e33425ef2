//! What a frame costs between two nodes, besides the bus: packing, sealing and opening envelopes, and both sides of a link.
//!
//! `cargo run --release -p chinwag-actors --example envelope_cost [FRAME BYTES]` (300: a chat message; some seconds)

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chinwag_actors::{
    cluster::{
        envelope::{Envelope, Kind, Versions, pack},
        keyring::Keyring,
        link::{Class, Epochs, Event, Link},
    },
    ports::directory::NodeLease,
};
use chinwag_schema::ids::{Incarnation, NodeId};

const ANN: NodeLease = NodeLease { node: NodeId(1), incarnation: Incarnation(11) };
const BOB: NodeLease = NodeLease { node: NodeId(2), incarnation: Incarnation(22) };
/// Envelopes are valid for ever here.
const EXPIRES_MS: i64 = i64::MAX;
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

fn main() {
    let bytes = std::env::args().nth(1).map_or(300, |text| text.parse().expect("bytes of a frame, a number"));
    let keys = Keyring::random();
    let frame = Bytes::from(vec![b'x'; bytes]);
    println!("frames of {bytes} bytes: ns per frame, median of {ROUNDS}");
    println!("{:>20} {:>10} {:>10} {:>10} {:>16}", "frames per envelope", "seal", "open", "both", "through a link");
    for count in [1, 8, 64] {
        let frames = vec![frame.clone(); count];
        let open = envelope(&frames);
        let sealed = open.seal(&keys, EXPIRES_MS);
        let seal_ns = median(|| {
            black_box(envelope(black_box(&frames)).seal(&keys, EXPIRES_MS));
        });
        let open_ns = median(|| {
            let opened = Envelope::open(black_box(&sealed), &keys, BOB, 0).expect("a good envelope");
            opened.frames().for_each(|frame| {
                black_box(frame);
            });
        });
        let mut links = Links::new(keys.clone());
        let link_ns = median(|| links.carry(&frame, count));
        let per_frame = [seal_ns, open_ns, seal_ns + open_ns, link_ns].map(|ns| ns / count as f64);
        println!(
            "{count:>20} {:>10.0} {:>10.0} {:>10.0} {:>16.0}",
            per_frame[0], per_frame[1], per_frame[2], per_frame[3]
        );
    }
}

fn envelope(frames: &[Bytes]) -> Envelope {
    let (epoch, peer_epoch, number, ack, held) = (1, 1, 1, 1, 0);
    let (version, kind, payload) = (1, Kind::Frames, pack(frames));
    Envelope { version, kind, from: ANN, to: BOB, epoch, peer_epoch, number, ack, held, payload }
}

/// Runs it for a while, several times; returns the median of ns per run.
fn median(mut run: impl FnMut()) -> f64 {
    let mut rounds = [0.0; ROUNDS];
    for ns in &mut rounds {
        let (start, mut runs) = (Instant::now(), 0.0);
        while start.elapsed() < ROUND {
            for _ in 0..16 {
                run();
            }
            runs += 16.0;
        }
        *ns = start.elapsed().as_nanos() as f64 / runs;
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Two links that are up.
struct Links {
    keys: Keyring,
    ann: Link,
    bob: Link,
    now: Duration,
}

impl Links {
    fn new(keys: Keyring) -> Self {
        let mut ann = Link::new(ANN, BOB.node, Epochs::default(), Versions::HERE, Duration::ZERO);
        let mut bob = Link::new(BOB, ANN.node, Epochs::default(), Versions::HERE, Duration::ZERO);
        ann.peer_incarnation(BOB.incarnation, Duration::ZERO);
        bob.peer_incarnation(ANN.incarnation, Duration::ZERO);
        let mut links = Self { keys, ann, bob, now: Duration::ZERO };
        for _ in 0..3 {
            links.now += Duration::from_millis(300);
            links.exchange();
        }
        assert!(links.ann.session().is_some() && links.bob.session().is_some(), "both links are up");
        links
    }

    /// Sends frames from one to the other, in one envelope if they fit; acknowledgements travel as they do in life.
    fn carry(&mut self, frame: &Bytes, count: usize) {
        self.now += Duration::from_micros(100);
        for _ in 0..count {
            self.ann.send(frame.clone(), Class::Kept, self.now).expect("there is room");
        }
        self.exchange();
    }

    fn exchange(&mut self) {
        hand_over(&mut self.ann, &mut self.bob, BOB, &self.keys, self.now);
        hand_over(&mut self.bob, &mut self.ann, ANN, &self.keys, self.now);
    }
}

fn hand_over(from: &mut Link, to: &mut Link, receiver: NodeLease, keys: &Keyring, now: Duration) {
    for envelope in from.outgoing(now) {
        let sealed = envelope.seal(keys, EXPIRES_MS);
        let opened = Envelope::open(&sealed, keys, receiver, 0).expect("a good envelope");
        to.received(&opened, now);
    }
    while let Some(event) = to.next_event() {
        if let Event::Frame(frame) = event {
            black_box(frame);
        }
    }
}
