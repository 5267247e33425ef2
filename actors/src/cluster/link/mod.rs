//! The link between two nodes: turns the bus, which loses, delays, repeats and reorders, into frames in order, once each, or says
//! that it is down.
//!
//! A pure state machine: no socket, no clock. Whoever owns it hands it what came ([`Link::received`]), hands what it wants to say
//! ([`Link::outgoing`]) to the bus, takes its events ([`Link::next_event`]) after each call, and calls again at
//! [`Link::next_deadline`]. `now` is the time since any fixed moment, on a clock that goes on while the process is stopped.
//!
//! What it promises, each within one incarnation of both nodes:
//! - **Sessions.** Events are `Up`, frames, `Down`, `Up`, … A frame that [`Link::send`] accepted belongs to the session that is up,
//!   or to the next one; both sides have the same sessions in the same order, but for those that one of them never saw begin.
//! - **In order, once each, without holes.** What one side hands out in a session is a prefix of what the other accepted for it;
//!   all of it, unless the session ends.
//! - **Down.** A session ends with one `Down` on each side that had it up, and before any frame of a later one. So does what was
//!   accepted for a session that never began. Nothing of an ended session is handed out any more.
//! - **Resets end.** A reset comes only from a limit that was reached here (room, patience) or from the directory, never from the
//!   other side's reset (`handshake.rs`). On a bus that works again, each side resets at most once.
//!
//! It doesn't know who lives: the directory does, and tells it by [`Link::peer_incarnation`] and [`Link::peer_gone`].

mod handshake;
mod inbound;
mod outbound;
mod report;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::link::{BEAT, GREETING_MAX_BYTES, GREETING_MAX_FRAMES, KEPT_MAX_BYTES, KEPT_MAX_FRAMES, PATIENCE},
};

use super::envelope::{Envelope, FRAME_MAX_BYTES, Frames, GREETING_VERSION, Greeting, Kind, Versions, packed_bytes};
use crate::ports::directory::NodeLease;
pub use handshake::{Epochs, Session};
use handshake::{Greeter, Spoken};
use inbound::{Inbound, Taken};
use outbound::Outbound;
pub use report::{Class, Event, Heed, LinkCounts, LinkGauge, LinkState, Refused, Ticket, Why};

/// One side of a link. Keeps at most [`KEPT_MAX_BYTES`] that the other side may not have, and [`AHEAD_MAX_BYTES`] that came behind a hole.
///
/// [`AHEAD_MAX_BYTES`]: chinwag_schema::limits::link::AHEAD_MAX_BYTES
#[derive(Debug)]
pub struct Link {
    me: NodeLease,
    peer: NodeId,
    /// The life of the other node that is talked to; `None` while the directory knows of none.
    life: Option<Incarnation>,
    versions: Versions,
    their_versions: Option<Versions>,
    epochs: Epochs,
    session: Session,
    /// The version spoken in the session; `None` while it hasn't begun.
    up: Option<u8>,
    greeter: Greeter,
    /// A node that isn't up yet greeted: it waits for an answer.
    greeting_owed: bool,
    heard_at: Duration,
    spoke_at: Duration,
    outbound: Outbound,
    inbound: Inbound,
    events: VecDeque<Event>,
    counts: LinkCounts,
}

