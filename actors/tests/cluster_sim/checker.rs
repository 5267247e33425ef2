//! Holds every event of every link against what links promise (`cluster/link/mod.rs`).
//!
//! A *period* of one side lasts from one `Down` (or the start of its life) to the next. Each frame says which period of its sender it
//! was accepted in, and its place there.

use std::collections::{BTreeMap, HashSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chinwag_actors::cluster::link::{Event, Session, Why};
use chinwag_schema::ids::NodeId;

/// A side of a link: the node, and the other one.
pub type Side = (NodeId, NodeId);

/// A life of a node and a period in it, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period {
    pub life: u32,
    pub downs: u32,
}

/// What is known of one side.
#[derive(Debug, Default)]
struct State {
    period: Period,
    accepted: u32,
    up: bool,
    /// Sessions of this life.
    sessions: HashSet<Session>,
    /// The other side's period that is heard in this one, and how many of its frames.
    hears: Option<Period>,
    heard: u32,
    heard_before: Option<Period>,
    downs: Vec<Why>,
}

/// The checker. Each method panics when a promise is broken.
#[derive(Debug, Default)]
pub struct Checker {
    sides: BTreeMap<Side, State>,
    /// Which period of one side belongs to which of the other.
    pairs: BTreeMap<(Side, Period), Period>,
    pub frames: u64,
}

const TAG_BYTES: usize = 16;

impl Checker {
    /// Returns the frame that a side would send next, `bytes` long at least.
    pub fn next_frame(&mut self, side: Side, bytes: usize) -> Bytes {
        let state = self.sides.entry(side).or_default();
        let mut frame = BytesMut::with_capacity(bytes.max(TAG_BYTES));
        frame.put_u16(side.0.0);
        frame.put_u16(side.1.0);
        frame.put_u32(state.period.life);
        frame.put_u32(state.period.downs);
        frame.put_u32(state.accepted);
        frame.resize(bytes.max(TAG_BYTES), b'.');
        frame.freeze()
    }

    /// The link accepted that frame.
    pub fn accepted(&mut self, side: Side) {
        self.sides.entry(side).or_default().accepted += 1;
    }

    /// The node of this side begins a new life.
    pub fn restarted(&mut self, side: Side) {
        let state = self.sides.entry(side).or_default();
        let period = Period { life: state.period.life + 1, downs: 0 };
        let heard_before = state.hears.or(state.heard_before);
        *state = State { period, heard_before, downs: std::mem::take(&mut state.downs), ..State::default() };
    }

    /// An event came out of the link of this side, which is in this session now.
    pub fn event(&mut self, side: Side, event: Event, session: Option<Session>) {
        match event {
            Event::Up { .. } => self.up(side, session.unwrap_or_else(|| panic!("{side:?}: up without a session"))),
            Event::Frame(frame) => self.frame(side, frame),
            Event::Down(why) => self.down(side, why),
        }
    }

    fn up(&mut self, side: Side, session: Session) {
        let state = self.sides.entry(side).or_default();
        assert!(!state.up, "{side:?}: up twice without a `Down`");
        assert!(state.sessions.insert(session), "{side:?}: entered {session:?} twice");
        state.up = true;
    }

    fn down(&mut self, side: Side, why: Why) {
        let state = self.sides.entry(side).or_default();
        assert!(state.up || state.accepted > 0, "{side:?}: a `Down` ({why}) for nothing");
        state.period.downs += 1;
        (state.up, state.accepted, state.heard) = (false, 0, 0);
        state.heard_before = state.hears.take().or(state.heard_before);
        state.downs.push(why);
    }

