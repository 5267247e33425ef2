//! Envelopes: what a node hands to the bus for another node, or for all, authenticated.
//!
//! Knows neither time nor sockets nor what the frames inside say. Numbers are big-endian:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | `cw` |
//! | 2 | 1 | version; what follows is the layout of version 1 |
//! | 3 | 1 | kind: 1 greeting, 2 beat, 3 frames, 4 hint |
//! | 4 | 2 | sender's node |
//! | 6 | 2 | receiver's node; 65,535 is everyone |
//! | 8 | 8 | sender's incarnation |
//! | 16 | 8 | receiver's incarnation; 0 for everyone |
//! | 24 | 8 | sender's epoch of this link |
//! | 32 | 8 | receiver's epoch as the sender knows it; 0 for unknown |
//! | 40 | 8 | number; of greetings and beats, the last number used |
//! | 48 | 8 | every number up to here has arrived |
//! | 56 | 8 | bit *i*: the number two and *i* beyond that has arrived, too |
//! | 64 | 8 | expiry, Unix ms |
//! | 72 | | frames: 4 bytes of length and as many bytes, each; a greeting: lowest version, highest version, flags |
//! | end | 32 | HMAC-SHA256 of everything before |
//!
//! Greetings are of version 1 for ever, so that nodes of any two releases can find out what both speak. More may be appended to a
//! greeting; older nodes ignore it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::cluster::ENVELOPE_MAX_BYTES,
};

use super::keyring::{Keyring, MAC_BYTES};
use crate::ports::directory::NodeLease;

const MAGIC: u16 = u16::from_be_bytes(*b"cw");
const HEADER_BYTES: usize = 72;
/// Length of a frame, before it.
const PREFIX_BYTES: usize = 4;

/// The version of every greeting, whatever else a node speaks.
pub const GREETING_VERSION: u8 = 1;

/// Largest frame, bytes: alone it fills the largest envelope.
pub const FRAME_MAX_BYTES: usize = ENVELOPE_MAX_BYTES - HEADER_BYTES - PREFIX_BYTES - MAC_BYTES;

/// Frames in one envelope: bounds what one envelope costs to hand out.
pub const FRAMES_MAX: usize = 1024;

/// Versions that a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub min: u8,
    pub max: u8,
}

impl Versions {
    /// What this build speaks.
    pub const HERE: Self = Self { min: 1, max: 1 };

    /// Returns the highest version that both speak.
    pub fn common(self, other: Self) -> Option<u8> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

/// What an envelope is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Makes epochs and versions known; carries a [`Greeting`].
    Greeting = 1,
    /// Says that the sender lives, what arrived, and the last number it used.
    Beat = 2,
    /// Carries frames of a link, in order.
    Frames = 3,
    /// Carries frames outside any link, which may be lost or repeated.
    Hint = 4,
}

/// What a greeting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    pub versions: Versions,
    /// The sender's link is up: it waits for no answer.
    pub up: bool,
}

/// An envelope, open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub version: u8,
    pub kind: Kind,
    pub from: NodeLease,
    pub to: NodeLease,
    /// The sender's epoch of this link, and the receiver's as the sender knows it. 0: none, unknown.
    pub epoch: u64,
    pub peer_epoch: u64,
    pub number: u64,
    /// Every number up to here has arrived at the sender.
    pub ack: u64,
    /// Bit `i`: so has `ack + 2 + i`.
    pub held: u64,
    /// Frames with their lengths ([`pack`]), or a greeting.
    pub payload: Bytes,
}

/// Why an envelope was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an envelope, or one with a hole in it.
    #[error("malformed envelope: {0}")]
    Malformed(&'static str),
    #[error("envelope of version {0}, which this node doesn't speak; upgrade the older node")]
    Version(u8),
    #[error("an envelope's code doesn't match: has every node the same cluster key?")]
    Mac,
    #[error("an envelope for node {}", .0.0)]
    Receiver(NodeId),
    /// For another life of this node.
    #[error("an envelope for incarnation {0} of this node")]
    Incarnation(Incarnation),
    #[error("an envelope expired {0} ms ago: it was late, or the nodes' clocks disagree")]
    Expired(u64),
}

impl Refusal {
    /// Names of all kinds, for counters.
    pub const KINDS: [&'static str; 6] = ["malformed", "version", "mac", "receiver", "incarnation", "expired"];

    /// Returns the place of this kind in [`Self::KINDS`].
    pub const fn kind(&self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::Version(_) => 1,
            Self::Mac => 2,
            Self::Receiver(_) => 3,
            Self::Incarnation(_) => 4,
            Self::Expired(_) => 5,
        }
    }
}

impl Envelope {
    /// The receiver of a hint for all nodes.
    pub const EVERYONE: NodeLease = NodeLease { node: NodeId(u16::MAX), incarnation: Incarnation(0) };

    /// Makes a hint for all nodes of one frame. `version`: the lowest that all of them speak.
    pub fn hint(from: NodeLease, version: u8, frame: Bytes) -> Self {
        let payload = pack([&frame]);
        let (epoch, peer_epoch, number, ack, held) = (0, 0, 0, 0, 0);
        Self { version, kind: Kind::Hint, from, to: Self::EVERYONE, epoch, peer_epoch, number, ack, held, payload }
    }