impl Link {
    /// Makes a link of this life of this node to `peer`, about which nothing is known yet. `epochs`: the same for all links of this
    /// life, however often they are built.
    pub fn new(me: NodeLease, peer: NodeId, epochs: Epochs, versions: Versions, now: Duration) -> Self {
        let session = Session { mine: epochs.next(), theirs: 0 };
        Self {
            me,
            peer,
            life: None,
            versions,
            their_versions: None,
            epochs,
            session,
            up: None,
            greeter: Greeter::new(now),
            greeting_owed: false,
            heard_at: now,
            spoke_at: now,
            outbound: Outbound::default().cleared(),
            inbound: Inbound::default(),
            events: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// The directory says that the other node lives, and which life of it. Nothing happens when this is known.
    pub fn peer_incarnation(&mut self, life: Incarnation, now: Duration) {
        match self.life {
            Some(known) if known == life => return,
            Some(_) => self.reset(Why::PeerRestarted, now),
            None => {}
        }
        self.life = Some(life);
        self.session.theirs = 0;
        self.their_versions = None;
        self.greeter.restart(now);
    }

    /// The directory says that the other node's lease ran out or was given up.
    pub fn peer_gone(&mut self, now: Duration) {
        if self.life.is_some() {
            self.reset(Why::PeerGone, now);
            self.life = None;
        }
    }

    /// Accepts a frame for the session that is up or begins next.
    ///
    /// # Errors
    /// Says why it was not accepted. [`Refused::Overflow`] also ends the session.
    pub fn send(&mut self, frame: Bytes, class: Class, now: Duration) -> Result<(), Refused> {
        self.lapse(now);
        let (frames, bytes) = self.outbound.kept();
        let (frames, bytes) = (frames + 1, bytes + packed_bytes(&frame));
        let fits = |max_frames, max_bytes| frames <= max_frames && bytes <= max_bytes;
        let refused = if frame.len() > FRAME_MAX_BYTES {
            Some(Refused::TooLong)
        } else if self.life.is_none() {
            Some(Refused::Absent)
        } else if self.up.is_none() {
            let welcome = class == Class::Kept && fits(GREETING_MAX_FRAMES, GREETING_MAX_BYTES);
            (!welcome).then_some(Refused::Greeting)
        } else if class == Class::Ephemeral && !fits(KEPT_MAX_FRAMES / 2, KEPT_MAX_BYTES / 2) {
            Some(Refused::Crowded)
        } else {
            (!fits(KEPT_MAX_FRAMES, KEPT_MAX_BYTES)).then_some(Refused::Overflow)
        };
        if let Some(refused) = refused {
            self.counts.refused += 1;
            if refused == Refused::Overflow {
                self.reset(Why::Overflow, now);
            }
            return Err(refused);
        }
        self.outbound.push(frame, now);
        Ok(())
    }

    /// Takes an envelope that came from the other node, opened. A greeting that knows nothing of this side is stale, but heeded.
    pub fn received(&mut self, envelope: &Envelope, now: Duration) -> Heed {
        self.lapse(now);
        let from = self.life.map(|incarnation| NodeLease { node: self.peer, incarnation });
        if from != Some(envelope.from) || envelope.to != self.me {
            self.counts.strange += 1;
            return Heed::Stranger;
        }
        match self.session.compare(envelope.epoch) {
            Spoken::Before => return self.stale(),
            Spoken::New => {
                self.lose(Why::PeerReset);
                self.session.theirs = envelope.epoch;
                self.greeter.restart(now);
            }
            Spoken::Now => {}
        }
        if let Some(greeting) = envelope.greeting() {
            self.their_versions = Some(greeting.versions);
        }
        if envelope.peer_epoch != self.session.mine {
            if self.up.is_none() {
                // It doesn't know this side's epoch.
                self.greeter.hurry(now);
            }
            return self.stale();
        }
        if self.up.is_none() && !self.begin(now) {
            return Heed::Taken;
        }
        self.hear(envelope, now);
        Heed::Taken
    }

    /// Takes what an envelope of the session says.
    fn hear(&mut self, envelope: &Envelope, now: Duration) {
        self.heard_at = now;
        self.outbound.heard();
        if let Some(greeting) = envelope.greeting() {
            self.greeting_owed |= !greeting.up;
            return;
        }
        if self.outbound.acknowledge(envelope.ack, envelope.held).is_err() {
            self.reset(Why::Nonsense, now);
            return;
        }
        if envelope.kind != Kind::Frames {
            self.inbound.announced(envelope.number);
            return;
        }
        match self.inbound.take(envelope.number, envelope.payload.clone(), now) {
            Taken::InOrder(payloads) => {
                let before = self.events.len();
                self.events.extend(payloads.into_iter().flat_map(Frames::of).map(Event::Frame));
                self.counts.frames_received += (self.events.len() - before) as u64;
            }
            Taken::Ahead => self.counts.ahead += 1,
            Taken::Repeat => self.counts.repeats += 1,
            Taken::Beyond => self.counts.beyond += 1,
        }
    }

    /// The bus refused an envelope. Nothing is handed to it for a moment, then this one again.
    pub fn not_sent(&mut self, ticket: Ticket, now: Duration) {
        self.counts.bus_refusals += 1;
        let current = ticket.session == self.session && self.up.is_some();
        self.outbound.refused(if current { ticket.number } else { 0 }, now);
        if current && ticket.number == 0 {
            self.inbound.owe_ack(Duration::ZERO);
        }
    }

    /// Ends what has taken too long. The other calls do so, too, before anything else: a process that was stopped notices.
    pub fn tick(&mut self, now: Duration) {
        self.lapse(now);
    }

    /// Returns what is to be handed to the bus now, in this order.
    pub fn outgoing(&mut self, now: Duration) -> Vec<Envelope> {
        self.lapse(now);
        if self.life.is_none() || now < self.outbound.paused_until() {
            return Vec::new();
        }
        let greets = if self.up.is_some() { self.greeting_owed } else { now >= self.greeter.at() };
        let mut out: Vec<Envelope> = greets.then(|| self.greet(now)).into_iter().collect();
        if let Some(version) = self.up {
            self.say(version, now, &mut out);
        }
        self.counts.envelopes_sent += out.len() as u64;
        out
    }

    /// Adds what the session has to say: frames, else a beat when one is due. Both acknowledge.
    fn say(&mut self, version: u8, now: Duration, out: &mut Vec<Envelope>) {
        let before = out.len();
        for parcel in self.outbound.take(now) {
            self.counts.frames_sent += if parcel.again { 0 } else { parcel.frames as u64 };
            self.counts.resent += u64::from(parcel.again);
            out.push(self.envelope(version, Kind::Frames, parcel.number, parcel.payload));
        }
        let ack_due = self.inbound.ack_at().is_some_and(|at| now >= at);
        if out.len() == before && (ack_due || now >= self.spoke_at + BEAT) {
            out.push(self.envelope(version, Kind::Beat, self.outbound.last_number(), Bytes::new()));
        }
        if out.len() > before {
            self.inbound.acknowledged();
            self.spoke_at = now;
        }
    }

    /// Returns when to call [`Self::outgoing`] again, if nothing happens before. A time that has passed: now.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.life?;
        let paused_until = self.outbound.paused_until();
        let lapse = self.outbound.oldest().map(|since| since + PATIENCE);
        if self.up.is_none() {
            return Some(self.greeter.at().max(paused_until)).into_iter().chain(lapse).min();
        }
        let owed = self.greeting_owed.then_some(Duration::ZERO);
        let says = [owed, self.inbound.ack_at(), Some(self.spoke_at + BEAT), self.outbound.due_at()];
        let says = says.into_iter().flatten().min().map(|at| at.max(paused_until));
        says.into_iter().chain(lapse).chain([self.heard_at + PATIENCE]).min()
    }

    /// Returns the next event. To be called after each other call until there is none.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Begins the session, if both speak a common version.
    fn begin(&mut self, now: Duration) -> bool {
        let Some(theirs) = self.their_versions else {
            self.greeter.hurry(now);
            return false;
        };
        let Some(version) = self.versions.common(theirs) else {
            self.counts.incompatible += 1;
            return false;
        };
        self.up = Some(version);
        (self.heard_at, self.spoke_at) = (now, now);
        self.counts.ups += 1;
        self.events.push_back(Event::Up { version });
        true
    }

    /// Ends the session, and what was accepted for the next, with a `Down` if there was either.
    fn lose(&mut self, why: Why) {
        let accepted = self.outbound.kept().0 > 0;
        // What waits for a session that hasn't begun isn't touched by the other side's reset.
        if self.up.is_none() && (why == Why::PeerReset || !accepted) {
            return;
        }
        self.up = None;
        self.greeting_owed = false;
        self.outbound = self.outbound.cleared();
        self.inbound = Inbound::default();
        self.counts.downs += 1;
        self.events.push_back(Event::Down(why));
    }

    /// Gives up, for a reason on this side: the other one hears of it by the new epoch.
    fn reset(&mut self, why: Why, now: Duration) {
        self.lose(why);
        self.counts.resets += 1;
        self.session.mine = self.epochs.next();
        self.greeter.restart(now);
    }

    fn lapse(&mut self, now: Duration) {
        if self.up.is_some() && now >= self.heard_at + PATIENCE {
            self.reset(Why::Silent, now);
        }
        if self.outbound.oldest().is_some_and(|since| now >= since + PATIENCE) {
            self.reset(Why::Unanswered, now);
        }
    }

    fn stale(&mut self) -> Heed {
        self.counts.stale += 1;
        Heed::Stale
    }

    fn greet(&mut self, now: Duration) -> Envelope {
        self.greeting_owed = false;
        self.greeter.greeted(now);
        let greeting = Greeting { versions: self.versions, up: self.up.is_some() };
        self.envelope(GREETING_VERSION, Kind::Greeting, 0, greeting.payload())
    }

    fn envelope(&self, version: u8, kind: Kind, number: u64, payload: Bytes) -> Envelope {
        let incarnation = self.life.expect("nothing is said to a node of which no life is known");
        let to = NodeLease { node: self.peer, incarnation };
        let Session { mine: epoch, theirs: peer_epoch } = self.session;
        let (ack, held) = if kind == Kind::Greeting { (0, 0) } else { self.inbound.acknowledgement() };
        Envelope { version, kind, from: self.me, to, epoch, peer_epoch, number, ack, held, payload }
    }
}