    fn frame(&mut self, side: Side, mut frame: Bytes) {
        self.frames += 1;
        let sender: Side = (NodeId(frame.get_u16()), NodeId(frame.get_u16()));
        let period = Period { life: frame.get_u32(), downs: frame.get_u32() };
        let n = frame.get_u32();
        assert_eq!(sender, (side.1, side.0), "{side:?}: a frame of another link");
        let state = self.sides.entry(side).or_default();
        assert!(state.up, "{side:?}: a frame without an `Up`");
        if state.hears.is_none() {
            let before = state.heard_before;
            assert!(before < Some(period), "{side:?}: hears {period:?} after {before:?}: frames from before a `Down`");
            state.hears = Some(period);
        }
        assert_eq!(state.hears, Some(period), "{side:?}: two periods without a `Down` between");
        assert_eq!(n, state.heard, "{side:?}: a hole, a repeat or another order in {period:?}");
        state.heard += 1;
        let mine = state.period;
        for (side, one, other) in [(side, mine, period), (sender, period, mine)] {
            let pair = *self.pairs.entry((side, one)).or_insert(other);
            assert_eq!(pair, other, "{side:?}: {one:?} belongs to two periods");
        }
    }

    /// Everything accepted in the present periods has arrived.
    pub fn complete(&self) {
        for (side, state) in &self.sides {
            let other = self.sides.get(&(side.1, side.0)).map_or(0, |other| other.heard);
            assert!(state.up, "{side:?}: not up in the end");
            assert_eq!(state.accepted, other, "{side:?}: frames accepted, and heard on the other side");
        }
    }

    /// Returns why each side went down, in order.
    pub fn downs(&self) -> BTreeMap<Side, Vec<Why>> {
        self.sides.iter().map(|(side, state)| (*side, state.downs.clone())).collect()
    }
}

/// The checker notices: each of these histories breaks one promise.
mod notices {
    use super::*;

    const ANN: Side = (NodeId(1), NodeId(2));
    const BOB: Side = (NodeId(2), NodeId(1));

    fn session(mine: u64) -> Session {
        Session { mine, theirs: 1 }
    }

    /// Both are up, and Ann sent this many frames.
    fn up(frames: usize) -> (Checker, Vec<Bytes>) {
        let mut checker = Checker::default();
        checker.up(ANN, session(1));
        checker.up(BOB, session(1));
        let frames = (0..frames).map(|_| accept(&mut checker)).collect();
        (checker, frames)
    }

    fn accept(checker: &mut Checker) -> Bytes {
        let frame = checker.next_frame(ANN, 0);
        checker.accepted(ANN);
        frame
    }

    fn hear(checker: &mut Checker, frame: &Bytes) {
        checker.event(BOB, Event::Frame(frame.clone()), None);
    }

    #[test]
    #[should_panic = "a hole, a repeat or another order"]
    fn a_hole() {
        let (mut checker, frames) = up(3);
        hear(&mut checker, &frames[0]);
        hear(&mut checker, &frames[2]);
    }

    #[test]
    #[should_panic = "a hole, a repeat or another order"]
    fn a_repeat() {
        let (mut checker, frames) = up(1);
        hear(&mut checker, &frames[0]);
        hear(&mut checker, &frames[0]);
    }

    #[test]
    #[should_panic = "two periods without a `Down` between"]
    fn a_missing_down() {
        let (mut checker, frames) = up(1);
        hear(&mut checker, &frames[0]);
        checker.event(ANN, Event::Down(Why::Silent), None);
        checker.up(ANN, session(2));
        let later = accept(&mut checker);
        hear(&mut checker, &later);
    }

    #[test]
    #[should_panic = "frames from before a `Down`"]
    fn a_frame_from_before_a_down() {
        let (mut checker, frames) = up(2);
        hear(&mut checker, &frames[0]);
        checker.event(BOB, Event::Down(Why::Silent), None);
        checker.up(BOB, session(2));
        hear(&mut checker, &frames[1]);
    }

    #[test]
    #[should_panic = "frames accepted, and heard"]
    fn a_frame_that_never_arrives() {
        let (checker, _) = up(1);
        checker.complete();
    }

    #[test]
    #[should_panic = "for nothing"]
    fn two_downs_for_one_loss() {
        let (mut checker, _) = up(0);
        checker.event(BOB, Event::Down(Why::Silent), None);
        checker.event(BOB, Event::Down(Why::PeerReset), None);
    }

    #[test]
    #[should_panic = "entered"]
    fn a_session_entered_again() {
        let (mut checker, _) = up(0);
        checker.event(BOB, Event::Down(Why::Silent), None);
        checker.up(BOB, session(1));
    }
}
