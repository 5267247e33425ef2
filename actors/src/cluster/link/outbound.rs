//! What one side of a link has to say: frames that wait, and numbered parcels that the other side hasn't acknowledged.
//!
//! At most [`IN_FLIGHT_MAX`] parcels are on the way; frames that come meanwhile gather for the next. A parcel is sent again when
//! something that was sent after it has arrived (as in RACK, RFC 8985), when the bus refused it, or, the first one only, when
//! nothing was acknowledged for a while. So an envelope that the bus loses costs one more envelope, and no guess about how long a
//! round trip takes is needed.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use chinwag_schema::limits::link::{
    GATHER_MAX_BYTES, IN_FLIGHT_MAX, REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RESEND_MAX, RESEND_MIN,
};

use crate::cluster::envelope::{FRAMES_MAX, pack, packed_bytes};

/// The sending half of a link. Lives as long as one session; [`Outbound::cleared`] begins the next.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    waiting: VecDeque<(Bytes, Duration)>,
    /// Not acknowledged, by number, the first of which follows `acknowledged`.
    ring: VecDeque<Parcel>,
    acknowledged: u64,
    frames: usize,
    bytes: usize,
    /// Counts what is handed to the bus; the largest known to have arrived.
    transmissions: u64,
    arrived: u64,
    resend_after: Duration,
    pause: Pause,
}

/// Frames under one number.
#[derive(Debug)]
struct Parcel {
    payload: Bytes,
    frames: usize,
    /// When the first frame was accepted.
    since: Duration,
    sent_at: Duration,
    /// The latest transmission; `None` when the bus refused it.
    transmission: Option<u64>,
    /// The other side has it, but not all before it.
    held: bool,
}

/// The bus refuses envelopes: nothing is handed to it for a while.
#[derive(Debug, Default, Clone, Copy)]
struct Pause {
    until: Duration,
    last: Duration,
}

/// A parcel to be handed to the bus.
pub(super) struct Outgoing {
    pub number: u64,
    pub payload: Bytes,
    pub frames: usize,
    pub again: bool,
}

/// The other side acknowledges what was never sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

impl Outbound {
    /// Returns an empty half for the next session. The bus stays refused as long as it is.
    pub fn cleared(&self) -> Self {
        Self { resend_after: RESEND_MIN, pause: self.pause, ..Self::default() }
    }

    /// Returns frames and bytes kept, acknowledged ones left out.
    pub fn kept(&self) -> (usize, usize) {
        (self.frames, self.bytes)
    }

    /// Returns the last number used.
    pub fn last_number(&self) -> u64 {
        self.acknowledged + self.ring.len() as u64
    }

    /// Returns when the oldest frame kept was accepted.
    pub fn oldest(&self) -> Option<Duration> {
        let waiting = self.waiting.front().map(|(_, since)| *since);
        self.ring.front().map(|parcel| parcel.since).or(waiting)
    }

    pub fn push(&mut self, frame: Bytes, now: Duration) {
        self.frames += 1;
        self.bytes += packed_bytes(&frame);
        self.waiting.push_back((frame, now));
    }

    /// The other side has all up to `ack`, and of what follows what `held` says.
    pub fn acknowledge(&mut self, ack: u64, held: u64) -> Result<(), Nonsense> {
        let held_last = if held == 0 { 0 } else { ack.saturating_add(65 - u64::from(held.leading_zeros())) };
        if ack.max(held_last) > self.last_number() {
            return Err(Nonsense);
        }
        while self.acknowledged < ack
            && let Some(parcel) = self.ring.pop_front()
        {
            self.acknowledged += 1;
            self.frames -= parcel.frames;
            self.bytes -= parcel.payload.len();
            self.arrived = self.arrived.max(parcel.transmission.unwrap_or(0));
        }
        for bit in (0..64).filter(|bit| held & (1 << bit) != 0) {
            let place = (ack + 2 + bit).checked_sub(self.acknowledged + 1);
            if let Some(parcel) = place.and_then(|place| self.ring.get_mut(place as usize))
                && !parcel.held
            {
                parcel.held = true;
                self.arrived = self.arrived.max(parcel.transmission.unwrap_or(0));
            }
        }
        Ok(())
    }

