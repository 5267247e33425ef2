//! A user's connection as a load test needs it, the same over each protocol: connect, join, post, hear.
//!
//! Thousands live on one thread: each is one task that owns one socket, and everything here can be cancelled in `select!` between frames.

mod messenger;
mod native;
mod positions;
mod rooms;
pub(crate) mod socket;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use chinwag_schema::ids::{ConversationId, Seq};

pub use positions::Positions;
pub use socket::Closed;

use crate::{
    content::Mark,
    run::{
        Run,
        meter::{Counter, Timer},
    },
};

/// No answer within this time is an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Wire protocol of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Native,
    Rooms,
    Messenger,
}

/// Who a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl Place {
    /// Returns its id as the native protocol has it.
    pub fn conversation(&self) -> anyhow::Result<ConversationId> {
        Ok(ConversationId(i64::try_from(self.id).context("no place has so large an id")?))
    }
}

/// What a peer hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message of some run, its own included where the protocol sends those back ([`Peer::hears_itself`]).
    Message(Mark),
    /// The server says that a message of this peer is stored: the native reply (with its seq), or, in the rooms dialect, right after the
    /// [`Heard::Message`] that is its own coming back. The messenger dialect never says so.
    Stored { mark: Mark, seq: Option<u64> },
    /// The server refused something: the code (or the text, where the dialect has no codes). `mark` is there if it is known which message
    /// it was and that it isn't stored.
    Refused { mark: Option<Mark>, reason: String },
    /// A friend came or went (native presence, messenger presence socket).
    Presence { name: String, online: bool },
    /// Something was left out: this native reader was too slow, or away for too long, or a rooms peer entered its room anew.
    Gap {
        conversation: ConversationId,
        /// The first and the last seq; `None`: nobody says which.
        left_out: Option<(Seq, Seq)>,
    },
    /// Anything else.
    Other,
}

/// What is left of a lost connection.
#[derive(Debug, Default)]
pub struct Lost {
    /// What had come already, and wasn't taken yet.
    pub heard: Vec<Heard>,
    /// Up to where everything had come; of a native user who may come back.
    pub positions: Positions,
}

/// A connected user.
pub struct Peer {
    inner: Inner,
    name: String,
    _open: Open,
}

enum Inner {
    Native(native::NativePeer),
    Rooms(rooms::RoomsPeer),
    Messenger(messenger::MessengerPeer),
}

/// Counts the peer as connected, and as closed when it goes, however it goes.
struct Open(Arc<Run>);

impl Open {
    fn new(run: &Arc<Run>) -> Self {
        run.meter.count(Counter::Connected, 1);
        Self(run.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meter.count(Counter::Closed, 1);
    }
}

impl Peer {
    /// Connects the `index`th peer of a run to its node and waits until it is ready (welcomed, authenticated, its initial data there). Notes
    /// [`Timer::Handshake`] and the counts of connected and closed; an error is not counted here.
    pub async fn connect(run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        Self::connect_over(run.protocol, run, index, login).await
    }

    /// Does the same over another protocol than the run's.
    pub async fn connect_over(protocol: Protocol, run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        Self::open(protocol, run, index, login, None, run.deflate).await
    }

    /// Does the same, and offers permessage-deflate or not, whatever others of the run do.
    pub async fn connect_offering(deflate: bool, run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        Self::open(run.protocol, run, index, login, None, deflate).await
    }

    /// Does the same for a user who may come back after [`Peer::lose`]. Over the native protocol what came since its positions is heard
    /// then: at once in groups and chats, in rooms once they are joined again. The dialects replay nothing, and need no positions.
    pub async fn connect_resuming(
        protocol: Protocol,
        run: &Arc<Run>,
        index: usize,
        login: &Login,
        positions: Positions,
    ) -> anyhow::Result<Self> {
        Self::open(protocol, run, index, login, Some(positions), run.deflate).await
    }

    async fn open(
        protocol: Protocol,
        run: &Arc<Run>,
        index: usize,
        login: &Login,
        positions: Option<Positions>,
        deflate: bool,
    ) -> anyhow::Result<Self> {
        let node = run.node(index);
        let connect = async {
            Ok(match protocol {
                Protocol::Native => {
                    Inner::Native(native::NativePeer::connect(&node.http, index, login, deflate, positions).await?)
                }
                Protocol::Rooms => Inner::Rooms(rooms::RoomsPeer::connect(&node.rooms, index, login, deflate).await?),
                Protocol::Messenger => {
                    Inner::Messenger(messenger::MessengerPeer::connect(&node.messenger, index, login, deflate).await?)
                }
            })
        };
        Self::ready(run, login, connect).await
    }

