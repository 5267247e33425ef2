//! A user's connection as a load test needs it, the same over each protocol: connect, join, post, hear.
//!
//! Thousands live on one thread: each is one task that owns one socket, and everything here can be cancelled in `select!` between frames.

mod messenger;
mod native;
mod rooms;
mod socket;

use std::sync::Arc;

use crate::{content::Mark, run::Run};

/// Wire protocol of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Native,
    Rooms,
    Messenger,
}

/// Who a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub name: String,
    /// An access token; `None`: a guest (not in the messenger dialect).
    pub token: Option<String>,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The room or group with this id, of which the peer is a member or listener.
    Place(Place),
    /// Another user, one to one.
    User(String),
}

/// A room or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    /// Its id; the same over all protocols.
    pub id: u64,
}

/// What a peer hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message of some run, its own included where the protocol sends those back.
    Message(Mark),
    /// The server says that a message of this peer is stored: the native reply (with its seq), or, in the rooms dialect, its own
    /// message coming back. The messenger dialect never says so.
    Stored { mark: Mark, seq: Option<u64> },
    /// The server refused something: the code (or the text, where the dialect has no codes).
    Refused { mark: Option<Mark>, reason: String },
    /// A friend came or went (native presence, messenger presence socket).
    Presence { name: String, online: bool },
    /// Events were left out for this slow reader.
    Gap,
    /// Anything else.
    Other,
}

/// A connected user.
pub struct Peer {
    inner: Inner,
}

enum Inner {
    Native(native::NativePeer),
    Rooms(rooms::RoomsPeer),
    Messenger(messenger::MessengerPeer),
}

impl Peer {
    /// Connects the `index`th peer of a run to its node and waits until it is ready (welcomed, authenticated, its initial data there). Notes
    /// [`Timer::Handshake`](crate::run::meter::Timer) and the count; an error is not counted here.
    pub async fn connect(run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        todo!()
    }

    /// Makes a room (a group in the messenger dialect), or finds the room of that name, and joins it.
    pub async fn make_place(&mut self, name: &str) -> anyhow::Result<Place> {
        todo!()
    }

    /// Makes a group with this peer as a member (native and messenger).
    pub async fn make_group(&mut self, name: &str) -> anyhow::Result<Place> {
        todo!()
    }

    /// Joins: listens in a room, becomes a member of a group.
    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        todo!()
    }

    /// Leaves again.
    pub async fn leave(&mut self, place: &Place) -> anyhow::Result<()> {
        todo!()
    }

    /// Writes a message with this mark and at least so many bytes of text. That it is stored is heard ([`Heard::Stored`]).
    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        todo!()
    }

    /// Waits for what comes next. Nothing is lost if it is cancelled. An error: the socket ended.
    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        todo!()
    }

    /// Reads the newest page of history as this protocol's clients do; returns how many messages it had.
    pub async fn newest_page(&mut self, to: &To) -> anyhow::Result<usize> {
        todo!()
    }

    /// Says whether a sender receives its own messages from a room over this protocol.
    pub fn hears_itself(&self) -> bool {
        todo!()
    }

    /// Closes the socket as a client does (1000).
    pub async fn close(self) {
        todo!()
    }
}