    /// The other side is heard: waits begin at their shortest again.
    pub fn heard(&mut self) {
        self.resend_after = RESEND_MIN;
        self.pause.last = Duration::ZERO;
    }

    /// The bus refused a parcel, or, with 0, something without a number.
    pub fn refused(&mut self, number: u64, now: Duration) {
        if now >= self.pause.until {
            self.pause.last = (self.pause.last * 2).clamp(REFUSED_PAUSE_MIN, REFUSED_PAUSE_MAX);
            self.pause.until = now + self.pause.last;
        }
        let place = number.checked_sub(self.acknowledged + 1);
        if let Some(parcel) = place.and_then(|place| self.ring.get_mut(place as usize)) {
            parcel.transmission = None;
        }
    }

    /// Returns until when nothing may be handed to the bus.
    pub fn paused_until(&self) -> Duration {
        self.pause.until
    }

    /// Takes what is to be handed to the bus now: what has to be sent again, then what waits.
    pub fn take(&mut self, now: Duration) -> Vec<Outgoing> {
        let mut out = self.take_again(now);
        while self.ring.len() < IN_FLIGHT_MAX && !self.waiting.is_empty() {
            let parcel = self.gather(now);
            let (payload, frames) = (parcel.payload.clone(), parcel.frames);
            self.ring.push_back(parcel);
            out.push(Outgoing { number: self.last_number(), payload, frames, again: false });
        }
        out
    }

    fn take_again(&mut self, now: Duration) -> Vec<Outgoing> {
        let late = self.first_is_late(now);
        if late {
            self.resend_after = (self.resend_after * 2).min(RESEND_MAX);
        }
        let mut first = true;
        let mut out = Vec::new();
        for (number, parcel) in (self.acknowledged + 1..).zip(&mut self.ring) {
            let due = (late && first) || parcel.transmission.is_none_or(|sent| sent < self.arrived);
            first = false;
            if due && !parcel.held {
                self.transmissions += 1;
                parcel.transmission = Some(self.transmissions);
                parcel.sent_at = now;
                out.push(Outgoing { number, payload: parcel.payload.clone(), frames: parcel.frames, again: true });
            }
        }
        out
    }

    /// The first parcel is the one that the other side misses: it can't be held.
    fn first_is_late(&self, now: Duration) -> bool {
        self.ring.front().is_some_and(|parcel| now >= parcel.sent_at + self.resend_after)
    }

    fn gather(&mut self, now: Duration) -> Parcel {
        let (mut frames, mut bytes) = (0, 0);
        for (frame, _) in self.waiting.iter().take(FRAMES_MAX) {
            let packed = packed_bytes(frame);
            if frames > 0 && bytes + packed > GATHER_MAX_BYTES {
                break;
            }
            frames += 1;
            bytes += packed;
        }
        let since = self.waiting.front().map_or(now, |(_, since)| *since);
        let gathered: Vec<Bytes> = self.waiting.drain(..frames).map(|(frame, _)| frame).collect();
        self.transmissions += 1;
        let transmission = Some(self.transmissions);
        Parcel { payload: pack(&gathered), frames, since, sent_at: now, transmission, held: false }
    }

    /// Returns when [`Self::take`] will have something; zero: at once.
    pub fn due_at(&self) -> Option<Duration> {
        let overtaken = |parcel: &Parcel| !parcel.held && parcel.transmission.is_none_or(|sent| sent < self.arrived);
        let may_send = self.ring.len() < IN_FLIGHT_MAX && !self.waiting.is_empty();
        if may_send || self.ring.iter().any(overtaken) {
            return Some(self.pause.until);
        }
        let resend = self.ring.front().map(|parcel| parcel.sent_at + self.resend_after);
        resend.map(|at| at.max(self.pause.until))
    }
}