    /// Connects a peer that hears who of its friends comes and goes, and may do nothing else: in the messenger dialect that is a socket of its
    /// own, which counts as being online, too, and doesn't say from when on it hears; every native peer hears it anyway.
    pub async fn watch(run: &Arc<Run>, index: usize, login: &Login) -> anyhow::Result<Self> {
        let node = run.node(index);
        match run.protocol {
            Protocol::Native => Self::connect(run, index, login).await,
            Protocol::Rooms => bail!("the rooms protocol knows no presence"),
            Protocol::Messenger => {
                let connect = messenger::MessengerPeer::watch(&node.presence, index, login, run.deflate);
                Self::ready(run, login, async { Ok(Inner::Messenger(connect.await?)) }).await
            }
        }
    }

    async fn ready(
        run: &Arc<Run>,
        login: &Login,
        connect: impl Future<Output = anyhow::Result<Inner>>,
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let inner = tokio::time::timeout(ANSWER_TIMEOUT, connect).await.context("not connected in time")??;
        run.meter.time(Timer::Handshake, begun.elapsed());
        Ok(Self { inner, name: login.name.clone(), _open: Open::new(run) })
    }

    /// Returns the user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a room (a group in the messenger dialect, where names aren't unique), or finds the room of that name, and joins it.
    pub async fn make_place(&mut self, name: &str) -> anyhow::Result<Place> {
        match &mut self.inner {
            Inner::Native(peer) => peer.make_place(name).await,
            Inner::Rooms(peer) => peer.make_place(name).await,
            Inner::Messenger(peer) => peer.make_group(name).await,
        }
    }

    /// Makes a group with this peer as a member (native and messenger).
    pub async fn make_group(&mut self, name: &str) -> anyhow::Result<Place> {
        match &mut self.inner {
            Inner::Native(peer) => peer.make_group(name).await,
            Inner::Rooms(_) => bail!("the rooms protocol has no groups"),
            Inner::Messenger(peer) => peer.make_group(name).await,
        }
    }

    /// Joins: listens in a room, becomes a member of a group (of a room, too, in the messenger dialect). A rooms peer is in one room at a
    /// time and leaves the one before.
    pub async fn join(&mut self, place: &Place) -> anyhow::Result<()> {
        match &mut self.inner {
            Inner::Native(peer) => peer.join(place).await,
            Inner::Rooms(peer) => peer.join(place).await,
            Inner::Messenger(peer) => peer.join(place).await,
        }
    }

    /// Leaves again.
    pub async fn leave(&mut self, place: &Place) -> anyhow::Result<()> {
        match &mut self.inner {
            Inner::Native(peer) => peer.leave(place).await,
            Inner::Rooms(peer) => peer.leave().await,
            Inner::Messenger(peer) => peer.leave(place).await,
        }
    }

    /// Writes a message with this mark and at least so many bytes of text. That it is stored is heard ([`Heard::Stored`]). Once this was
    /// polled, the message is on its way, even if this is cancelled.
    pub async fn post(&mut self, to: &To, mark: &Mark, bytes: usize) -> anyhow::Result<()> {
        match &mut self.inner {
            Inner::Native(peer) => peer.post(to, mark, bytes).await,
            Inner::Rooms(peer) => peer.post(to, mark, bytes).await,
            Inner::Messenger(peer) => peer.post(to, mark, bytes).await,
        }
    }

    /// Waits for what comes next. Nothing is lost if it is cancelled. An error: the socket ended ([`Closed`] says how, if the server did it).
    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        match &mut self.inner {
            Inner::Native(peer) => peer.next().await,
            Inner::Rooms(peer) => peer.next().await,
            Inner::Messenger(peer) => peer.next().await,
        }
    }

    /// Reads the newest page of history as this protocol's clients do; returns how many messages it had. Rooms clients get it only by
    /// joining: such a peer enters its room anew, and hears [`Heard::Gap`] next.
    pub async fn newest_page(&mut self, to: &To) -> anyhow::Result<usize> {
        match &mut self.inner {
            Inner::Native(peer) => peer.newest_page(to).await,
            Inner::Rooms(peer) => peer.newest_page(to).await,
            Inner::Messenger(peer) => peer.newest_page(to).await,
        }
    }

    /// Says whether a sender receives its own messages from a room over this protocol.
    pub fn hears_itself(&self) -> bool {
        matches!(self.inner, Inner::Rooms(_))
    }

    /// Loses the connection, without a word to the server.
    pub fn lose(self) -> Lost {
        match self.inner {
            Inner::Native(peer) => {
                let (heard, positions) = peer.lose();
                Lost { heard, positions }
            }
            Inner::Rooms(_) | Inner::Messenger(_) => Lost::default(),
        }
    }

    /// Closes the socket as a client does (1000) and waits for the server's answer, at most 5 s.
    pub async fn close(self) {
        match self.inner {
            Inner::Native(peer) => peer.close().await,
            Inner::Rooms(peer) => peer.close().await,
            Inner::Messenger(peer) => peer.close().await,
        }
    }
}