    /// Returns the envelope as it goes over the bus, valid until `expires_ms` (Unix).
    pub fn seal(&self, keys: &Keyring, expires_ms: i64) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.payload.len() + MAC_BYTES);
        out.put_u16(MAGIC);
        out.put_u8(self.version);
        out.put_u8(self.kind as u8);
        out.put_u16(self.from.node.0);
        out.put_u16(self.to.node.0);
        for word in [
            self.from.incarnation.0,
            self.to.incarnation.0,
            self.epoch,
            self.peer_epoch,
            self.number,
            self.ack,
            self.held,
        ] {
            out.put_u64(word);
        }
        out.put_i64(expires_ms);
        out.put_slice(&self.payload);
        let mac = keys.sign(&out);
        out.put_slice(&mac);
        out.freeze()
    }

    /// Reads an envelope that came to `me` at `now_ms` (Unix). Copies nothing: the frames are parts of `sealed`.
    pub fn open(sealed: &Bytes, keys: &Keyring, me: NodeLease, now_ms: i64) -> Result<Self, Refusal> {
        if sealed.len() > ENVELOPE_MAX_BYTES {
            return Err(Refusal::Malformed("too long"));
        }
        let signed = match sealed.len().checked_sub(MAC_BYTES) {
            Some(signed) if signed >= HEADER_BYTES => signed,
            _ => return Err(Refusal::Malformed("too short")),
        };
        let mut header = &sealed[..HEADER_BYTES];
        if header.get_u16() != MAGIC {
            return Err(Refusal::Malformed("not an envelope"));
        }
        let (version, kind) = (header.get_u8(), header.get_u8());
        let greeting = kind == Kind::Greeting as u8 && version == GREETING_VERSION;
        if !greeting && !(Versions::HERE.min..=Versions::HERE.max).contains(&version) {
            return Err(Refusal::Version(version));
        }
        if !keys.verify(&sealed[..signed], &sealed[signed..]) {
            return Err(Refusal::Mac);
        }
        let kind = Kind::read(kind)?;
        let (from, to) = (NodeId(header.get_u16()), NodeId(header.get_u16()));
        let mut word = || header.get_u64();
        let from = NodeLease { node: from, incarnation: Incarnation(word()) };
        let to = NodeLease { node: to, incarnation: Incarnation(word()) };
        check_receiver(kind, to, me)?;
        let (epoch, peer_epoch, number, ack, held) = (word(), word(), word(), word(), word());
        let late_ms = now_ms.saturating_sub(header.get_i64());
        if late_ms > 0 {
            return Err(Refusal::Expired(late_ms.unsigned_abs()));
        }
        let payload = sealed.slice(HEADER_BYTES..signed);
        if matches!(kind, Kind::Frames | Kind::Hint) {
            check_frames(&payload)?;
        }
        Ok(Self { version, kind, from, to, epoch, peer_epoch, number, ack, held, payload })
    }

    /// Returns the frames of [`Kind::Frames`] and [`Kind::Hint`]. Each keeps the whole envelope in memory: copy what is kept for long.
    pub fn frames(&self) -> Frames {
        Frames::of(self.payload.clone())
    }

    /// Returns what a greeting says.
    pub fn greeting(&self) -> Option<Greeting> {
        match (self.kind, &self.payload[..]) {
            (Kind::Greeting, &[min, max, flags, ..]) => {
                Some(Greeting { versions: Versions { min, max }, up: flags & 1 != 0 })
            }
            _ => None,
        }
    }
}

impl Kind {
    fn read(byte: u8) -> Result<Self, Refusal> {
        match byte {
            1 => Ok(Self::Greeting),
            2 => Ok(Self::Beat),
            3 => Ok(Self::Frames),
            4 => Ok(Self::Hint),
            _ => Err(Refusal::Malformed("of no known kind")),
        }
    }
}

impl Greeting {
    /// Returns the payload of a greeting.
    pub fn payload(self) -> Bytes {
        Bytes::copy_from_slice(&[self.versions.min, self.versions.max, u8::from(self.up)])
    }
}

/// Only hints go to everyone: a link has one receiver.
fn check_receiver(kind: Kind, to: NodeLease, me: NodeLease) -> Result<(), Refusal> {
    match (kind, to) {
        (Kind::Hint, Envelope::EVERYONE) => Ok(()),
        (_, to) if to.node != me.node => Err(Refusal::Receiver(to.node)),
        (_, to) if to.incarnation != me.incarnation => Err(Refusal::Incarnation(to.incarnation)),
        _ => Ok(()),
    }
}

fn check_frames(payload: &[u8]) -> Result<(), Refusal> {
    let (mut rest, mut count) = (payload, 0);
    while let Some((length, after)) = rest.split_first_chunk::<PREFIX_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        rest = after.get(length..).ok_or(Refusal::Malformed("a frame is cut off"))?;
        count += 1;
    }
    match rest {
        [] if count <= FRAMES_MAX => Ok(()),
        [] => Err(Refusal::Malformed("too many frames")),
        _ => Err(Refusal::Malformed("a frame's length is cut off")),
    }
}

/// What a frame takes in an envelope, bytes.
pub const fn packed_bytes(frame: &Bytes) -> usize {
    PREFIX_BYTES + frame.len()
}

/// Joins frames, each behind its length. No frame may be longer than [`FRAME_MAX_BYTES`].
pub fn pack<'a>(frames: impl IntoIterator<Item = &'a Bytes> + Clone) -> Bytes {
    let bytes = frames.clone().into_iter().map(packed_bytes).sum();
    let mut out = BytesMut::with_capacity(bytes);
    for frame in frames {
        out.put_u32(u32::try_from(frame.len()).expect("a frame fits an envelope"));
        out.put_slice(frame);
    }
    out.freeze()
}

/// The frames of an envelope, in order.
#[derive(Debug, Clone)]
pub struct Frames(Bytes);

impl Frames {
    /// Reads what [`pack`] wrote.
    pub fn of(payload: Bytes) -> Self {
        Self(payload)
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let length = self.0.try_get_u32().ok()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests;
