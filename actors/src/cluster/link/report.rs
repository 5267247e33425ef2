//! What a link tells its owner.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use super::{Link, handshake::Session};
use crate::cluster::envelope::{Envelope, Kind, Versions};

/// What happens on a link, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session begins; frames may be written as this version knows them.
    Up { version: u8 },
    /// A frame of the session.
    Frame(Bytes),
    /// The session ended: what was accepted for it and isn't known to have arrived may be lost, on both sides.
    Down(Why),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("more frames waited for the other node than a link keeps")]
    Overflow,
    #[error("the other node said nothing for too long")]
    Silent,
    #[error("the other node didn't acknowledge a frame in time")]
    Unanswered,
    #[error("the other node gave the session up")]
    PeerReset,
    #[error("the other node was started again")]
    PeerRestarted,
    #[error("the other node has no lease any more")]
    PeerGone,
    #[error("the other node acknowledged what was never sent")]
    Nonsense,
}

/// Why a frame was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the other node isn't there")]
    Absent,
    #[error("the other node hasn't answered yet, and enough waits for it")]
    Greeting,
    #[error("too much waits for the other node to add what may be dropped")]
    Crowded,
    #[error("too much waits for the other node: the link was given up")]
    Overflow,
    #[error("a frame is longer than an envelope can be")]
    TooLong,
}

/// How much a frame matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Refused first: typing, presence.
    Ephemeral,
    Kept,
}

/// What became of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heed {
    Taken,
    /// Late, of a session that ended, or from before the sender knew this side.
    Stale,
    /// From or for another life of a node than the directory said: it may be time to ask it again.
    Stranger,
}

/// State, as health and metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The directory knows no life of the other node.
    Absent,
    Greeting,
    /// The other node was heard, but speaks no version that this one does.
    Incompatible(Versions),
    Up,
}

/// Which envelope it was, for the bus's answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) session: Session,
    /// 0 when it can't be sent again.
    pub(super) number: u64,
}

impl Ticket {
    /// Returns the ticket of an envelope from [`Link::outgoing`].
    pub fn of(envelope: &Envelope) -> Self {
        let session = Session { mine: envelope.epoch, theirs: envelope.peer_epoch };
        Self { session, number: if envelope.kind == Kind::Frames { envelope.number } else { 0 } }
    }
}

/// What a link counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    pub envelopes_sent: u64,
    pub frames_sent: u64,
    pub frames_received: u64,
    /// Envelopes sent again.
    pub resent: u64,
    /// Envelopes that came behind a hole, that had come before, and that came too far behind a hole.
    pub ahead: u64,
    pub repeats: u64,
    pub beyond: u64,
    /// Envelopes of no session that is up, and of lives that the directory didn't name.
    pub stale: u64,
    pub strange: u64,
    /// Envelopes that the bus refused, and frames that weren't accepted.
    pub bus_refusals: u64,
    pub refused: u64,
    /// Sessions begun and ended, and how many of the ends began on this side.
    pub ups: u64,
    pub downs: u64,
    pub resets: u64,
    /// Attempts to begin a session with a node that speaks no common version.
    pub incompatible: u64,
}

/// A link as metrics show it, copied by its peer actor at the end of each turn; read by any thread.
#[derive(Debug, Default)]
pub struct LinkGauge {
    /// The directory knows a life of the other node.
    pub there: AtomicBool,
    pub up: AtomicBool,
    /// Frames and bytes that wait, for the way or for an acknowledgement.
    pub kept_frames: AtomicU64,
    pub kept_bytes: AtomicU64,
    pub envelopes_sent: AtomicU64,
    pub resent: AtomicU64,
    /// Sessions that ended.
    pub downs: AtomicU64,
}

impl LinkGauge {
    /// Copies a link's state.
    pub fn copy(&self, link: &Link) {
        let (counts, (frames, bytes)) = (link.counts(), link.kept());
        self.there.store(link.state() != LinkState::Absent, Relaxed);
        self.up.store(link.state() == LinkState::Up, Relaxed);
        self.kept_frames.store(frames as u64, Relaxed);
        self.kept_bytes.store(bytes as u64, Relaxed);
        self.envelopes_sent.store(counts.envelopes_sent, Relaxed);
        self.resent.store(counts.resent, Relaxed);
        self.downs.store(counts.downs, Relaxed);
    }
}

impl Link {
    /// Returns the state.
    pub fn state(&self) -> LinkState {
        match (self.life, self.up, self.their_versions) {
            (None, ..) => LinkState::Absent,
            (_, Some(_), _) => LinkState::Up,
            (_, None, Some(theirs)) if self.versions.common(theirs).is_none() => LinkState::Incompatible(theirs),
            (_, None, _) => LinkState::Greeting,
        }
    }

    /// Returns the session that is up.
    pub fn session(&self) -> Option<Session> {
        self.up.map(|_| self.session)
    }

    /// Returns the version spoken in the session that is up.
    pub fn version(&self) -> Option<u8> {
        self.up
    }

    /// Returns frames and bytes that wait here, for the way or for an acknowledgement.
    pub fn kept(&self) -> (usize, usize) {
        self.outbound.kept()
    }

    /// Returns bytes that came and wait for what is missing before them.
    pub fn ahead_bytes(&self) -> usize {
        self.inbound.ahead_bytes()
    }

    pub fn counts(&self) -> LinkCounts {
        self.counts
    }
}
